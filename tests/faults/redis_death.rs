//! Redis killed by -9 and restarted on its file (`appendfsync always`) under load.

use std::time::{Duration, Instant};

use hubbub_tests::cluster::Cluster;
use hubbub_tests::redis::{Fsync, Redis};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::workload::{ROOM, Workload};

/// Five times `limits.send_timeout`.
const ANSWER: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acked_message_survives_and_nobody_is_disconnected() {
    let redis = Redis::start(Fsync::Always).await;
    let mut cluster = Cluster::over_redis(redis, 3, &[]).await;
    let workload = Workload::start(&cluster).await;
    let harm = async {
        sleep(Duration::from_secs(2)).await;
        cluster.redis_mut().kill9();
        sleep(Duration::from_secs(2)).await;
        cluster.redis_mut().restart().await;
        let restarted = Instant::now();
        let before = workload.bare[0].count();
        workload.bare[0]
            .wait_count(before + 1, crate::workload::TO_HEAD)
            .await;
        restarted.elapsed()
    };
    let (outcome, first) = workload
        .send_during(200, Duration::from_secs(7), harm)
        .await;
    assert!(
        outcome.unknown.is_empty(),
        "every send got its answer: {:?}",
        outcome.unknown
    );
    assert!(
        outcome.refused.is_empty(),
        "none was refused for good: {:?}",
        outcome.refused
    );
    let head = workload.wait_head(&outcome).await;
    let summary = workload.assert_kept(&outcome);
    workload.assert_unnoticed();
    println!(
        "redis killed for 2 s under 200 msg/s: first event {first:.2?} after its restart, all at the \
         head {head:.2?} after the last ack; {} events identical in {} logs, slowest send {:.2?}",
        summary.events, summary.clients, outcome.slowest
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_a_send_is_unavailable_and_never_local() {
    let redis = Redis::start(Fsync::Always).await;
    let mut cluster = Cluster::over_redis(redis, 2, &[]).await;
    let listener = cluster.record_raw(0, ROOM).await;
    let mut sender = cluster.raw(0).await;
    sender.join(ROOM).await;
    let send = |nonce: &str| json!({"type": "send", "room": ROOM, "nonce": nonce, "body": nonce});
    assert_eq!(sender.ask(send("before")).await["offset"], 1);
    listener.wait_count(1, ANSWER).await;

    cluster.redis_mut().kill9();
    let (mut slowest, mut codes) = (Duration::ZERO, Vec::new());
    for number in 0..3 {
        let asked = Instant::now();
        let reply = sender.ask(send(&format!("during-{number}"))).await;
        slowest = slowest.max(asked.elapsed());
        assert_eq!(reply["type"], "error", "{reply}");
        codes.push(reply["code"].as_str().unwrap_or_default().to_owned());
    }
    assert!(slowest < ANSWER, "answered after {slowest:?}");
    // The first may have been on its way when Redis died; the others cannot have been stored.
    assert!(
        ["unavailable", "unknown"].contains(&codes[0].as_str()),
        "{codes:?}"
    );
    assert_eq!(codes[1..], ["unavailable", "unavailable"]);
    assert_eq!(listener.count(), 1, "nothing was delivered without Redis");

    cluster.redis_mut().restart().await;
    let retried = async {
        loop {
            let reply = sender.ask(send("during-0")).await;
            if reply["type"] == "sent" {
                return reply;
            }
        }
    };
    let reply: Value =
        hubbub_tests::deadline::within("a retry goes through", ANSWER, retried).await;
    assert_eq!(
        reply["offset"], 2,
        "stored once, after what was there: {reply}"
    );
    let after = sender.ask(send("after")).await;
    assert_eq!(after["offset"], 3);
    listener.wait_count(3, ANSWER).await;
    println!("without redis: sends answered {codes:?}, the slowest after {slowest:.2?}");
}
