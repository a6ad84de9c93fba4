//! Events that have no place yet.

use std::net::IpAddr;

use bytes::Bytes;

use super::{EventKind, Open, Replacement, StoredEvent};
use crate::command::Body;
use crate::mention::mentions;
use crate::{Epoch, Frame, MessageId, Nonce, ReactionKey, RoomId, User, UserId};

/// An event that has no place yet.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The event's own id.
    pub message: MessageId,
    /// The user whose nonces `nonce` belongs to.
    pub from: UserId,
    /// Makes a retry safe. A node makes one up if the client gave none.
    pub nonce: Nonce,
    /// Which message it changes; `None`: it is a new one.
    pub change: Option<Change>,
    /// The sender's address, which pays with the sender for the bytes of a room that this event begins;
    /// `None`: nobody pays.
    pub address: Option<IpAddr>,
    /// The frame's JSON object up to, and without, `,"ts":…}`.
    pub open: Bytes,
}

/// The effect of an event on an earlier one, for stores that keep both.
#[derive(Debug, Clone)]
pub struct Change {
    /// The message's offset.
    pub target: u64,
    /// The epoch in which the message was found there; `None`: any.
    pub epoch: Option<Epoch>,
    /// How.
    pub kind: ChangeKind,
}

/// The ways to change a message.
#[derive(Debug, Clone)]
pub enum ChangeKind {
    /// Another body.
    Edit {
        /// The frame that takes the place of this event once its message is deleted or edited again, left
        /// open like a draft.
        open_tombstone: Bytes,
        /// The frame that takes the message's place.
        replacement: Replacement,
    },
    /// No body.
    Delete {
        /// The frame that takes the message's place.
        tombstone: Frame,
    },
    /// A reaction.
    React,
    /// None any more, since the message is deleted already: only a retry of what was stored before
    /// is answered with its place.
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
    /// Whether the event takes a message's body away and adds none.
    #[must_use]
    pub fn is_deletion(&self) -> bool {
        let change = self.change.as_ref();
        change.is_some_and(|change| matches!(change.kind, ChangeKind::Delete { .. }))
    }

    /// The same, paid for by this address.
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

    /// Another body for the message at `target`, whose event is `original`.
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

    /// The end of the message at `target`, whose event is `original`.
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

    /// The same for a message that was found in `epoch`: the change is stored only where that
    /// message still stands.
    #[must_use]
    pub fn of_epoch(mut self, epoch: Epoch) -> Self {
        if let Some(change) = &mut self.change {
            change.epoch = Some(epoch);
        }
        self
    }

    /// The same for a message that is deleted already.
    #[must_use]
    pub fn too_late(mut self) -> Self {
        if let Some(change) = &mut self.change {
            change.kind = ChangeKind::TooLate;
        }
        self
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

/// Without a client's `nonce` the message id serves as one, so that the node's own retries towards
/// the broker stay safe; it is not shown to clients.
fn nonce_or_id(nonce: Option<Nonce>, message: &MessageId) -> Nonce {
    nonce.unwrap_or_else(|| Nonce::new(message.as_str()).expect("a message id is a valid nonce"))
}
