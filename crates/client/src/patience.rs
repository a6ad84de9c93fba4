//! How long a node may leave questions without an answer: then it is probed, and then left.

use std::time::Duration;

use tokio::time::Instant;

/// The next step with a node that does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ask it for a sign of life.
    Probe,
    /// Go to another node.
    Move,
}

/// The patience with one connection.
#[derive(Debug)]
pub(crate) struct Patience {
    probe_after: Duration,
    move_after: Duration,
    /// The time of the last answer, or of the first question after it; `None`: nothing is open.
    since: Option<Instant>,
    is_probed: bool,
}

impl Patience {
    pub(crate) fn new(probe_after: Duration, move_after: Duration) -> Self {
        Self {
            probe_after,
            move_after,
            since: None,
            is_probed: false,
        }
    }

    /// The node has answered something, or there is another connection: the time begins anew.
    pub(crate) fn restart(&mut self) {
        self.since = None;
        self.is_probed = false;
    }

    /// The step that is due, given whether a request is open.
    pub(crate) fn look(&mut self, now: Instant, is_open: bool) -> Option<Step> {
        if !is_open {
            self.restart();
            return None;
        }
        let waited = now - *self.since.get_or_insert(now);
        if waited >= self.move_after {
            self.restart();
            return Some(Step::Move);
        }
        let is_due = waited >= self.probe_after && !self.is_probed;
        self.is_probed |= is_due;
        is_due.then_some(Step::Probe)
    }

    /// When something is due, if nothing is answered before.
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
    fn a_node_is_probed_once_and_then_left() {
        let mut patience = Patience::new(5 * SECOND, 10 * SECOND);
        let start = Instant::now();
        assert_eq!(patience.look(start, true), None);
        assert_eq!(patience.next_wake(), Some(start + 5 * SECOND));
        assert_eq!(patience.look(start + 4 * SECOND, true), None);
        assert_eq!(patience.look(start + 5 * SECOND, true), Some(Step::Probe));
        assert_eq!(patience.look(start + 6 * SECOND, true), None);
        assert_eq!(patience.next_wake(), Some(start + 10 * SECOND));
        assert_eq!(patience.look(start + 10 * SECOND, true), Some(Step::Move));
    }

    #[test]
    fn an_answer_begins_anew_and_nothing_open_ends_it() {
        let mut patience = Patience::new(5 * SECOND, 10 * SECOND);
        let start = Instant::now();
        patience.look(start, true);
        patience.look(start + 9 * SECOND, true);
        patience.restart();
        assert_eq!(patience.look(start + 9 * SECOND, true), None);
        assert_eq!(patience.look(start + 18 * SECOND, true), Some(Step::Probe));
        assert_eq!(patience.look(start + 18 * SECOND, false), None);
        assert_eq!(patience.next_wake(), None);
    }
}
