//! The events that a client hands out.

use std::time::Duration;

use hubbub_protocol::{Epoch, Position, RoomId, User};

use crate::error::{Refusal, RequestError};
use crate::event::Event;
use crate::reply::Joined;

/// Everything that a client hands out without a request.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientEvent {
    /// The client is connected and joins its rooms again.
    Connected {
        /// The node that holds the connection.
        node: String,
        /// The connection's ID.
        connection: String,
        /// The user that the client is connected as.
        user: User,
    },
    /// The connection is lost. The client reconnects by itself.
    Disconnected {
        /// The close code, if the server sent one.
        code: Option<u16>,
        /// The reason, for people.
        reason: String,
        /// The pause before the next attempt.
        retry_in: Duration,
    },
    /// The client is closed and does not reconnect. This is the last event.
    Closed {
        /// The close code 45xx. `None` if the application closed the client.
        code: Option<u16>,
        /// The reason, for people.
        reason: String,
    },
    /// The client joined a room, on request or again after a reconnect. The room's events follow.
    Joined(Joined),
    /// The client is no longer in a room: it could not join again, or the server removed the user.
    RoomLost {
        /// The room.
        room: RoomId,
        /// The reason.
        error: RequestError,
    },
    /// A room's next event.
    Event(Event),
    /// An event has a new position, because the server lost a part of the stream and numbered the rest
    /// again. Later edits and reactions name the new offset as their target.
    Repeated {
        /// The event at its new position.
        event: Event,
        /// The event's old position.
        before: Position,
    },
    /// Offsets are missing, which breaks the server's promise. The client requests the events again.
    Gap {
        /// The room.
        room: RoomId,
        /// The offset that was expected.
        expected: u64,
        /// The offset that was received.
        got: u64,
    },
    /// The room's stream has a new epoch, and events may be missing: request the history. Events that
    /// were handed out before are not handed out again as [`ClientEvent::Event`].
    Reset {
        /// The room.
        room: RoomId,
        /// The new epoch.
        epoch: Epoch,
        /// The newest offset in it.
        offset: u64,
    },
    /// The client reads too slowly. The events still follow, in order.
    Lagged {
        /// The room.
        room: RoomId,
        /// The first event not sent live.
        from: u64,
        /// The newest event at that time.
        to: u64,
    },
    /// Users joined or left.
    Presence {
        /// The room.
        room: RoomId,
        /// The number of users present.
        count: u64,
        /// The users who joined.
        joined: Vec<User>,
        /// The users who left.
        left: Vec<User>,
    },
    /// A user starts or stops typing.
    Typing {
        /// The room.
        room: RoomId,
        /// The user.
        user: User,
        /// `true` if the user starts, `false` if the user stops.
        on: bool,
    },
    /// A user has read up to an offset: another user, or this one on another connection.
    Read {
        /// The room.
        room: RoomId,
        /// The user.
        user: User,
        /// The last event read.
        offset: u64,
    },
    /// An operator's announcement.
    Announcement {
        /// The room that it is for. `None` for everybody.
        room: Option<RoomId>,
        /// The text.
        text: String,
        /// The time in milliseconds since 1970.
        ts: u64,
    },
    /// The server refused a signal that has no reply, such as typing.
    Refused(Refusal),
}
