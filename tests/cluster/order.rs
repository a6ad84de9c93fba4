//! Ten thousand messages of three senders: every log the same, byte for byte.

use std::time::{Duration, Instant};

use hubbub_tests::cluster::Cluster;
use hubbub_tests::load::{Outcome, flood};
use hubbub_tests::oracle::assert_kept;
use hubbub_tests::recorder::{Notes, Recorder};
use hubbub_tests::redis::{Fsync, Redis};

const MESSAGES: usize = 10_000;
const SENDERS: usize = 3;
/// Five times what a busy machine of two cores needs.
const DEADLINE: Duration = Duration::from_secs(100);
const ROOM: &str = "order";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_in_process() {
    let cluster = Cluster::memory(3, &[]).await;
    all_logs_are_the_same("memory, 3 nodes in process", &cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_in_process() {
    let cluster = Cluster::redis(3, &[]).await;
    all_logs_are_the_same("Redis, 3 nodes in process", &cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_real_processes() {
    let redis = Redis::start(Fsync::EverySecond).await;
    let cluster = Cluster::processes(redis, 3, &[]).await;
    all_logs_are_the_same("Redis, 3 processes", &cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_24_nodes_in_process() {
    let cluster = Cluster::redis(24, &[]).await;
    all_logs_are_the_same("Redis, 24 nodes in process", &cluster).await;
}

/// On each node a bare listener; on the first three also a resuming client that sends its share.
async fn all_logs_are_the_same(title: &str, cluster: &Cluster) {
    let mut listeners = Vec::new();
    for number in 0..cluster.len() {
        listeners.push(cluster.record_raw(number, ROOM).await);
    }
    let mut senders = Vec::new();
    for number in 0..SENDERS {
        senders.push(cluster.record(number, ROOM).await);
    }
    let start = Instant::now();
    let outcome = send_shares(&senders).await;
    let acked = start.elapsed();
    let all: Vec<&Recorder> = listeners.iter().chain(&senders).collect();
    for recorder in &all {
        recorder.wait_count(MESSAGES, DEADLINE).await;
    }
    let heard = start.elapsed();

    let logs: Vec<_> = all.iter().map(|recorder| recorder.heard()).collect();
    let summary = assert_kept(&logs, &outcome.acked, &outcome.refused);
    assert_eq!((summary.events, summary.acked), (MESSAGES, MESSAGES));
    for recorder in all {
        let Notes { lagged, .. } = recorder.notes();
        let expected = Notes {
            lagged,
            ..Notes::default()
        };
        assert_eq!(recorder.notes(), expected, "nothing but lags may happen");
    }
    println!(
        "{title}: {MESSAGES} messages, {} logs identical; all acked after {acked:.2?} \
         ({:.0}/s), heard everywhere after {heard:.2?}",
        summary.clients,
        MESSAGES as f64 / acked.as_secs_f64()
    );
}

async fn send_shares(senders: &[Recorder]) -> Outcome {
    let share = |number: usize| {
        let count = MESSAGES / SENDERS + usize::from(number < MESSAGES % SENDERS);
        let client = senders[number].client();
        async move { flood(client, ROOM, &format!("s{number}"), count).await }
    };
    let (first, second, third) = tokio::join!(share(0), share(1), share(2));
    Outcome::of_all([first, second, third])
}
