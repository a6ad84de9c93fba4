//! Events as they were stored, read back from their frames.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::kind::EventKind;
use super::open::{Open, seal};
use crate::{
    BodyView, Epoch, Frame, MessageId, Nonce, Position, ReactionKey, RoomId, User, UserId,
};

/// The mark of an edited message: the place of its newest edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditMark {
    /// When the edit was stored, in milliseconds since 1970.
    pub ts: u64,
    /// The offset of the edit's own event.
    pub offset: u64,
}

/// A sealed event, read back from its frame. Only rare paths and the archive read events back.
#[derive(Debug, Clone, Deserialize)]
pub struct StoredEvent<'a> {
    /// The kind of event.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// The event's id.
    pub message: MessageId,
    /// The time of the event, in milliseconds since 1970.
    #[serde(default)]
    pub ts: u64,
    /// The epoch of the stream in which the event was numbered.
    pub epoch: Epoch,
    /// The event's offset.
    pub offset: u64,
    /// The sender. `None` only if nothing but the place is left.
    #[serde(alias = "by")]
    pub from: Option<User>,
    /// The nonce that the sender gave it.
    #[serde(default)]
    pub nonce: Option<Nonce>,
    /// The offset of the message that it changes.
    #[serde(default)]
    pub target: Option<u64>,
    /// The body as it was sent, without blanks between its parts, so comparable byte for byte.
    #[serde(borrow, default)]
    pub body: Option<&'a RawValue>,
    /// Whether the body is gone, because the message was deleted or a newer edit has replaced this one.
    #[serde(default)]
    pub deleted: bool,
    /// The newest edit of this message, whose body the message has. `None` if it was not edited.
    #[serde(default)]
    pub edited: Option<EditMark>,
    /// The key of the reaction.
    #[serde(default)]
    pub key: Option<ReactionKey>,
    /// `true` if the reaction is added, `false` if it is removed.
    #[serde(default)]
    pub on: Option<bool>,
    /// The users that the text mentions.
    #[serde(default)]
    pub mentions: Vec<UserId>,
}

impl<'a> StoredEvent<'a> {
    /// Reads a sealed frame.
    ///
    /// # Errors
    /// `json` is not a sealed event. Every frame that the broker stored is one.
    pub fn parse(json: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// The text for the search: the body's `text`, or the body itself if it is a text.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        let text = BodyView::of(self.body?.get()).text;
        text.map(Cow::into_owned)
    }

    /// Returns the frame that replaces the event when its body is removed: the same event without body
    /// and nonce.
    #[must_use]
    pub fn tombstone(&self, room: &RoomId) -> Frame {
        let from = self.from.as_ref();
        let is_message = self.kind == EventKind::Message;
        let open = Open {
            target: self.target,
            from: from.filter(|_| is_message),
            by: from.filter(|_| !is_message),
            deleted: true,
            ..Open::new(self.kind, room, &self.message)
        };
        let position = Position {
            epoch: self.epoch.clone(),
            offset: self.offset,
        };
        seal(&open.encode(), self.ts, &position)
    }
}
