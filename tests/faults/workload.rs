//! The load under which things break: a bare and a resuming client on each node, and a steady
//! stream of messages from all of them.

use std::time::{Duration, Instant};

use hubbub_tests::cluster::Cluster;
use hubbub_tests::load::{Outcome, pace};
use hubbub_tests::oracle::{Summary, assert_kept};
use hubbub_tests::recorder::{Notes, Recorder};

pub(crate) const ROOM: &str = "faults";
/// For all clients to be at the head after the fault is over: five times the goal of 3 s.
pub(crate) const TO_HEAD: Duration = Duration::from_secs(15);

/// Everyone who listens.
pub(crate) struct Workload {
    /// One bare connection on each node: its log is what the node sent.
    pub(crate) bare: Vec<Recorder>,
    /// One client on each node that comes back by itself.
    pub(crate) resuming: Vec<Recorder>,
}

impl Workload {
    pub(crate) async fn start(cluster: &Cluster) -> Self {
        let mut workload = Self {
            bare: Vec::new(),
            resuming: Vec::new(),
        };
        for number in 0..cluster.len() {
            workload.bare.push(cluster.record_raw(number, ROOM).await);
            workload.resuming.push(cluster.record(number, ROOM).await);
        }
        workload
    }

    /// Sends from all resuming clients, `per_second` in all, and does harm meanwhile. The harm's
    /// value comes back beside what became of the messages.
    pub(crate) async fn send_during<T>(
        &self,
        per_second: u32,
        during: Duration,
        harm: impl Future<Output = T>,
    ) -> (Outcome, T) {
        let share = per_second / self.resuming.len() as u32;
        let senders = self
            .resuming
            .iter()
            .enumerate()
            .map(|(number, recorder)| async move {
                let name = format!("s{number}");
                pace(recorder.client(), ROOM, &name, share, during).await
            });
        let (outcomes, value) = tokio::join!(futures_util::future::join_all(senders), harm);
        (Outcome::of_all(outcomes), value)
    }

    /// Everyone is at the head: all acked events were heard; how long that took.
    pub(crate) async fn wait_head(&self, outcome: &Outcome) -> Duration {
        let start = Instant::now();
        let top = outcome.acked.iter().map(|acked| acked.offset).max();
        for recorder in self.bare.iter().chain(&self.resuming) {
            recorder.wait_offset(top.unwrap_or(0), TO_HEAD).await;
        }
        start.elapsed()
    }

    /// All logs are the same and hold what was acked.
    pub(crate) fn assert_kept(&self, outcome: &Outcome) -> Summary {
        let all = self.bare.iter().chain(&self.resuming);
        let logs: Vec<_> = all.map(Recorder::heard).collect();
        assert_kept(&logs, &outcome.acked, &outcome.refused)
    }

    /// No client has noticed anything but a delay.
    pub(crate) fn assert_unnoticed(&self) {
        for recorder in self.bare.iter().chain(&self.resuming) {
            assert_eq!(
                recorder.notes(),
                Notes::default(),
                "{}",
                recorder.heard().client
            );
        }
    }
}
