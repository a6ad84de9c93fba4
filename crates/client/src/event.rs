//! The durable events of rooms.

use hubbub_protocol::{Epoch, RoomId, User};
use serde_json::Value;

/// One durable event of a room.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The kind of event.
    pub kind: EventKind,
    /// The room.
    pub room: RoomId,
    /// The epoch of the stream that `offset` counts in.
    pub epoch: Epoch,
    /// The event's number in the epoch.
    pub offset: u64,
    /// The event's ID, which it keeps if it moves to another position.
    pub message: Option<String>,
    /// The user who did it.
    pub from: Option<User>,
    /// The time in milliseconds since 1970, by the server's clock.
    pub ts: u64,
    /// The nonce that its sender gave it.
    pub nonce: Option<String>,
    /// The body. `None` if the message was deleted.
    pub body: Option<Value>,
    /// The offset of the message that the event changes. `None` for a message itself.
    pub target: Option<u64>,
    /// The reaction's key, and whether it was added (`true`) or removed.
    pub reaction: Option<(String, bool)>,
    /// The frame as it was received. It is the same, byte for byte, for every client.
    pub raw: String,
}

/// The kind of a durable event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A new message.
    Message,
    /// A message has a new body.
    Edited,
    /// A message has lost its body.
    Deleted,
    /// A reaction was added or removed.
    Reacted,
}
