//! Events as they were stored, read back from their frames.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Draft, EditMark, EventKind, Open, seal};
use crate::{
    BodyView, Epoch, Frame, MessageId, Nonce, Position, ReactionKey, RoomId, User, UserId,
};

/// A sealed event, read back from its frame: on rare paths, and for the archive.
#[derive(Debug, Clone, Deserialize)]
pub struct StoredEvent<'a> {
    /// The kind of event.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// The event's id.
    pub message: MessageId,
    /// Milliseconds since 1970.
    #[serde(default)]
    pub ts: u64,
    /// The life of the stream that it was numbered in.
    pub epoch: Epoch,
    /// Its number.
    pub offset: u64,
    /// The sender; `None` only where nothing but the place is left.
    #[serde(alias = "by")]
    pub from: Option<User>,
    /// The sender's own name for it.
    #[serde(default)]
    pub nonce: Option<Nonce>,
    /// Which message it changes.
    #[serde(default)]
    pub target: Option<u64>,
    /// As it was sent, without blanks between its parts; comparable byte for byte.
    #[serde(borrow, default)]
    pub body: Option<&'a RawValue>,
    /// Its body is gone: its message was deleted, or a newer edit has replaced this one.
    #[serde(default)]
    pub deleted: bool,
    /// The newest edit of this message, whose body it has; `None`: the message was not edited.
    #[serde(default)]
    pub edited: Option<EditMark>,
    /// Which reaction.
    #[serde(default)]
    pub key: Option<ReactionKey>,
    /// Whether the reaction begins.
    #[serde(default)]
    pub on: Option<bool>,
    /// Users whom the text names.
    #[serde(default)]
    pub mentions: Vec<UserId>,
}

impl<'a> StoredEvent<'a> {
    /// Reads a sealed frame.
    ///
    /// # Errors
    /// When `json` is no sealed event; what the broker stored always is.
    pub fn parse(json: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// The text for the search: the body's `text`, or the body itself if it is a text.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        let text = BodyView::of(self.body?.get()).text;
        text.map(Cow::into_owned)
    }

    /// Returns what takes its place once its body is gone: the same without body and nonce.
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

    /// Whether `draft` says the same as this. A deleted event and an edited message no longer have
    /// the body that was sent, so any body is the same there.
    #[must_use]
    pub fn says(&self, draft: &Draft) -> bool {
        let place = Position {
            epoch: self.epoch.clone(),
            offset: self.offset,
        };
        let sealed = seal(&draft.open, 0, &place);
        let Ok(other) = StoredEvent::parse(sealed.as_str()) else {
            return false;
        };
        let body = |event: &StoredEvent<'_>| event.body.map(|body| body.get().to_owned());
        self.kind == other.kind
            && self.target == other.target
            && (self.deleted || self.edited.is_some() || body(self) == body(&other))
            && self.key == other.key
            && self.on == other.on
    }
}
