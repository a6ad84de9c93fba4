//! The entries of a `rooms` reply.

use serde::Serialize;

use super::encoded::Frame;
use crate::RoomId;

/// A room's presence and newest offset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RoomSummary {
    /// The room.
    pub room: RoomId,
    /// The number of users present.
    pub members: u64,
    /// The offset of the newest event. 0 if there is none.
    pub offset: u64,
}

/// One entry of a `rooms` reply. For a room of the user's own it says what is new.
#[derive(Debug, Clone, Serialize)]
pub struct RoomEntry {
    /// The room itself.
    #[serde(flatten)]
    pub summary: RoomSummary,
    /// The user's state in the room. `None` if the user has had nothing to do with it.
    #[serde(flatten)]
    pub mine: Option<MyRoom>,
}

/// A user's state in a room.
#[derive(Debug, Clone, Serialize)]
pub struct MyRoom {
    /// Always true.
    pub mine: bool,
    /// The title, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The topic, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Whether only members may join.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
    /// The newest message as it stands now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Frame>,
    /// The offset up to which the user has read.
    pub read: u64,
    /// The number of later messages of others, at most [`MyRoom::MOST`].
    pub unread: u64,
    /// The number of those messages that mention the user, at most [`MyRoom::MOST`].
    pub mentions: u64,
    /// Whether the user was invited and has not joined yet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub invited: bool,
}

impl MyRoom {
    /// The highest count. It means "more than 99".
    pub const MOST: u64 = 100;
}
