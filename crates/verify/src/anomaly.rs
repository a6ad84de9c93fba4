//! The kinds of broken promises, with their texts.

use std::fmt;

/// A place in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The room.
    pub room: String,
    /// The epoch.
    pub epoch: String,
    /// The offset.
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
    /// O1: a client did not receive an acked event.
    LostWrite {
        /// The client that did not receive it.
        client: String,
        /// The place that its ack names.
        at: Place,
    },
    /// O1: a client's log ends before the room's newest event that others received.
    Behind {
        /// The client.
        client: String,
        /// The newest event of the room.
        head: Place,
        /// The last offset that the client received.
        heard: u64,
    },
    /// O2: an offset came twice.
    Duplicate {
        /// The client that received it twice.
        client: String,
        /// The place.
        at: Place,
    },
    /// O2: one event has two places in one epoch.
    NumberedTwice {
        /// The event's ID.
        message: String,
        /// One place.
        at: Place,
        /// The offset of the other place.
        again: u64,
    },
    /// O3: offsets are missing.
    Hole {
        /// The client with the gap in its log.
        client: String,
        /// The event that came.
        at: Place,
        /// The offset that should have come.
        expected: u64,
    },
    /// O3: an offset is lower than one before, or another epoch began unannounced.
    OutOfOrder {
        /// The client with this log.
        client: String,
        /// The event that came.
        at: Place,
        /// The event that had come before.
        before: Place,
    },
    /// O4: two clients received different bytes at one place.
    Difference {
        /// The first two clients that differ.
        clients: (String, String),
        /// The place.
        at: Place,
        /// The ID of the event that the first one received.
        first: String,
        /// The frame that the second one received.
        second: String,
    },
    /// O5: a client received a message that the server had refused.
    Phantom {
        /// The client that received it first.
        client: String,
        /// The place.
        at: Place,
        /// The nonce.
        nonce: String,
    },
    /// O5: one send is stored twice.
    StoredTwice {
        /// The nonce.
        nonce: String,
        /// One place.
        at: Place,
        /// The offset of the other place.
        again: u64,
    },
    /// O5: a different event is at the place that an ack names.
    Misplaced {
        /// The ack's place.
        at: Place,
        /// The sender's nonce or ID of its message.
        acked: String,
        /// The nonce or ID of the event at this place.
        found: String,
    },
    /// O6: a later send of one sender was stored before an earlier one.
    SenderOrder {
        /// The sender.
        client: String,
        /// The place of the later send.
        at: Place,
        /// The offset of the earlier send.
        before: u64,
    },
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LostWrite { client, at } => {
                write!(f, "lost: {client} never received {at}, which was acked")
            }
            Self::Behind {
                client,
                head,
                heard,
            } => write!(
                f,
                "lost: {client} last received {heard}, but the room goes on to {head}"
            ),
            Self::Duplicate { client, at } => write!(f, "duplicated: {client} received {at} twice"),
            Self::NumberedTwice { message, at, again } => {
                write!(f, "duplicated: event {message} is at {at} and at {again}")
            }
            Self::Hole {
                client,
                at,
                expected,
            } => write!(
                f,
                "out of order: {client} received {at} instead of {expected}"
            ),
            Self::OutOfOrder { client, at, before } => {
                write!(f, "out of order: {client} received {at} after {before}")
            }
            Self::Difference {
                clients: (one, two),
                at,
                first,
                second,
            } => write!(
                f,
                "different: at {at}, {one} received event {first} and {two} received {second}"
            ),
            Self::Phantom { client, at, nonce } => {
                write!(
                    f,
                    "phantom: {client} received {nonce:?} at {at}, but it was refused"
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
                    "lost: the ack of {acked:?} names {at}, but {found:?} is there"
                )
            }
            Self::SenderOrder { client, at, before } => {
                write!(f, "out of order: {client} sent {at} after {before}")
            }
        }
    }
}
