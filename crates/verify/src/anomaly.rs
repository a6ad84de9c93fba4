//! Broken promises, in words.

use std::fmt;

/// A place in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Which room.
    pub room: String,
    /// Which life of its stream.
    pub epoch: String,
    /// The number there.
    pub offset: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}:{}", self.room, self.epoch, self.offset)
    }
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anomaly {
    /// O1: an acked event was not heard.
    LostWrite {
        /// Who did not hear it.
        client: String,
        /// Where its ack says it is.
        at: Place,
    },
    /// O1: a client's log ends before the room's newest event that others heard.
    Behind {
        /// Who.
        client: String,
        /// The newest event of the room.
        head: Place,
        /// The last offset that the client heard.
        heard: u64,
    },
    /// O2: an offset came twice.
    Duplicate {
        /// To whom.
        client: String,
        /// Which.
        at: Place,
    },
    /// O2: one event has two places in one life.
    NumberedTwice {
        /// The event's id.
        message: String,
        /// One place.
        at: Place,
        /// The other one's offset.
        again: u64,
    },
    /// O3: offsets are missing.
    Hole {
        /// In whose log.
        client: String,
        /// What came.
        at: Place,
        /// What should have come.
        expected: u64,
    },
    /// O3: an offset is lower than one before, or another life began unannounced.
    OutOfOrder {
        /// In whose log.
        client: String,
        /// What came.
        at: Place,
        /// What had come before.
        before: Place,
    },
    /// O4: two clients heard different bytes at one place.
    Difference {
        /// The first two that differ.
        clients: (String, String),
        /// Where.
        at: Place,
        /// The event's id that the first one heard.
        first: String,
        /// The frame that the second one heard.
        second: String,
    },
    /// O5: a message was heard that the server had refused.
    Phantom {
        /// Who heard it first.
        client: String,
        /// Where.
        at: Place,
        /// The sender's name for it.
        nonce: String,
    },
    /// O5: one send is stored twice.
    StoredTwice {
        /// The sender's name for it.
        nonce: String,
        /// One place.
        at: Place,
        /// The other one's offset.
        again: u64,
    },
    /// O5: another event is where an ack says that its own is.
    Misplaced {
        /// The ack's place.
        at: Place,
        /// What the sender calls its message: its nonce or its id.
        acked: String,
        /// What is there.
        found: String,
    },
    /// O6: a later send of one sender was stored before an earlier one.
    SenderOrder {
        /// Who sent them.
        client: String,
        /// The later one.
        at: Place,
        /// The earlier one's offset.
        before: u64,
    },
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LostWrite { client, at } => {
                write!(f, "lost: {client} never heard {at}, which was acked")
            }
            Self::Behind {
                client,
                head,
                heard,
            } => write!(
                f,
                "lost: {client} heard {heard} last, and the room goes on to {head}"
            ),
            Self::Duplicate { client, at } => write!(f, "duplicated: {client} heard {at} twice"),
            Self::NumberedTwice { message, at, again } => {
                write!(f, "duplicated: event {message} is at {at} and at {again}")
            }
            Self::Hole {
                client,
                at,
                expected,
            } => write!(f, "out of order: {client} heard {at} and not {expected}"),
            Self::OutOfOrder { client, at, before } => {
                write!(f, "out of order: {client} heard {at} after {before}")
            }
            Self::Difference {
                clients: (one, two),
                at,
                first,
                second,
            } => write!(
                f,
                "different: at {at} {one} heard event {first} and {two} heard {second}"
            ),
            Self::Phantom { client, at, nonce } => {
                write!(
                    f,
                    "phantom: {client} heard {nonce:?} at {at}, which was refused"
                )
            }
            Self::StoredTwice { nonce, at, again } => {
                write!(
                    f,
                    "duplicated: send {nonce:?} is stored at {at} and at {again}"
                )
            }
            Self::Misplaced { at, acked, found } => {
                write!(
                    f,
                    "lost: the ack of {acked:?} names {at}, where {found:?} is"
                )
            }
            Self::SenderOrder { client, at, before } => {
                write!(f, "out of order: {client} sent {at} after {before}")
            }
        }
    }
}
