//! The broker's answers.

use hubbub_protocol::{Envelope, Epoch, Frame, Position, User, UserId};

/// The outcome for one draft of a publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// Numbered and stored just now.
    Stored {
        /// Its place.
        position: Position,
        /// Milliseconds since 1970, by the broker's clock.
        ts: u64,
    },
    /// The sender has used this nonce before: this is the first send's place.
    Duplicate {
        /// The place of the first.
        position: Position,
        /// The first send's event; `None` when it has left the stream.
        original: Option<Frame>,
    },
    /// Not stored: the message that it changes is deleted.
    Gone,
    /// Not stored: whoever began the room has more bytes of events than one may have, and the archive
    /// does not have them yet. The room takes deletions only until it has.
    Crowded,
}

impl Published {
    /// The event's place, if it has one.
    #[must_use]
    pub fn position(&self) -> Option<&Position> {
        match self {
            Self::Stored { position, .. } | Self::Duplicate { position, .. } => Some(position),
            Self::Gone | Self::Crowded => None,
        }
    }
}

/// Says the highest place that a node knows of in a room; `None`: it knows none.
pub type Seen<'a> = &'a (dyn Fn() -> Option<Position> + Send + Sync);

/// Where a room's stream stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The stream's epoch.
    pub epoch: Epoch,
    /// The newest event's number; 0 before the first.
    pub offset: u64,
}

/// Which part of a stream to read. Both ends are exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// The oldest events after this offset.
    After(u64),
    /// The newest events before this offset.
    Before(u64),
    /// The newest events.
    Newest,
}

/// A part of a stream, together with its head at the same moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Where the stream stands.
    pub head: Head,
    /// Events in order of their offsets, each with its own epoch. Within an epoch there are no holes.
    /// Those older than the stream keeps are absent.
    pub events: Vec<Envelope>,
    /// The offset above which this epoch began.
    pub base: u64,
    /// Up to here the archive has the room, as far as the broker was told; always `None` where
    /// events are committed before they are stored.
    pub archived: Option<u64>,
    /// Only its members may be in the room, as far as the broker was told.
    pub is_private: bool,
}

/// The users in a room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Presence {
    /// The room's presence version at that moment.
    pub version: u64,
    /// The number of this list of users, see [`hubbub_protocol::PresenceDelta`]; 0: there is none.
    pub registry: u64,
    /// The number of users.
    pub count: u64,
    /// The users; empty if there are more than were asked for.
    pub members: Vec<User>,
}

/// A change of one user's presence in a room on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attendance {
    /// The user's first connection here has come.
    Enter(User),
    /// The user is still here, and was registered in this list before. Webhooks are told of it only if the
    /// list is the same as then: a list that was lost says nothing about who came.
    Again {
        /// The user.
        user: User,
        /// The list's number, as [`Presence::registry`].
        registry: u64,
    },
    /// The user's last connection here has gone.
    Exit(UserId),
}
