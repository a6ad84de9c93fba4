//! Records the broker's runs in the archive, so that a starting node notices a Redis that was put
//! back while no node was running.

use std::sync::Arc;
use std::time::Duration;

use hubbub_archive::Archive;
use hubbub_broker::run_order;
use tokio::time::sleep;
use tracing::{debug, warn};

use crate::node::Node;

/// How often the run is checked for a change, and the pause before a failed record is retried.
const INTERVAL: Duration = Duration::from_secs(1);

impl Node {
    /// Runs as long as the node.
    pub(crate) async fn keep_run_record(self: Arc<Self>, archive: Archive) {
        let mut recorded = None;
        loop {
            let number = self.broker.run_number();
            let runs: Vec<u64> = self.broker.runs().iter().map(run_order).collect();
            let is_known = !runs.contains(&0);
            if is_known && recorded != Some(number) {
                match archive.record_runs(&runs).await {
                    Ok(known) => {
                        recorded = Some(number);
                        self.end_outdated(&runs, &known);
                    }
                    Err(error) => debug!(%error, "the run is not recorded yet"),
                }
            }
            sleep(INTERVAL).await;
        }
    }

    /// Ends the runs if the archive knows a newer one.
    fn end_outdated(&self, runs: &[u64], known: &[u64]) {
        let newer = runs.iter().zip(known).filter(|(run, known)| run < known);
        if let Some(newest) = newer.map(|(_, known)| *known).max() {
            warn!("redis is in an older run than the archive, all rooms are reconciled again");
            self.broker.end_runs(newest);
        }
    }
}
