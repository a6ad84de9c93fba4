//! B6, B8 and B10: the subscription is cut, silent, or too slow, while commands pass.

use std::sync::Arc;
use std::time::Duration;

use hubbub_tests::proxy::{Direction, Fault, Kind};
use hubbub_tests::raw::Raw;
use hubbub_tests::recorder::Recorder;
use serde_json::json;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::arena::Arena;
use crate::injectors::{link_stranded, subscription_held, subscriptions_killed};
use crate::publisher::{Publisher, Room};
use crate::row::Row;
use crate::workload::TO_HEAD;

/// Five times the goal of 0.5 s for repairing a gap.
const REPAIRED: Duration = Duration::from_millis(2_500);
/// Five times the goal of 3 s.
const NOTICED: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b06_subscriptions_cut() {
    let injected = "CLIENT KILL TYPE pubsub every 0.5 s (full: 2 s)";
    let mut row = Row::start("B6", injected).await;
    row.fault().await;
    let every = row
        .scale
        .pick(Duration::from_millis(500), Duration::from_secs(2));
    let during = row.scale.seconds(5, 30);
    let killed = subscriptions_killed(&row.arena, every, during).await;
    row.healed(Instant::now()).await;
    row.say("killed", killed);
    row.check(killed >= 10, "subscriptions were cut");
    let slowest = row
        .load
        .members
        .iter()
        .map(|member| member.recorder.slowest());
    let slowest = slowest.max().unwrap_or_default();
    row.check(
        slowest <= REPAIRED,
        format!("a gap was repaired after {slowest:?}"),
    );
    let tally = row.finish().await;
    assert_eq!(
        (tally.refused, tally.unknown),
        (0, 0),
        "every send was acked"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b08_only_the_subscription_is_dead() {
    let injected = "one node's subscription held, new ones too, its commands pass";
    let mut row = Row::start("B8", injected).await;
    row.fault().await;
    let during = row.scale.seconds(8, 30);
    let meanwhile = async {
        // The subscription receives nothing, so the node reads this from the streams.
        sleep(Duration::from_secs(1)).await;
        row.reach_head(|member| member.home == 0).await
    };
    let ((), without) = tokio::join!(subscription_held(&row.arena, 0, during), meanwhile);
    row.healed(Instant::now()).await;
    row.say_time("head_while_held", without);
    row.expect_not_ready(0, NOTICED).await;
    row.expect_steady(1);
    row.expect_steady(2);
    row.finish().await;
}

/// Loses the packet of a last message. No later packet can reveal the gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b08_a_last_message_followed_by_silence_is_found() {
    const ROOM: &str = "tail";
    let arena = Arena::start(hubbub_tests::redis::Fsync::EverySecond, &[]).await;
    let listener = Recorder::raw("listener", arena.doors[0], ROOM).await;
    let mut sender = Raw::connect(arena.doors[1]).await;
    sender.join(ROOM).await;
    let send = json!({"type": "send", "room": ROOM, "body": 1});
    sender.ask(send.clone()).await;
    listener.wait_count(1, TO_HEAD).await;
    link_stranded(&arena, 0);
    sender.ask(send).await;
    let found = listener.wait_count(2, TO_HEAD).await;
    assert_eq!(
        listener.notes(),
        Default::default(),
        "its client noticed nothing"
    );
    println!("a lost last message was found after {found:.2?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b10_a_node_too_slow_for_redis() {
    let injected = "one node's subscription at 100 KB/s, Redis cuts at 1 MB, 5 MB are sent";
    let mut row = Row::start("B10", injected).await;
    row.fault().await;
    let reconnects = row.arena.metrics(0).await.get("redis_reconnects_total");
    let limit = "pubsub 1048576 1048576 0";
    let redis = row.arena.redis().await;
    let words = ["CONFIG", "SET", "client-output-buffer-limit", limit];
    redis.command::<()>(&words).await;
    drop(redis);
    let link = &row.arena.links[0];
    link.set_kind(
        Kind::Subscription,
        Direction::ToClient,
        Fault::Throttle(100_000),
    );
    flood(&row).await;
    let cut = async || {
        let now = row.arena.metrics(0).await.get("redis_reconnects_total");
        (now > reconnects).then_some(())
    };
    hubbub_tests::deadline::eventually("Redis cuts the slow node", TO_HEAD, cut).await;
    let link = &row.arena.links[0];
    link.set_kind(Kind::Subscription, Direction::ToClient, Fault::Pass);
    row.healed(Instant::now()).await;
    row.expect_steady(1);
    row.expect_steady(2);
    row.finish().await;
}

/// Sends 600 messages of 8 KiB to a room from a healthy node.
async fn flood(row: &Row) {
    let room = Arc::new(Room::new("room-0"));
    let config = row.arena.client(1);
    let recorder = Recorder::resuming_into(&row.load.ledger, "flood", config, "room-0").await;
    let publisher = Publisher {
        name: "flood".to_owned(),
        recorder: Arc::new(recorder),
        room,
        every: Duration::from_millis(4),
        body: 8 << 10,
        waits: false,
    };
    let stop = CancellationToken::new();
    let end = async {
        sleep(Duration::from_millis(2_400)).await;
        stop.cancel();
    };
    let recorder = Arc::clone(&publisher.recorder);
    let (tally, ()) = tokio::join!(publisher.run(stop.clone()), end);
    assert_eq!((tally.refused, tally.unknown), (0, 0));
    // The recorder leaves while the load continues.
    recorder.leave().await;
}
