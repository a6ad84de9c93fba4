//! The position that a client resumes from, and its text form.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::id::OFFSET_LIMIT;
use crate::{Epoch, MessageId, Position};

/// Separates the parts of the text form.
const SEPARATOR: char = ':';

/// A position to resume from, as a client remembers it.
///
/// The text form is `EPOCH:OFFSET` or `EPOCH:OFFSET:MESSAGE`. It is the `id` of an event in an event
/// stream.
///
/// Epochs and message ids that this server makes contain no colon, but both types allow one. The
/// offset is the first part after the epoch that is a number, so any message id is read back as it
/// was written. An epoch with a number between two colons would be read as a shorter epoch; the
/// server makes no such epoch and does not know the shorter one, so the client is told to start over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Since {
    /// The last event seen.
    #[serde(flatten)]
    pub position: Position,
    /// The id of the event at that offset: it tells two streams of one epoch apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl<'de> Deserialize<'de> for Since {
    /// Field by field: flattened, all fields that mean nothing would be kept in memory first.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct SinceFields {
            epoch: Epoch,
            offset: u64,
            #[serde(default)]
            message: Option<String>,
        }
        let SinceFields {
            epoch,
            offset,
            message,
        } = SinceFields::deserialize(deserializer)?;
        let position = Position { epoch, offset };
        Ok(Self { position, message })
    }
}

/// A text is no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a position must be EPOCH:OFFSET or EPOCH:OFFSET:MESSAGE, as the id of an event")]
pub struct InvalidSince;

impl Since {
    /// A position whose event is not known.
    #[must_use]
    pub fn at(epoch: Epoch, offset: u64) -> Self {
        Self {
            position: Position { epoch, offset },
            message: None,
        }
    }

    /// The position of an event. An id that stands for an unknown event is left out.
    #[must_use]
    pub fn event(position: Position, message: &str) -> Self {
        let is_known = MessageId::new(message).is_ok_and(|id| id != MessageId::unknown());
        Self {
            position,
            message: is_known.then(|| message.to_owned()),
        }
    }

    /// Reads the text form with the epoch in the first `epoch_bytes` bytes.
    fn read(text: &str, epoch_bytes: usize) -> Option<Self> {
        let epoch = Epoch::new(&text[..epoch_bytes]).ok()?;
        let rest = &text[epoch_bytes + SEPARATOR.len_utf8()..];
        let (offset, message) = match rest.split_once(SEPARATOR) {
            Some((offset, message)) => (offset, Some(MessageId::new(message).ok()?)),
            None => (rest, None),
        };
        let position = Position {
            epoch,
            offset: read_offset(offset)?,
        };
        Some(match message {
            Some(message) => Self::event(position, message.as_str()),
            None => Self::at(position.epoch, position.offset),
        })
    }
}

fn read_offset(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let offset = text.parse().ok().filter(|_| is_number)?;
    (offset < OFFSET_LIMIT).then_some(offset)
}

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { epoch, offset } = &self.position;
        write!(f, "{epoch}{SEPARATOR}{offset}")?;
        // A client's own `message` may hold anything, such as a line break.
        match self.message.as_deref().map(MessageId::new) {
            Some(Ok(message)) => write!(f, "{SEPARATOR}{message}"),
            Some(Err(_)) | None => Ok(()),
        }
    }
}

impl FromStr for Since {
    type Err = InvalidSince;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut ends = text.match_indices(SEPARATOR);
        let since = ends.find_map(|(epoch_bytes, _)| Self::read(text, epoch_bytes));
        since.ok_or(InvalidSince)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn since(epoch: &str, offset: u64, message: Option<&str>) -> Since {
        Since {
            position: Position {
                epoch: Epoch::new(epoch).unwrap(),
                offset,
            },
            message: message.map(str::to_owned),
        }
    }

    #[test]
    fn both_forms_are_read_back_as_they_were_written() {
        for (text, since) in [
            ("k3f9:41", since("k3f9", 41, None)),
            ("k3f9:0", since("k3f9", 0, None)),
            (
                "0mj3k9x2a-7qf2:41:01JABC",
                since("0mj3k9x2a-7qf2", 41, Some("01JABC")),
            ),
            // Imported ids may have colons and numbers in them.
            ("e:5:x:7", since("e", 5, Some("x:7"))),
            ("e:5:7", since("e", 5, Some("7"))),
            ("e:5:7:8", since("e", 5, Some("7:8"))),
            // So may an epoch that is none of ours, unless a part of it is a number.
            ("a:b:58", since("a:b", 58, None)),
            ("a:b:58:M", since("a:b", 58, Some("M"))),
        ] {
            assert_eq!(text.parse(), Ok(since.clone()), "{text}");
            assert_eq!(since.to_string(), text);
        }
    }

    #[test]
    fn generated_ids_are_read_back() {
        for _ in 0..100 {
            let position = Position {
                epoch: Epoch::begin(1, 0),
                offset: 7,
            };
            let since = Since::event(position, MessageId::generate().as_str());
            assert!(since.message.is_some());
            assert_eq!(since.to_string().parse(), Ok(since));
        }
    }

    #[test]
    fn an_unknown_event_has_no_id() {
        let position = since("e", 5, None).position;
        let unknown = Since::event(position, MessageId::unknown().as_str());
        assert_eq!(unknown, since("e", 5, None));
        assert_eq!("e:5:-".parse(), Ok(since("e", 5, None)));
    }

    #[test]
    fn a_text_never_holds_what_a_client_made_up() {
        for message in ["", "a b", "x\ndata: y", "🐙", &"m".repeat(65)] {
            assert_eq!(since("e", 5, Some(message)).to_string(), "e:5");
        }
    }

    #[test]
    fn nonsense_is_no_position() {
        let long_epoch = format!("{}:1", "e".repeat(33));
        let long_message = format!("e:1:{}", "m".repeat(65));
        for bad in [
            "",
            ":",
            "::",
            "e",
            "e:",
            ":5",
            "e:-1",
            "e:+1",
            "e:1.5",
            "e:x",
            "e:x:M",
            "e:5:",
            "e:5:a b",
            "e f:1",
            "e:9007199254740992",
            "e:9007199254740992:M",
            "e:99999999999999999999999",
            "\u{1f419}:1",
            "e:1:\u{1f419}",
            &long_epoch,
            &long_message,
        ] {
            assert_eq!(bad.parse::<Since>(), Err(InvalidSince), "{bad}");
        }
    }
}
