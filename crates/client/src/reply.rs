//! The server's replies to requests.

use hubbub_protocol::{Epoch, RoomId, User};
use serde::Deserialize;

use crate::event::Event;

/// The reply to a join.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Joined {
    /// The room.
    pub room: RoomId,
    /// The stream's epoch.
    pub epoch: Epoch,
    /// The room's newest offset.
    pub offset: u64,
    /// `false` if the missed events could not be proven complete. Then the newest page follows.
    pub recovered: bool,
    /// The number of users present.
    pub members: u64,
    /// The user's rights: `r`, `w` or `rw`.
    pub rights: String,
}

/// The reply to a send: the event is stored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Sent {
    /// The room.
    pub room: RoomId,
    /// The stream's epoch.
    pub epoch: Epoch,
    /// The event's offset.
    pub offset: u64,
    /// The event's ID. `None` for a duplicate whose event has left the stream.
    pub message: Option<String>,
    /// The event's time in milliseconds since 1970. `None` like `message`.
    pub ts: Option<u64>,
    /// Whether the nonce was known. Then this is the place of the first send.
    pub duplicate: bool,
    /// The level of safety: `stream`, `replicated` or `archived`.
    pub ack: String,
}

/// A page of older events, oldest first.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// The events.
    pub events: Vec<Event>,
    /// Whether there are older events.
    pub more: bool,
}

/// The users in a room.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Members {
    /// The number of users present.
    pub count: u64,
    /// The users. Empty in very large rooms.
    pub members: Vec<User>,
}

/// One room of the list of rooms.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RoomInfo {
    /// The room.
    pub room: RoomId,
    /// The number of users present.
    pub members: u64,
    /// The offset of the newest event. 0 if there is none.
    pub offset: u64,
}
