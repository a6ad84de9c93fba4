//! B40 and B41: a node that cannot reach Redis, for a while or from its start.

use std::time::Duration;

use hubbub_tests::deadline::eventually;
use hubbub_tests::http;
use hubbub_tests::process::NodeProcess;
use hubbub_tests::raw::Raw;
use hubbub_tests::redis::{Fsync, Redis};
use tokio::time::{Instant, sleep};

use crate::arena::{readiness, turn};
use crate::injectors::link_held;
use crate::presence::{Audience, Change, enter};
use crate::row::Row;
use crate::workload::TO_HEAD;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b40_presence_split() {
    let injected = "one node cut off from Redis for 10 s (full: 20 s), longer than its lease";
    let mut row = Row::start("B40", injected).await;
    let audience = Audience::start(&row.arena, &[1, 2]).await;
    let _bob = enter(&row.arena, row.arena.doors[0], "Bob").await;
    audience.wait("Bob", Change::Joined, 1).await;
    row.fault().await;
    let left = async {
        audience.wait("Bob", Change::Left, 1).await;
        row.fault_at.elapsed()
    };
    let during = row.scale.seconds(10, 20);
    let ((), left) = tokio::join!(link_held(&row.arena, 0, during), left);
    let back = Instant::now();
    row.healed(back).await;
    audience.wait("Bob", Change::Joined, 2).await;
    row.say_time("left", left);
    row.say_time("rejoined", back.elapsed());
    audience.assert_counts(&row.arena, "Bob", 2, 1).await;
    row.expect_steady(1);
    row.expect_steady(2);
    row.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b41_redis_is_not_there_at_the_start() {
    let _turn = turn().await;
    let mut redis = Redis::start(Fsync::EverySecond).await;
    redis.kill9();
    let url = redis.url();
    let mut node = NodeProcess::spawn("gw-early", &[("redis.url", &url)]);
    let ops = node.ops();
    let alive = async || {
        let answer = http::try_get(ops, "/livez").await?;
        (answer.status == 200).then_some(())
    };
    eventually("the node answers", TO_HEAD, alive).await;
    let watched = Instant::now();
    while watched.elapsed() < Duration::from_secs(3) {
        let (is_ready, says) = readiness(ops).await.expect("an answer");
        assert!(!is_ready && says.contains("redis"), "{says}");
        assert!(node.exited().is_none(), "the node keeps trying");
        sleep(Duration::from_millis(100)).await;
    }
    redis.restart().await;
    let ready = node.ready().await;
    let mut client = Raw::connect(node.address()).await;
    client.join("early").await;
    println!(
        "row B41 injected=\"a node started without Redis\" lost=0 duplicated=0 out_of_order=0 to_head={:.2}s",
        ready.as_secs_f64()
    );
}
