//! Durable events in a room, from draft to numbered envelope.
//!
//! An event is encoded once, by the node that publishes it, as the frame that clients get. Only
//! the broker knows its place, so a draft's JSON is left open and [`seal`] closes it with
//! `ts`, `epoch` and `offset`. The publish script of the Redis broker does the same in Lua.

mod draft;
mod replacement;
mod stored;
#[cfg(test)]
mod tests;

use bytes::Bytes;
pub use draft::{Change, ChangeKind, Draft};
pub use replacement::{EditMark, Replacement};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
pub use stored::StoredEvent;

use crate::{Epoch, Frame, MessageId, Nonce, Position, ReactionKey, RoomId, User, UserId};

/// The kind of an event: its frame's `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// A new message.
    Message,
    /// Another body for a message.
    Edited,
    /// A message has lost its body.
    Deleted,
    /// A reaction to a message, or its end.
    Reacted,
}

/// A numbered event on its way to the members of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Its place in the room.
    pub position: Position,
    /// Its id: two events with one position but two ids prove a fork of the stream.
    pub message: MessageId,
    /// The id of the event before it, where that is known: live events form a chain, which shows
    /// a fork that offsets do not.
    pub previous: Option<MessageId>,
    /// The frame for native clients, byte for byte.
    pub frame: Frame,
}

impl Envelope {
    /// An event of which only the place is left: its message was deleted.
    #[must_use]
    pub fn vanished(room: &RoomId, position: Position) -> Self {
        let message = MessageId::unknown();
        let open = Open {
            deleted: true,
            ..Open::new(EventKind::Message, room, &message)
        };
        let frame = seal(&open.encode(), 0, &position);
        Self {
            position,
            message,
            previous: None,
            frame,
        }
    }

    /// The kind of event, by the frame's first field; the rest is not read.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        let kind = self.frame.as_str().strip_prefix(r#"{"type":""#);
        match kind.map(|kind| kind.as_bytes().first().copied()) {
            Some(Some(b'e')) => EventKind::Edited,
            Some(Some(b'd')) => EventKind::Deleted,
            Some(Some(b'r')) => EventKind::Reacted,
            _ => EventKind::Message,
        }
    }

    /// Reads the frame.
    ///
    /// # Errors
    /// When it is no sealed event; what the broker stored always is.
    pub fn read(&self) -> Result<StoredEvent<'_>, serde_json::Error> {
        StoredEvent::parse(self.frame.as_str())
    }

    /// Puts the body of `edit` into this message and marks it as edited. A deleted message and one
    /// that has this edit or a newer one stay as they are.
    ///
    /// # Errors
    /// When the frame is no sealed event.
    pub fn take_edit(
        &mut self,
        room: &RoomId,
        edit: &StoredEvent<'_>,
    ) -> Result<(), serde_json::Error> {
        let message = self.read()?;
        let is_message = message.kind == EventKind::Message;
        let is_newer = message.edited.is_none_or(|mark| mark.offset < edit.offset);
        if is_message && is_newer && !message.deleted && !edit.deleted {
            self.frame = message.edited_by(room, edit);
        }
        Ok(())
    }

    /// Takes the body out of it: its message was deleted, or a newer edit has replaced this one.
    ///
    /// # Errors
    /// When the frame is no sealed event.
    pub fn bury(&mut self, room: &RoomId) -> Result<(), serde_json::Error> {
        self.frame = self.read()?.tombstone(room);
        Ok(())
    }
}

/// Closes a draft's JSON. `ts` is in milliseconds since 1970, by the broker's clock.
#[must_use]
pub fn seal(open: &[u8], ts: u64, position: &Position) -> Frame {
    let tail = tail(ts, &position.epoch, position.offset);
    let mut json = Vec::with_capacity(open.len() + tail.len());
    json.extend_from_slice(open);
    json.extend_from_slice(tail.as_bytes());
    Frame::from_json(json.into()).expect("a draft is UTF-8")
}

/// The same event at another place, with another target if it has one.
#[must_use]
pub fn renumber(frame: &Frame, position: &Position, target: Option<u64>) -> Frame {
    const TARGET: &str = r#","target":"#;
    let text = frame.as_str();
    let end = text.rfind(r#","epoch":""#).unwrap_or(text.len());
    let Position { epoch, offset } = position;
    let tail = format!(r#","epoch":"{epoch}","offset":{offset}}}"#);
    // The target stands before everything that users write.
    let start = target
        .and_then(|_| text.find(TARGET))
        .filter(|at| *at < end);
    let json = match (start, target) {
        (Some(at), Some(target)) => {
            let (head, rest) = text[..end].split_at(at + TARGET.len());
            let rest = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
            format!("{head}{target}{rest}{tail}")
        }
        _ => format!("{}{tail}", &text[..end]),
    };
    Frame::from_json(json.into()).expect("a string is UTF-8")
}

/// The last fields of every event and the end of its JSON.
fn tail(ts: u64, epoch: &Epoch, offset: u64) -> String {
    format!(r#","ts":{ts},"epoch":"{epoch}","offset":{offset}}}"#)
}

/// The fields of all kinds of events, in the order in which they are written.
#[derive(Serialize)]
struct Open<'a> {
    #[serde(rename = "type")]
    kind: EventKind,
    room: &'a RoomId,
    message: &'a MessageId,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a User>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a User>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a Nonce>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a ReactionKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on: Option<bool>,
    #[serde(skip_serializing_if = "<[UserId]>::is_empty")]
    mentions: &'a [UserId],
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
}

impl<'a> Open<'a> {
    fn new(kind: EventKind, room: &'a RoomId, message: &'a MessageId) -> Self {
        Self {
            kind,
            room,
            message,
            target: None,
            from: None,
            by: None,
            nonce: None,
            key: None,
            on: None,
            mentions: &[],
            body: None,
            deleted: false,
        }
    }

    /// The JSON object without its end.
    fn encode(&self) -> Bytes {
        let mut open = serde_json::to_vec(self).expect("strings and valid JSON always serialize");
        open.pop();
        open.into()
    }
}
