//! Redis comes back without its data, or with older data: a new epoch that every client is told
//! of, offsets that never go back, and traffic that goes on.

use std::time::Instant;

use hubbub_tests::cluster::Cluster;
use hubbub_tests::load::{Outcome, flood};
use hubbub_tests::oracle::assert_kept;
use hubbub_tests::recorder::{Notes, Recorder};
use hubbub_tests::redis::{Fsync, Redis};

use crate::workload::{ROOM, TO_HEAD};

struct Witnesses {
    cluster: Cluster,
    bare: Vec<Recorder>,
    sender: Recorder,
    outcome: Outcome,
}

impl Witnesses {
    async fn start() -> Self {
        let redis = Redis::start(Fsync::Always).await;
        let cluster = Cluster::over_redis(redis, 3, &[]).await;
        let mut bare = Vec::new();
        for number in 0..cluster.len() {
            bare.push(cluster.record_raw(number, ROOM).await);
        }
        let sender = cluster.record(0, ROOM).await;
        Self {
            cluster,
            bare,
            sender,
            outcome: Outcome::default(),
        }
    }

    /// Sends some messages and waits until everyone has heard them.
    async fn talk(&mut self, name: &str, count: usize) {
        let sent = flood(self.sender.client(), ROOM, name, count).await;
        assert_eq!(
            sent.acked.len(),
            count,
            "{:?} {:?}",
            sent.refused,
            sent.unknown
        );
        let top = sent
            .acked
            .iter()
            .map(|acked| acked.offset)
            .max()
            .unwrap_or(0);
        for recorder in self.everyone() {
            recorder.wait_offset(top, TO_HEAD).await;
        }
        self.outcome = Outcome::of_all([std::mem::take(&mut self.outcome), sent]);
    }

    /// Everyone is told within seconds, also where nobody says anything.
    async fn wait_told(&self, title: &str) {
        let start = Instant::now();
        for recorder in self.everyone() {
            let is_told = |notes: &Notes| notes.resets > 0;
            recorder.wait_notes("a reset", TO_HEAD, is_told).await;
        }
        println!(
            "{title}: everyone was told {:.2?} after its start",
            start.elapsed()
        );
    }

    /// Nobody lost the connection, and all heard the same.
    fn conclude(&self) {
        for recorder in self.everyone() {
            let notes = recorder.notes();
            assert_eq!((notes.gaps, &notes.disconnects), (0, &vec![]), "{notes:?}");
        }
        let logs: Vec<_> = self.everyone().map(Recorder::heard).collect();
        assert_kept(&logs, &self.outcome.acked, &[]);
    }

    fn everyone(&self) -> impl Iterator<Item = &Recorder> {
        self.bare.iter().chain([&self.sender])
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_redis_is_a_new_life() {
    let mut witnesses = Witnesses::start().await;
    witnesses.talk("before", 100).await;
    let redis = witnesses.cluster.redis_mut();
    redis.kill9();
    redis.forget();
    redis.restart().await;
    witnesses.wait_told("redis came back empty").await;
    witnesses.talk("after", 100).await;
    witnesses.conclude();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_redis_is_a_new_life() {
    let mut witnesses = Witnesses::start().await;
    witnesses.talk("kept", 50).await;
    let redis = witnesses.cluster.redis_mut();
    redis.kill9();
    let copy = redis.copy();
    redis.restart().await;
    witnesses.talk("lost", 50).await;
    let redis = witnesses.cluster.redis_mut();
    redis.kill9();
    redis.put_back(&copy);
    redis.restart().await;
    witnesses.wait_told("redis came back with older data").await;
    witnesses.talk("after", 100).await;
    witnesses.conclude();
}
