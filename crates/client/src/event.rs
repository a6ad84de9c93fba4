//! The events that a client hands out.

use std::time::Duration;

use hubbub_protocol::{Epoch, Position, RoomId, User};
use serde_json::Value;

use crate::error::{Refusal, RequestError};
use crate::frame::Joined;

/// One durable event of a room, numbered.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The event.
    pub kind: EventKind,
    /// Where.
    pub room: RoomId,
    /// The life of the stream that `offset` counts in.
    pub epoch: Epoch,
    /// Its number.
    pub offset: u64,
    /// The event's own id, which it keeps at another position.
    pub message: Option<String>,
    /// The user who did it.
    pub from: Option<User>,
    /// When, in milliseconds since 1970 by the server's clock.
    pub ts: u64,
    /// The nonce that its sender gave it.
    pub nonce: Option<String>,
    /// Its content; none where a message was deleted.
    pub body: Option<Value>,
    /// The message that is changed; none for a message itself.
    pub target: Option<u64>,
    /// With what was reacted, and whether it was put there or taken back.
    pub reaction: Option<(String, bool)>,
    /// The frame as it came, byte for byte the same for every client.
    pub raw: String,
}

/// The kind of a durable event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// Someone said something.
    Message,
    /// A message has a new content.
    Edited,
    /// A message has lost its content.
    Deleted,
    /// A reaction came or went.
    Reacted,
}

/// Everything that comes without having been asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientEvent {
    /// A connection is there; the rooms are being joined again.
    Connected {
        /// Which node holds it.
        node: String,
        /// The connection's id.
        connection: String,
        /// The user that the server takes the client for.
        user: User,
    },
    /// The connection is lost; the client comes back by itself.
    Disconnected {
        /// The close code, if there was one.
        code: Option<u16>,
        /// For people.
        reason: String,
        /// When the next attempt begins.
        retry_in: Duration,
    },
    /// The last event: the client is closed and does not come back.
    Closed {
        /// The close code 45xx; `None`: closed by its user.
        code: Option<u16>,
        /// For people.
        reason: String,
    },
    /// A room was joined, by its user or again after a reconnect. Its events follow.
    Joined(Joined),
    /// A room could not be joined again, or the server has taken this user out; it is left.
    RoomLost {
        /// Which room.
        room: RoomId,
        /// Why.
        error: RequestError,
    },
    /// A room's next event.
    Event(Event),
    /// An event that came before has another position now: the server has lost a part of the stream
    /// and has numbered again the events that it kept. Edits and reactions that follow name the new
    /// offset as their target.
    Repeated {
        /// The event at its new position.
        event: Event,
        /// The position at which it came before.
        before: Position,
    },
    /// Offsets are missing: a breach of the server's promise. The client asks for them again.
    Gap {
        /// Which room.
        room: RoomId,
        /// The offset that should have come.
        expected: u64,
        /// The one that came.
        got: u64,
    },
    /// The room's stream has begun a new life, and events may be missing: ask for the history.
    /// Events that came before are not handed out again as [`ClientEvent::Event`].
    Reset {
        /// Which room.
        room: RoomId,
        /// The new life.
        epoch: Epoch,
        /// Its newest offset.
        offset: u64,
    },
    /// This client reads too slowly; the events still come, in order.
    Lagged {
        /// Which room.
        room: RoomId,
        /// The first event not sent live.
        from: u64,
        /// The newest one at that time.
        to: u64,
    },
    /// The users who came and left.
    Presence {
        /// Which room.
        room: RoomId,
        /// Users present.
        count: u64,
        /// The users who came.
        joined: Vec<User>,
        /// The users who left.
        left: Vec<User>,
    },
    /// Someone writes.
    Typing {
        /// Which room.
        room: RoomId,
        /// The user.
        user: User,
        /// `false`: stopped.
        on: bool,
    },
    /// Someone has read up to here: another user, or this one on another connection.
    Read {
        /// Which room.
        room: RoomId,
        /// The user.
        user: User,
        /// The last event read.
        offset: u64,
    },
    /// An operator says something.
    Announcement {
        /// To this room only.
        room: Option<RoomId>,
        /// The text.
        text: String,
        /// When, in milliseconds since 1970.
        ts: u64,
    },
    /// The server refused something that has no answer, as typing.
    Refused(Refusal),
}
