//! A client's cursor in a room. It tells the next event from a duplicate and from a gap.

use hubbub_protocol::command::Since;
use hubbub_protocol::{Epoch, Position};

use crate::event::Event;

/// The relation of an event to a client that has seen everything up to its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the next event.
    Next,
    /// It was seen before and is dropped.
    Duplicate,
    /// Events before it are missing.
    Gap {
        /// The offset that was expected.
        expected: u64,
    },
}

/// The last event seen in a room, or the position that a join gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    last: Since,
}

impl Cursor {
    pub(crate) fn at(epoch: &Epoch, offset: u64) -> Self {
        let position = Position {
            epoch: epoch.clone(),
            offset,
        };
        Self {
            last: Since {
                position,
                message: None,
            },
        }
    }

    /// The position to resume from.
    pub(crate) fn since(&self) -> &Since {
        &self.last
    }

    pub(crate) fn judge(&self, event: &Event) -> Verdict {
        let Position { epoch, offset } = &self.last.position;
        let expected = offset + 1;
        if event.epoch != *epoch || event.offset > expected {
            Verdict::Gap { expected }
        } else if event.offset < expected {
            Verdict::Duplicate
        } else {
            Verdict::Next
        }
    }

    /// Moves the cursor to an event that was handed out.
    pub(crate) fn advance(&mut self, event: &Event) {
        self.last = Since {
            position: Position {
                epoch: event.epoch.clone(),
                offset: event.offset,
            },
            message: event.message.clone(),
        };
    }
}

impl From<Since> for Cursor {
    fn from(last: Since) -> Self {
        Self { last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Incoming, read};

    fn event(epoch: &str, offset: u64) -> Event {
        let text = format!(
            r#"{{"type":"message","room":"r","message":"M{offset}","from":{{"id":"a","name":"A"}},"ts":1,"body":1,"epoch":"{epoch}","offset":{offset}}}"#
        );
        let Ok(Incoming::Event(event)) = read(&text) else {
            panic!("{text}")
        };
        event
    }

    #[test]
    fn only_the_next_offset_is_next() {
        let epoch = Epoch::new("e").unwrap();
        let mut cursor = Cursor::at(&epoch, 7);
        assert_eq!(cursor.judge(&event("e", 7)), Verdict::Duplicate);
        assert_eq!(cursor.judge(&event("e", 9)), Verdict::Gap { expected: 8 });
        assert_eq!(cursor.judge(&event("e", 8)), Verdict::Next);
        cursor.advance(&event("e", 8));
        assert_eq!(cursor.judge(&event("e", 8)), Verdict::Duplicate);
        assert_eq!(cursor.judge(&event("e", 9)), Verdict::Next);
    }

    #[test]
    fn an_event_of_another_epoch_is_never_next() {
        let cursor = Cursor::at(&Epoch::new("e").unwrap(), 7);
        assert_eq!(cursor.judge(&event("f", 8)), Verdict::Gap { expected: 8 });
        assert_eq!(cursor.judge(&event("f", 3)), Verdict::Gap { expected: 8 });
    }

    #[test]
    fn a_resume_names_the_last_seen_message() {
        let mut cursor = Cursor::at(&Epoch::new("e").unwrap(), 0);
        assert_eq!(cursor.since().message, None);
        cursor.advance(&event("e", 1));
        assert_eq!(cursor.since().message.as_deref(), Some("M1"));
        assert_eq!(
            serde_json::to_string(cursor.since()).unwrap(),
            r#"{"epoch":"e","offset":1,"message":"M1"}"#
        );
    }
}
