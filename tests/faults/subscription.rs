//! The subscription cut again and again under load: clients notice nothing.

use std::time::Duration;

use hubbub_tests::cluster::Cluster;
use hubbub_tests::redis::{Fsync, Redis};
use tokio::time::{Instant, sleep};

use crate::workload::Workload;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_cut_by_redis_is_repaired() {
    let redis = Redis::start(Fsync::EverySecond).await;
    let mut cluster = Cluster::over_redis(redis, 3, &[]).await;
    let workload = Workload::start(&cluster).await;
    let during = Duration::from_secs(6);
    let harm = async {
        let end = Instant::now() + during;
        let mut killed = 0;
        while Instant::now() < end {
            sleep(Duration::from_millis(500)).await;
            killed += cluster.redis_mut().kill_subscriptions().await;
        }
        killed
    };
    let (outcome, killed) = workload.send_during(200, during, harm).await;
    assert!(killed >= 6, "subscriptions were cut: {killed}");
    assert!(outcome.refused.is_empty() && outcome.unknown.is_empty());
    let head = workload.wait_head(&outcome).await;
    let summary = workload.assert_kept(&outcome);
    workload.assert_unnoticed();
    println!(
        "{killed} subscriptions cut under 200 msg/s: all at the head {head:.2?} after the last ack; \
         {} events identical in {} logs, slowest send {:.2?}",
        summary.events, summary.clients, outcome.slowest
    );
}
