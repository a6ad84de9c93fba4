//! Watches whether a node answers. A silent node is probed, then the client moves to another one.

use std::time::Duration;

use tokio::time::Instant;

/// The next step with a node that does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LivenessStep {
    /// Send the node a ping.
    Probe,
    /// Connect to another node.
    Move,
}

/// The liveness of one connection's node.
#[derive(Debug)]
pub(crate) struct Liveness {
    probe_after: Duration,
    move_after: Duration,
    /// The time of the last reply, or of the first request after it. `None` if no request is open.
    since: Option<Instant>,
    is_probed: bool,
}

impl Liveness {
    pub(crate) fn new(probe_after: Duration, move_after: Duration) -> Self {
        Self {
            probe_after,
            move_after,
            since: None,
            is_probed: false,
        }
    }

    /// Restarts the timer, because the node has replied or the connection is new.
    pub(crate) fn restart(&mut self) {
        self.since = None;
        self.is_probed = false;
    }

    /// The step that is due, given whether a request is open.
    pub(crate) fn check(&mut self, now: Instant, is_open: bool) -> Option<LivenessStep> {
        if !is_open {
            self.restart();
            return None;
        }
        let waited = now - *self.since.get_or_insert(now);
        if waited >= self.move_after {
            self.restart();
            return Some(LivenessStep::Move);
        }
        let is_due = waited >= self.probe_after && !self.is_probed;
        self.is_probed |= is_due;
        is_due.then_some(LivenessStep::Probe)
    }

    /// The time of the next step if the node sends no reply before.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        let wait = if self.is_probed {
            self.move_after
        } else {
            self.probe_after.min(self.move_after)
        };
        self.since.map(|since| since + wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_silent_node_is_probed_once_before_the_client_moves() {
        let mut liveness = Liveness::new(5 * SECOND, 10 * SECOND);
        let start = Instant::now();
        assert_eq!(liveness.check(start, true), None);
        assert_eq!(liveness.next_wake(), Some(start + 5 * SECOND));
        assert_eq!(liveness.check(start + 4 * SECOND, true), None);
        assert_eq!(
            liveness.check(start + 5 * SECOND, true),
            Some(LivenessStep::Probe)
        );
        assert_eq!(liveness.check(start + 6 * SECOND, true), None);
        assert_eq!(liveness.next_wake(), Some(start + 10 * SECOND));
        assert_eq!(
            liveness.check(start + 10 * SECOND, true),
            Some(LivenessStep::Move)
        );
    }

    #[test]
    fn a_reply_restarts_the_timer_and_it_stops_without_open_requests() {
        let mut liveness = Liveness::new(5 * SECOND, 10 * SECOND);
        let start = Instant::now();
        liveness.check(start, true);
        liveness.check(start + 9 * SECOND, true);
        liveness.restart();
        assert_eq!(liveness.check(start + 9 * SECOND, true), None);
        assert_eq!(
            liveness.check(start + 18 * SECOND, true),
            Some(LivenessStep::Probe)
        );
        assert_eq!(liveness.check(start + 18 * SECOND, false), None);
        assert_eq!(liveness.next_wake(), None);
    }
}
