//! A node killed by -9 under load: its clients resume elsewhere, nothing missing, nothing twice.

use std::time::{Duration, Instant};

use hubbub_tests::cluster::Cluster;
use hubbub_tests::load::{Outcome, pace};
use hubbub_tests::oracle::assert_kept;
use hubbub_tests::recorder::Recorder;
use hubbub_tests::redis::{Fsync, Redis};
use tokio::time::sleep;

use crate::workload::{ROOM, TO_HEAD};

/// Five times the goal for a client to be back and at the head.
const RESUMED: Duration = Duration::from_secs(25);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_killed_node_resume_on_another() {
    let redis = Redis::start(Fsync::EverySecond).await;
    let mut cluster = Cluster::processes(redis, 3, &[]).await;
    let mut orphans = Vec::new();
    for _ in 0..4 {
        orphans.push(cluster.record(0, ROOM).await);
    }
    let safe = cluster.record(1, ROOM).await;
    let bare = cluster.record_raw(2, ROOM).await;

    let during = Duration::from_secs(6);
    let killed = async {
        sleep(Duration::from_secs(2)).await;
        cluster.process(0).kill9();
        let killed = Instant::now();
        for orphan in &orphans {
            let top = safe.count() as u64 + 20;
            orphan.wait_offset(top, RESUMED).await;
        }
        killed.elapsed()
    };
    let (from_safe, from_orphan, back) = tokio::join!(
        pace(safe.client(), ROOM, "safe", 150, during),
        pace(orphans[0].client(), ROOM, "orphan", 50, during),
        killed,
    );
    let outcome = Outcome::of_all([from_safe, from_orphan]);
    assert!(
        outcome.unknown.is_empty(),
        "every send got its answer: {:?}",
        outcome.unknown
    );
    assert!(
        outcome.refused.is_empty(),
        "none was refused: {:?}",
        outcome.refused
    );
    let all: Vec<&Recorder> = orphans.iter().chain([&safe, &bare]).collect();
    let top = outcome.acked.iter().map(|acked| acked.offset).max();
    for recorder in &all {
        recorder.wait_offset(top.unwrap_or(0), TO_HEAD).await;
    }
    let logs: Vec<_> = all.iter().map(|recorder| recorder.heard()).collect();
    let summary = assert_kept(&logs, &outcome.acked, &[]);
    for orphan in &orphans {
        let notes = orphan.notes();
        assert!(!notes.disconnects.is_empty(), "it was on the killed node");
        assert_eq!(
            (notes.gaps, notes.resets, notes.unrecovered),
            (0, 0, 0),
            "{notes:?}"
        );
    }
    println!(
        "node killed under 200 msg/s: {} clients back and at the head after {back:.2?}; \
         {} events identical in {} logs, slowest send {:.2?}",
        orphans.len(),
        summary.events,
        summary.clients,
        outcome.slowest
    );
}
