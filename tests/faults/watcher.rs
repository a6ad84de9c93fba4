//! The readiness of the nodes: polls `/readyz`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use crate::arena::readiness;

const EVERY: Duration = Duration::from_millis(50);

/// A change of a node's readiness.
#[derive(Debug, Clone)]
struct Turn {
    at: Instant,
    is_ready: bool,
    says: String,
}

impl Turn {
    fn is_degraded(&self) -> bool {
        self.says.starts_with("degraded")
    }
}

/// Asks one node until it is dropped.
#[derive(Debug)]
pub(crate) struct Watcher {
    turns: Arc<Mutex<Vec<Turn>>>,
    _task: AbortOnDropHandle<()>,
}

impl Watcher {
    pub(crate) fn start(ops: SocketAddr) -> Self {
        let turns = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(watch(ops, Arc::clone(&turns)));
        Self {
            turns,
            _task: AbortOnDropHandle::new(task),
        }
    }

    fn turns(&self) -> Vec<Turn> {
        self.turns
            .lock()
            .expect("no thread panicked with the lock")
            .clone()
    }

    /// The first time since `moment` that the node was in this state, and its reason.
    pub(crate) fn first(&self, is_ready: bool, moment: Instant) -> Option<(Duration, String)> {
        let turns = self.turns();
        let before = turns.iter().rfind(|turn| turn.at <= moment);
        let same = before.filter(|turn| turn.is_ready == is_ready);
        let next = turns
            .iter()
            .find(|turn| turn.at > moment && turn.is_ready == is_ready);
        let turn = same.or(next)?;
        Some((turn.at.saturating_duration_since(moment), turn.says.clone()))
    }

    /// The first time from `moment` on that it said that it was degraded, and its words.
    pub(crate) fn degraded(&self, moment: Instant) -> Option<(Duration, String)> {
        let turns = self.turns();
        let turn = turns
            .iter()
            .find(|turn| turn.at > moment && turn.is_degraded())?;
        Some((turn.at.duration_since(moment), turn.says.clone()))
    }

    /// Whether it has said since `moment` that it is not ready.
    pub(crate) fn wavered(&self, moment: Instant) -> Option<String> {
        self.first(false, moment).map(|(_, says)| says)
    }
}

async fn watch(ops: SocketAddr, turns: Arc<Mutex<Vec<Turn>>>) {
    loop {
        let at = Instant::now();
        // A node that does not answer is not ready.
        let (is_ready, says) = readiness(ops)
            .await
            .unwrap_or((false, "silence".to_owned()));
        note(&turns, Turn { at, is_ready, says });
        sleep(EVERY).await;
    }
}

fn note(turns: &Mutex<Vec<Turn>>, turn: Turn) {
    let mut turns = turns.lock().expect("nothing panics there");
    let state = |turn: &Turn| (turn.is_ready, turn.is_degraded());
    if turns.last().map(state) != Some(state(&turn)) {
        turns.push(turn);
    }
}
