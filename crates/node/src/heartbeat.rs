//! Notices that the whole process stood still: frozen, swapped out, or starved. What it has in its
//! buffers then is old, and others may have taken it for dead.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tracing::warn;

use crate::node::Node;

/// A pause that is no ordinary delay.
const FROZEN: Duration = Duration::from_secs(3);
/// Until the lease has been looked after, and what others said of this node's members is undone.
const PRESENCE_PAUSE: Duration = Duration::from_secs(3);

/// When the node last did anything.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    start: Instant,
    /// Milliseconds after `start`.
    last: AtomicU64,
}

impl Heartbeat {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    /// Beats; returns how long the node stood still, if that was too long. Of several callers one
    /// gets it.
    fn beat(&self, now: Instant) -> Option<Duration> {
        let now = u64::try_from(now.duration_since(self.start).as_millis()).unwrap_or(u64::MAX);
        let last = self.last.fetch_max(now, Ordering::Relaxed);
        let pause = Duration::from_millis(now.saturating_sub(last));
        (pause > FROZEN).then_some(pause)
    }
}

impl Node {
    /// To be called before anything is done: after a pause every room is read again from its
    /// stream.
    pub(crate) fn beat(self: &std::sync::Arc<Self>) {
        let Some(pause) = self.heartbeat.beat(Instant::now()) else {
            return;
        };
        warn!(?pause, "this node stood still, repairing all rooms");
        let rooms = self.hub.rooms();
        for room in &rooms {
            self.hold_presence(room, PRESENCE_PAUSE);
        }
        self.repair_all(rooms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_noticed_once() {
        let heartbeat = Heartbeat::new();
        let at = |seconds| heartbeat.start + Duration::from_secs(seconds);
        assert_eq!(heartbeat.beat(at(2)), None);
        assert_eq!(heartbeat.beat(at(22)), Some(Duration::from_secs(20)));
        assert_eq!(heartbeat.beat(at(22)), None);
    }
}
