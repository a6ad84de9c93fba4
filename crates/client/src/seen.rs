//! The events that a room has handed out lately. They tell a new event from a repeated one.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use hubbub_protocol::{MessageId, Position};

use crate::event::Event;

/// The number of message IDs that a room remembers.
const KEPT: usize = 1_000;
/// The same number after the stream's epoch has changed: as many events as a stream keeps by default, and
/// so as many as the server may append again.
const KEPT_AFTER_RESET: usize = 10_000;

/// The positions of handed-out events by message ID. Beyond the bound the oldest are forgotten.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    positions: HashMap<Arc<str>, Position>,
    /// The IDs in the order in which they were handed out.
    order: VecDeque<Arc<str>>,
    has_reset: bool,
}

impl Seen {
    /// Remembers an event. Returns the position at which it was handed out before, or `None` if it is new
    /// or if its ID is not known because only its place is left.
    pub(crate) fn see(&mut self, event: &Event) -> Option<Position> {
        let message = event.message.as_deref().filter(|id| is_known(id))?;
        let position = Position {
            epoch: event.epoch.clone(),
            offset: event.offset,
        };
        if let Some(known) = self.positions.get_mut(message) {
            return Some(std::mem::replace(known, position));
        }
        let message: Arc<str> = message.into();
        self.positions.insert(Arc::clone(&message), position);
        self.order.push_back(message);
        self.forget_oldest();
        None
    }

    /// The room's stream has a new epoch, in which events may be repeated.
    pub(crate) fn reset(&mut self) {
        self.has_reset = true;
    }

    fn forget_oldest(&mut self) {
        let bound = if self.has_reset {
            KEPT_AFTER_RESET
        } else {
            KEPT
        };
        while self.order.len() > bound
            && let Some(oldest) = self.order.pop_front()
        {
            self.positions.remove(&oldest);
        }
    }
}

fn is_known(message: &str) -> bool {
    message != MessageId::unknown().as_str()
}

#[cfg(test)]
mod tests {
    use hubbub_protocol::Epoch;

    use super::*;
    use crate::frame::{Incoming, read};

    fn event(message: &str, epoch: &str, offset: u64) -> Event {
        let text = format!(
            r#"{{"type":"message","room":"r","message":"{message}","from":{{"id":"a","name":"A"}},"ts":1,"body":1,"epoch":"{epoch}","offset":{offset}}}"#
        );
        let Ok(Incoming::Event(event)) = read(&text) else {
            panic!("{text}")
        };
        event
    }

    #[test]
    fn a_repeated_event_is_known_by_its_id() {
        let mut seen = Seen::default();
        assert_eq!(seen.see(&event("M1", "e", 5)), None);
        assert_eq!(seen.see(&event("M2", "e", 6)), None);
        let before = seen.see(&event("M1", "f", 9)).unwrap();
        assert_eq!((before.epoch, before.offset), (Epoch::new("e").unwrap(), 5));
        let before = seen.see(&event("M1", "g", 12)).unwrap();
        assert_eq!(before.offset, 9);
    }

    #[test]
    fn events_without_a_known_id_are_never_the_same() {
        let mut seen = Seen::default();
        assert_eq!(seen.see(&event("-", "e", 5)), None);
        assert_eq!(seen.see(&event("-", "e", 6)), None);
    }

    #[test]
    fn the_memory_is_bounded_and_larger_after_a_reset() {
        let mut seen = Seen::default();
        let fill = |seen: &mut Seen, epoch: &str, numbers: std::ops::Range<usize>| {
            let ids = numbers.map(|number| format!("M{number}"));
            ids.filter(|id| seen.see(&event(id, epoch, 1)).is_some())
                .count()
        };
        assert_eq!(fill(&mut seen, "e", 0..KEPT + 1), 0);
        assert_eq!(seen.see(&event("M0", "e", 1)), None, "the oldest is gone");
        seen.reset();
        // The newest IDs from before the reset and all later ones are known.
        let again = KEPT_AFTER_RESET - KEPT;
        assert_eq!(fill(&mut seen, "f", 2..KEPT + again), KEPT - 1);
        assert_eq!(fill(&mut seen, "g", 2..KEPT + again), KEPT + again - 2);
        assert!(seen.order.len() <= KEPT_AFTER_RESET);
        assert_eq!(seen.order.len(), seen.positions.len());
        fill(&mut seen, "g", 0..2 * KEPT_AFTER_RESET);
        assert_eq!(seen.order.len(), KEPT_AFTER_RESET);
    }
}
