//! Drafts: events that the broker has not numbered yet.

use std::net::IpAddr;

use bytes::Bytes;

use super::kind::EventKind;
use super::open::{Open, seal};
use super::replacement::Replacement;
use super::stored::StoredEvent;
use crate::mention::mentions;
use crate::{Body, Epoch, Frame, MessageId, Nonce, Position, ReactionKey, RoomId, User, UserId};

/// An event that the broker has not numbered yet.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The event's own id.
    pub message: MessageId,
    /// The user whose nonces `nonce` belongs to.
    pub from: UserId,
    /// The nonce, which makes a retry safe. The node makes one up if the client gave none.
    pub nonce: Nonce,
    /// The change to an earlier message. `None` for a new message.
    pub change: Option<Change>,
    /// The sender's address. If this event begins a room, the room's bytes count for the sender and for
    /// this address. `None` if they count for nobody.
    pub address: Option<IpAddr>,
    /// The frame's JSON object up to, and without, `,"ts":…}`.
    pub open: Bytes,
}

/// The effect of an event on an earlier one, for stores that keep both.
#[derive(Debug, Clone)]
pub struct Change {
    /// The offset of the message.
    pub target: u64,
    /// The epoch in which the message was found there. `None` means any.
    pub epoch: Option<Epoch>,
    /// The kind of change.
    pub kind: ChangeKind,
}

/// The ways to change a message.
#[derive(Debug, Clone)]
pub enum ChangeKind {
    /// The message gets another body.
    Edit {
        /// The frame that takes the place of this event once its message is deleted or edited again, left
        /// open like a draft.
        open_tombstone: Bytes,
        /// The frame that takes the message's place.
        replacement: Replacement,
    },
    /// The message loses its body.
    Delete {
        /// The frame that takes the message's place.
        tombstone: Frame,
    },
    /// A user adds or removes a reaction.
    React,
    /// The message is deleted already, so nothing changes. Only a retry of a stored event is answered
    /// with its place.
    TooLate,
}

impl Change {
    fn new(target: u64, kind: ChangeKind) -> Self {
        Self {
            target,
            epoch: None,
            kind,
        }
    }
}

impl Draft {
    /// Whether the event removes a message's body and adds none.
    #[must_use]
    pub fn is_deletion(&self) -> bool {
        let change = self.change.as_ref();
        change.is_some_and(|change| matches!(change.kind, ChangeKind::Delete { .. }))
    }

    /// Returns the same draft, whose bytes count for this address.
    #[must_use]
    pub fn paid_by(self, address: Option<IpAddr>) -> Self {
        Self { address, ..self }
    }

    /// A new message.
    #[must_use]
    pub fn message(room: &RoomId, from: &User, nonce: Option<Nonce>, body: &Body) -> Self {
        let message = MessageId::generate();
        let open = Open {
            from: Some(from),
            nonce: nonce.as_ref(),
            mentions: &mentions(body),
            body: Some(body.as_raw()),
            ..Open::new(EventKind::Message, room, &message)
        }
        .encode();
        Self {
            nonce: nonce_or_id(nonce, &message),
            message,
            from: from.id.clone(),
            change: None,
            address: None,
            open,
        }
    }

    /// An edit of the message at `target`, whose event is `original`.
    #[must_use]
    pub fn edit(
        room: &RoomId,
        by: &User,
        nonce: Option<Nonce>,
        target: u64,
        original: &StoredEvent<'_>,
        body: &Body,
    ) -> Self {
        let message = MessageId::generate();
        let tombstone = Open {
            target: Some(target),
            by: Some(by),
            deleted: true,
            ..Open::new(EventKind::Edited, room, &message)
        };
        let mentions = mentions(body);
        let kind = ChangeKind::Edit {
            open_tombstone: tombstone.encode(),
            replacement: original.replaced(room, Some(by), &mentions, Some(body.as_raw())),
        };
        let open = Open {
            nonce: nonce.as_ref(),
            mentions: &mentions,
            body: Some(body.as_raw()),
            deleted: false,
            ..tombstone
        };
        let open = open.encode();
        Self::change(by, nonce, message, Change::new(target, kind), open)
    }

    /// A deletion of the message at `target`, whose event is `original`.
    #[must_use]
    pub fn delete(
        room: &RoomId,
        by: &User,
        nonce: Option<Nonce>,
        target: u64,
        original: &StoredEvent<'_>,
    ) -> Self {
        let message = MessageId::generate();
        let open = Open {
            target: Some(target),
            by: Some(by),
            nonce: nonce.as_ref(),
            ..Open::new(EventKind::Deleted, room, &message)
        };
        let open = open.encode();
        let kind = ChangeKind::Delete {
            tombstone: original.tombstone(room),
        };
        Self::change(by, nonce, message, Change::new(target, kind), open)
    }

    /// A reaction to the message at `target`, or its end.
    #[must_use]
    pub fn react(
        room: &RoomId,
        by: &User,
        nonce: Option<Nonce>,
        target: u64,
        key: &ReactionKey,
        on: bool,
    ) -> Self {
        let message = MessageId::generate();
        let open = Open {
            target: Some(target),
            by: Some(by),
            nonce: nonce.as_ref(),
            key: Some(key),
            on: Some(on),
            ..Open::new(EventKind::Reacted, room, &message)
        };
        let open = open.encode();
        let kind = ChangeKind::React;
        Self::change(by, nonce, message, Change::new(target, kind), open)
    }

    /// Returns the same change of a message that was found in `epoch`. The broker stores it only if that
    /// message is still there.
    #[must_use]
    pub fn of_epoch(mut self, epoch: Epoch) -> Self {
        if let Some(change) = &mut self.change {
            change.epoch = Some(epoch);
        }
        self
    }

    /// Returns the same change of a message that is deleted already.
    #[must_use]
    pub fn too_late(mut self) -> Self {
        if let Some(change) = &mut self.change {
            change.kind = ChangeKind::TooLate;
        }
        self
    }

    /// Whether `stored` is this draft's event. A deleted event and an edited message no longer have the
    /// body that was sent, so any body matches there.
    #[must_use]
    pub fn is_stored_as(&self, stored: &StoredEvent<'_>) -> bool {
        let place = Position {
            epoch: stored.epoch.clone(),
            offset: stored.offset,
        };
        let sealed = seal(&self.open, 0, &place);
        let Ok(own) = StoredEvent::parse(sealed.as_str()) else {
            return false;
        };
        let body = |event: &StoredEvent<'_>| event.body.map(|body| body.get().to_owned());
        stored.kind == own.kind
            && stored.target == own.target
            && (stored.deleted || stored.edited.is_some() || body(stored) == body(&own))
            && stored.key == own.key
            && stored.on == own.on
    }

    fn change(
        by: &User,
        nonce: Option<Nonce>,
        message: MessageId,
        change: Change,
        open: Bytes,
    ) -> Self {
        Self {
            nonce: nonce_or_id(nonce, &message),
            message,
            from: by.id.clone(),
            change: Some(change),
            address: None,
            open,
        }
    }
}

/// Returns the nonce, or the message ID if the client gave none. So the node's own retries towards the
/// broker stay safe. Clients do not see that nonce.
fn nonce_or_id(nonce: Option<Nonce>, message: &MessageId) -> Nonce {
    nonce.unwrap_or_else(|| Nonce::new(message.as_str()).expect("a message id is a valid nonce"))
}
