//! Numbered events on their way to the members of a room.

use super::kind::EventKind;
use super::open::{Open, seal};
use super::stored::StoredEvent;
use crate::{Frame, MessageId, Position, RoomId};

/// A numbered event on its way to the members of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The event's place in the room.
    pub position: Position,
    /// The event's ID. Two events with one position but different IDs prove a fork of the stream.
    pub message: MessageId,
    /// The ID of the event before it, if known. Live events form a chain of IDs, which shows forks that
    /// offsets do not show.
    pub previous: Option<MessageId>,
    /// The frame for native clients, byte for byte.
    pub frame: Frame,
}

impl Envelope {
    /// An event that has only its place left, because its message was deleted.
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

    /// The kind of event. Only the frame's first field is read.
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

    /// Reads the event from its frame.
    ///
    /// # Errors
    /// The frame is not a sealed event. Every frame that the broker stored is one.
    pub fn read(&self) -> Result<StoredEvent<'_>, serde_json::Error> {
        StoredEvent::parse(self.frame.as_str())
    }

    /// Puts the body of `edit` into this message and marks it as edited. A deleted message and one
    /// that has this edit or a newer one stay as they are.
    ///
    /// # Errors
    /// The frame is not a sealed event.
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

    /// Removes the body, because the message was deleted or a newer edit has replaced this one.
    ///
    /// # Errors
    /// The frame is not a sealed event.
    pub fn bury(&mut self, room: &RoomId) -> Result<(), serde_json::Error> {
        self.frame = self.read()?.tombstone(room);
        Ok(())
    }
}
