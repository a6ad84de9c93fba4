//! B33 and B34: many clients connect at once.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use hubbub_client::{ClientConfig, Start, new_guest};
use hubbub_protocol::command::Since;
use hubbub_protocol::{Epoch, Position};
use hubbub_tests::ledger::Ledger;
use hubbub_tests::load::flood;
use hubbub_tests::procfs;
use hubbub_tests::recorder::Recorder;
use hubbub_tests::redis::Fsync;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};

use crate::arena::{Arena, NODES};
use crate::balancer::Balancer;
use crate::row::Row;
use crate::scale::Scale;
use crate::workload::TO_HEAD;

/// Five times the goal of 60 s.
const RESUMED: Duration = Duration::from_secs(300);
/// Five times the goal of 1 s for the other clients meanwhile.
const LIVE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b33_thundering_herd() {
    let scale = Scale::of_run();
    let (count, down) = (scale.pick(200, 9_000), scale.seconds(1, 5));
    let rate = scale.pick("15", "200");
    let settings = [
        ("limits.accepts_per_second", rate),
        ("limits.connections_per_user", "0"),
    ];
    let injected = "kill -9 of HAProxy for 1 s (full: 5 s) with 200 (full: 9,000) idle clients";
    let mut row = Row::start_with("B33", injected, Fsync::Always, &settings).await;
    let mut balancer = Balancer::start(&row.arena, count + 500).await;
    let url = format!("http://{}", balancer.address());
    let herd = gather(&url, count, scale.pick(35, 400)).await;
    row.fault().await;
    let rejected = row.arena.figure("rejected_total").await;
    let killed = Instant::now();
    balancer.kill9();
    sleep(down).await;
    balancer.restart().await;
    let back = Instant::now();
    row.healed_within(back, LIVE).await;
    for recorder in &herd {
        let joined = async || recorder.joined_after(killed);
        let what = format!("{} is back", recorder.name());
        hubbub_tests::deadline::eventually(&what, RESUMED, joined).await;
    }
    row.say("herd", herd.len());
    row.say_time("all_back", back.elapsed());
    let turned_away = row.arena.figure("rejected_total").await - rejected;
    row.say("told_to_wait", turned_away);
    row.check(
        turned_away > 0.0,
        "more clients came than a node accepts at once",
    );
    for recorder in &herd {
        let notes = recorder.notes();
        let is_well = (notes.gaps, notes.resets, notes.unrecovered) == (0, 0, 0);
        row.check(is_well, format!("{}: {notes:?}", recorder.name()));
    }
    for node in 0..NODES {
        row.expect_steady(node);
    }
    drop(herd);
    row.finish().await;
}

/// Connects idle clients of one user through the balancer, thirty in each room, `rate` per second.
async fn gather(url: &str, count: usize, rate: u32) -> Vec<Recorder> {
    let guest = new_guest(url, Some("Idle")).await.expect("a guest token");
    let mut clock = interval(Duration::from_secs(1) / rate);
    let mut arriving = JoinSet::new();
    for number in 0..count {
        clock.tick().await;
        let mut config = ClientConfig::new([url]).with_token(&guest.token);
        config.request_timeout = RESUMED;
        arriving.spawn(async move {
            let room = format!("idle-{}", number / 30);
            Recorder::resuming(&format!("idle-{number}"), config, &room).await
        });
    }
    arriving.join_all().await
}

/// The number of messages that each client has missed.
const MISSED: usize = 300;
const STORM: &str = "storm";
/// The goal for the growth of a node's memory.
const GROWTH: u64 = 100 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b34_resume_storm_in_one_room() {
    let scale = Scale::of_run();
    let count = scale.pick(300, 1_000);
    let arena = Arena::start(Fsync::EverySecond, &[("limits.accepts_per_second", "0")]).await;
    let ledger = Ledger::default();
    let witness = Recorder::resuming_into(&ledger, "witness", arena.client(0), STORM).await;
    let first = flood(witness.client(), STORM, "first", 10).await;
    let since = first.acked.last().expect("ten were sent").clone();
    flood(witness.client(), STORM, "missed", MISSED).await;
    witness.wait_count(10 + MISSED, TO_HEAD).await;
    let reads = arena.figure("stream_reads_total").await;
    let before = memory(&arena).await;
    let start = Instant::now();
    let place = |number: usize| {
        let (ledger, config, since) = (ledger.clone(), arena.client(number), since.clone());
        async move {
            let position = Position {
                epoch: Epoch::new(&since.epoch).expect("an epoch of the server is valid"),
                offset: since.offset,
            };
            let from = Start::Since(Since {
                position,
                message: None,
            });
            let name = format!("late-{number}");
            let page = ledger.client(&name);
            page.write(|ledger, me| {
                let start = hubbub_verify::Start::After;
                ledger.joined(me, STORM, &since.epoch, since.offset, start);
            });
            Recorder::resuming_from(&name, config, STORM, from, Some(page)).await
        }
    };
    let late: Vec<Recorder> = stream::iter((0..count).map(place))
        .buffer_unordered(count)
        .collect()
        .await;
    for recorder in &late {
        recorder.wait_count(MISSED, TO_HEAD * 5).await;
    }
    let took = start.elapsed();
    let grown = memory(&arena).await.saturating_sub(before);
    let reads = arena.figure("stream_reads_total").await - reads;
    let report = ledger.open().report();
    let counts = report.total.counts;
    println!(
        "row B34 injected=\"{count} clients resume in one room, {MISSED} missed each\" clients={count} \
         lost={} duplicated={} out_of_order={} to_head={:.2}s stream_reads={reads} rss=+{}MiB",
        counts.lost,
        counts.duplicated,
        counts.out_of_order,
        took.as_secs_f64(),
        grown >> 20,
    );
    assert!(report.is_kept(), "{report}");
    // One read to open the room and one for each of its pages, once per node.
    assert!(
        reads <= 9.0,
        "{reads} reads of the stream for {count} clients"
    );
    assert!(grown <= GROWTH, "a node has grown by {grown} bytes");
    for recorder in &late {
        let notes = recorder.notes();
        assert_eq!((notes.gaps, notes.unrecovered), (0, 0), "{notes:?}");
    }
}

/// The memory of the node that uses most, in bytes.
async fn memory(arena: &Arena) -> u64 {
    let mut most = 0;
    for number in 0..NODES {
        let pid = arena.node(number).await.pid();
        most = most.max(procfs::rss(pid).expect("the node runs"));
    }
    most
}
