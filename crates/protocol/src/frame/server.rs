//! The replies and pushes of the server, and their encoding.

use serde::Serialize;

use super::encoded::Frame;
use super::rooms::RoomEntry;
use crate::{ConnectionId, Envelope, Epoch, ErrorCode, MessageId, NodeId, RequestId, RoomId, User};

impl Frame {
    /// Encodes a reply or a push.
    #[must_use]
    pub fn encode(frame: &ServerFrame<'_>) -> Self {
        let json = serde_json::to_vec(frame).expect("plain structs always serialize");
        Self(json.into())
    }

    /// Encodes a reply that carries `events`, which are whole frames already.
    #[must_use]
    pub fn encode_with_events(frame: &ServerFrame<'_>, events: &[Envelope]) -> Self {
        let mut json = serde_json::to_vec(frame).expect("plain structs always serialize");
        json.pop();
        json.extend_from_slice(b",\"events\":[");
        for (index, event) in events.iter().enumerate() {
            if index > 0 {
                json.push(b',');
            }
            json.extend_from_slice(event.frame.as_bytes());
        }
        json.extend_from_slice(b"]}");
        Self(json.into())
    }
}

/// The limits of a client, which `welcome` tells it.
#[derive(Debug, Clone, Serialize)]
pub struct WelcomeLimits {
    /// The most bytes of one frame.
    pub frame_bytes: u64,
    /// The most bytes of one body.
    pub body_bytes: u64,
    /// The most rooms that one connection may join.
    pub rooms_per_connection: u32,
    /// The steady rate of sends, per second.
    pub sends_per_second: u32,
    /// The most sends in one burst.
    pub sends_burst: u32,
    /// The most events in one page.
    pub resume_page: usize,
}

/// Every frame that the server sends, except durable events.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame<'a> {
    /// The first frame of a connection.
    Welcome {
        /// The connection's ID.
        connection: &'a ConnectionId,
        /// The node that holds it.
        node: &'a NodeId,
        /// The user that the server takes the client for.
        user: &'a User,
        /// The interval of the server's pings, in milliseconds.
        ping_ms: u64,
        /// The limits of the client.
        limits: WelcomeLimits,
    },
    /// The reply to `join`; encode it with its events.
    Joined {
        /// The request's ID.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
        /// The room.
        room: &'a RoomId,
        /// The stream's epoch.
        epoch: &'a Epoch,
        /// The room's newest offset.
        offset: u64,
        /// `false` if the events after `since` could not be proven complete.
        recovered: bool,
        /// The number of users present.
        members: u64,
        /// The user's rights: `r`, `w` or `rw`, and `m` for a moderator.
        rights: &'a str,
    },
    /// The reply to `leave`.
    Left {
        /// The request's ID.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
        /// The room.
        room: &'a RoomId,
    },
    /// An operator's announcement to everybody or to one room.
    Announcement {
        /// The room whose members get it. `None` for everybody.
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<&'a RoomId>,
        /// The text for people.
        text: &'a str,
        /// The time in milliseconds since 1970.
        ts: u64,
    },
    /// The reply to `send`: the event is stored.
    Sent {
        /// The request's ID.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
        /// The room.
        room: &'a RoomId,
        /// The stream's epoch.
        epoch: &'a Epoch,
        /// The event's offset.
        offset: u64,
        /// The event's ID. Absent for a duplicate whose event has left the stream.
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<&'a MessageId>,
        /// The event's time in milliseconds since 1970. Absent like `message`.
        #[serde(skip_serializing_if = "Option::is_none")]
        ts: Option<u64>,
        /// Whether the nonce was known. Then this is the place of the first send.
        duplicate: bool,
        /// The level of safety that the event has reached.
        ack: &'static str,
    },
    /// The reply to `history`; encode it with its events.
    History {
        /// The request's ID.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
        /// The room.
        room: &'a RoomId,
        /// Whether there are older events.
        more: bool,
    },
    /// The reply to `members`.
    Members {
        /// The request's ID.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
        /// The room.
        room: &'a RoomId,
        /// The number of users present.
        count: u64,
        /// The users; empty above `limits.presence_list`.
        members: &'a [User],
    },
    /// The reply to `rooms`.
    Rooms {
        /// The request's ID.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
        /// The rooms.
        rooms: &'a [RoomEntry],
    },
    /// The reply to `refresh`.
    Refreshed {
        /// The request's ID.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
        /// The time at which the new token expires, in milliseconds since 1970. `None` if it never does.
        expires: Option<u64>,
    },
    /// The reply to `ping`.
    Pong {
        /// The request's ID.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
    },
    /// The users who came and left since the last such frame.
    Presence {
        /// The room.
        room: &'a RoomId,
        /// The number of users present.
        count: u64,
        /// The users who came; empty above `limits.presence_list`.
        joined: &'a [User],
        /// The users who left; empty above `limits.presence_list`.
        left: &'a [User],
    },
    /// A user starts or stops typing.
    Typing {
        /// The room.
        room: &'a RoomId,
        /// The user.
        user: &'a User,
        /// `true` if the user starts, `false` if the user stops.
        on: bool,
    },
    /// A user has read up to here.
    Read {
        /// The room.
        room: &'a RoomId,
        /// The user.
        user: &'a User,
        /// The last event read.
        offset: u64,
    },
    /// The client reads too slowly. Live frames stop, and these offsets follow from the stream.
    Lagged {
        /// The room.
        room: &'a RoomId,
        /// The first event not sent live.
        from: u64,
        /// The newest event at this time.
        to: u64,
    },
    /// The room's stream has a new epoch. The client drops what it had.
    Reset {
        /// The room.
        room: &'a RoomId,
        /// The new epoch.
        epoch: &'a Epoch,
        /// The newest offset in it.
        offset: u64,
    },
    /// The client is asked to move to another node.
    Reconnect {
        /// The pause before the client reconnects, in milliseconds.
        after_ms: u64,
        /// The text for people.
        reason: &'a str,
    },
    /// A command failed.
    Error {
        /// The request's ID.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
        /// The error's code.
        code: ErrorCode,
        /// The text for people.
        message: &'a str,
        /// The pause before another try, in milliseconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Position;

    #[test]
    fn events_are_spliced_in_as_they_are() {
        let (room, epoch) = (RoomId::new("lobby").unwrap(), Epoch::new("e1").unwrap());
        let event = |offset| Envelope {
            position: Position {
                epoch: epoch.clone(),
                offset,
            },
            message: MessageId::generate(),
            previous: None,
            frame: Frame::from_json(format!(r#"{{"offset":{offset}}}"#).into()).unwrap(),
        };
        let history = ServerFrame::History {
            id: None,
            room: &room,
            more: true,
        };
        let frame = Frame::encode_with_events(&history, &[event(1), event(2)]);
        assert_eq!(
            frame.as_str(),
            r#"{"type":"history","room":"lobby","more":true,"events":[{"offset":1},{"offset":2}]}"#
        );
        let empty = Frame::encode_with_events(&history, &[]);
        assert!(empty.as_str().ends_with(r#""events":[]}"#));
    }

    #[test]
    fn a_reply_repeats_the_id_and_an_error_its_code() {
        let id = RequestId::Text("x".to_owned());
        let error = ServerFrame::Error {
            id: Some(&id),
            code: ErrorCode::RateLimited,
            message: "slow down",
            retry_after_ms: Some(500),
        };
        assert_eq!(
            Frame::encode(&error).as_str(),
            r#"{"type":"error","id":"x","code":"rate_limited","message":"slow down","retry_after_ms":500}"#
        );
    }
}
