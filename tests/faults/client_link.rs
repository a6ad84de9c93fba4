//! B30 and B31: the link between a client and its node is dead, lossy or slow.

use std::time::Duration;

use hubbub_client::ClientConfig;
use hubbub_tests::deadline::eventually;
use hubbub_tests::proxy::{Direction, Fault, Proxy};
use hubbub_tests::recorder::Recorder;
use hubbub_tests::redis::Fsync;
use tokio::time::{Instant, sleep};

use crate::presence::{Audience, Change, enter, present};
use crate::row::Row;
use crate::scale::Scale;

/// Five times the goal of 35 s for closing a dead client's connection.
const CLOSED: Duration = Duration::from_secs(175);
/// The short run uses shorter times than the defaults.
const QUICK: [(&str, &str); 2] = [
    ("limits.ping_interval", "2s"),
    ("limits.pong_timeout", "2s"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b30_dead_client() {
    let settings = Scale::of_run().pick(&QUICK[..], &[]);
    let injected = "all bytes of 20 clients of one node discarded";
    let mut row = Row::start_with("B30", injected, Fsync::Always, settings).await;
    let audience = Audience::start(&row.arena, &[0, 1]).await;
    let door = Proxy::start(row.arena.doors[0]).await;
    let mut dead = Vec::new();
    for number in 0..20 {
        dead.push(enter(&row.arena, door.address(), &format!("dead-{number}")).await);
    }
    audience.wait("dead-19", Change::Joined, 1).await;
    let connections = row.arena.metrics(0).await.get("connections");
    row.fault().await;
    door.set(Direction::Both, Fault::Drop);
    let silent = Instant::now();
    let closed = async || {
        let now = row.arena.metrics(0).await.get("connections");
        (now <= connections - 20.0).then_some(())
    };
    let ((), took) = eventually("dead clients are closed", CLOSED, closed).await;
    row.say_time("closed", took);
    for number in 0..20 {
        audience
            .wait(&format!("dead-{number}"), Change::Left, 1)
            .await;
    }
    row.say_time("left", silent.elapsed());
    audience.assert_counts(&row.arena, "dead-0", 1, 1).await;
    assert_eq!(present(&row.arena, 1).await, [] as [String; 0]);
    row.healed(Instant::now()).await;
    for node in 0..3 {
        row.expect_steady(node);
    }
    row.finish().await;
}

/// Simulates the loss of one packet in twenty. The proxy cannot lose bytes of a stream, so it
/// delays them, as a retransmission would.
const LOSSY: Fault = Fault::Stall(20, Duration::from_millis(200));
/// One megabit a second.
const THIN: Fault = Fault::Throttle(125_000);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b31_lossy_and_thin_client_links() {
    let injected = "8 clients whose every 20th chunk comes 0.2 s late, 8 with 1 Mbit/s";
    let mut row = Row::start("B31", injected).await;
    let mut sufferers = Vec::new();
    let mut doors = Vec::new();
    for (kind, fault) in [("lossy", LOSSY), ("thin", THIN)] {
        let door = Proxy::start(row.arena.doors[0]).await;
        door.set(Direction::Both, fault);
        for number in 0..8 {
            let config = ClientConfig::new([format!("http://{}", door.address())]);
            let name = format!("{kind}-{number}");
            let room = format!("room-{}", number % row.scale.rooms);
            let ledger = &row.load.ledger;
            sufferers.push(Recorder::resuming_into(ledger, &name, config, &room).await);
        }
        doors.push(door);
    }
    row.fault().await;
    sleep(row.scale.seconds(5, 30)).await;
    let heads = row.load.heads();
    let now = Instant::now();
    for sufferer in &sufferers {
        let number: usize = sufferer.name()[sufferer.name().len() - 1..]
            .parse()
            .expect("a digit");
        let head = heads[number % row.scale.rooms];
        sufferer.wait_offset(head, crate::workload::TO_HEAD).await;
    }
    row.say_time("sufferers_behind", now.elapsed());
    let notes: Vec<_> = sufferers.iter().map(Recorder::notes).collect();
    let lagged: u64 = notes.iter().map(|notes| notes.lagged).sum();
    row.say("sufferers_lagged", lagged);
    for (sufferer, notes) in sufferers.iter().zip(&notes) {
        let is_well = notes.disconnects.is_empty() && notes.gaps == 0 && notes.resets == 0;
        row.check(is_well, format!("{}: {notes:?}", sufferer.name()));
    }
    row.healed(Instant::now()).await;
    for sufferer in &sufferers {
        sufferer.leave().await;
    }
    row.finish().await;
    drop(doors);
}
