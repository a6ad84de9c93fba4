//! Redis frozen (SIGSTOP): connections stay, nothing answers, and then everything does at once.

use std::time::{Duration, Instant};

use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::eventually;
use hubbub_tests::http;
use hubbub_tests::redis::{Fsync, Redis};
use serde_json::json;
use tokio::time::sleep;

use crate::workload::{TO_HEAD, Workload};

const FROZEN: Duration = Duration::from_secs(5);
/// Five times `limits.send_timeout`.
const ANSWER: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_redis_costs_a_delay_and_nothing_else() {
    let redis = Redis::start(Fsync::Always).await;
    let mut cluster = Cluster::over_redis(redis, 3, &[]).await;
    let workload = Workload::start(&cluster).await;
    let mut impatient = cluster.raw(1).await;
    impatient.join("impatient").await;
    let ops = cluster.ops(0);
    let harm = async {
        sleep(Duration::from_secs(2)).await;
        cluster.redis_mut().pause();
        let frozen = Instant::now();
        let send = json!({"type": "send", "room": "impatient", "nonce": "n1", "body": 1});
        let reply = impatient.ask(send.clone()).await;
        let answered = frozen.elapsed();
        let code = reply["code"].as_str().unwrap_or_default().to_owned();
        assert!(
            ["unavailable", "unknown"].contains(&code.as_str()),
            "{reply}"
        );
        assert!(answered < ANSWER, "answered after {answered:?}");
        let (_, noticed) = eventually("not ready while redis is frozen", TO_HEAD, async || {
            let answer = http::try_get(ops, "/readyz").await?;
            (answer.status == 503).then_some(())
        })
        .await;
        sleep(FROZEN.saturating_sub(frozen.elapsed())).await;
        cluster.redis_mut().resume();
        let (stored, _) = eventually("the retry goes through", TO_HEAD, async || {
            let reply = impatient.ask(send.clone()).await;
            (reply["type"] == "sent").then_some(reply)
        })
        .await;
        assert_eq!(
            stored["offset"], 1,
            "a late commit and its retry are one message"
        );
        (code, answered, answered + noticed)
    };
    let (outcome, (code, answered, noticed)) = workload
        .send_during(200, Duration::from_secs(10), harm)
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
    eventually("ready again", TO_HEAD, async || {
        let answer = http::try_get(ops, "/readyz").await?;
        (answer.status == 200).then_some(())
    })
    .await;
    println!(
        "redis frozen for 5 s under 200 msg/s: a send got {code} after {answered:.2?}, not ready \
         within {noticed:.2?}; all at the head {head:.2?} after the last ack; {} events identical \
         in {} logs",
        summary.events, summary.clients
    );
}
