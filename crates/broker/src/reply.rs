//! What the broker answers.

use hubbub_protocol::{Envelope, Epoch, Frame, MessageId, Position, User, UserId};

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
}

impl Published {
    /// The event's place, if it has one.
    #[must_use]
    pub fn position(&self) -> Option<&Position> {
        match self {
            Self::Stored { position, .. } | Self::Duplicate { position, .. } => Some(position),
            Self::Gone => None,
        }
    }
}

/// Says the highest place that a node knows of in a room; `None`: it knows none.
pub type Seen<'a> = &'a (dyn Fn() -> Option<Position> + Send + Sync);

/// What may happen to a room that has no stream, or less than was seen of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// Nothing: [`crate::BrokerError::NoLife`] tells, so that the archive can be asked how far
    /// earlier lives came.
    Never,
    /// A life begins.
    Above {
        /// The highest offset of earlier lives; 0: none is known.
        offset: u64,
        /// The life that the embedded broker goes on with, having committed all of it. Redis begins
        /// another one, since nobody knows what it has lost.
        epoch: Option<Epoch>,
        /// Only its members may be in the room.
        is_private: bool,
    },
}

impl Begin {
    /// A new life above this offset.
    #[must_use]
    pub fn above(offset: u64) -> Self {
        Self::Above {
            offset,
            epoch: None,
            is_private: false,
        }
    }
}

/// Where a room's stream stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The stream's life.
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
    /// Events in order of their offsets, without holes. Those older than the stream keeps are absent.
    pub events: Vec<Envelope>,
    /// The offset above which this life began.
    pub base: u64,
    /// How far the archive has this life, as far as the broker was told; always `None` where events
    /// are committed before they are stored.
    pub archived: Option<u64>,
    /// Only its members may be in the room, as far as the broker was told.
    pub is_private: bool,
}

/// Who is in a room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Presence {
    /// The room's presence version at that moment.
    pub version: u64,
    /// How many users.
    pub count: u64,
    /// Who; empty when there are more than were asked for.
    pub members: Vec<User>,
}

/// Why a room's stream is taken for another one than nodes have seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    /// The life in which it was seen.
    pub epoch: Epoch,
    /// The highest offset that was seen: a stream that ends below it has lost something.
    pub seen: u64,
    /// An event that was seen: a stream with another one in its place is another stream.
    pub event: Option<(u64, MessageId)>,
    /// Only while that life has no event, which would be lost.
    pub only_empty: bool,
}

/// What a node has to say of one user in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attendance {
    /// The user's first connection here has come.
    Enter(User),
    /// The user's last connection here has gone.
    Exit(UserId),
}
