//! The frames for clients: replies and pushes, encoded once and shared.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::command::RequestId;
use crate::{ConnectionId, Envelope, Epoch, ErrorCode, MessageId, NodeId, RoomId, User};

/// One encoded JSON object, shared by all that it goes to.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame(Bytes);

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

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

    /// Takes bytes that are JSON already; `None` when they are no UTF-8.
    #[must_use]
    pub fn from_json(json: Bytes) -> Option<Self> {
        std::str::from_utf8(&json).is_ok().then_some(Self(json))
    }

    /// Takes text for a door whose frames are more than JSON.
    #[must_use]
    pub fn from_text(text: String) -> Self {
        Self(text.into())
    }

    /// The JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a frame is made of UTF-8 only")
    }

    /// The JSON text's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The shared bytes themselves; they are UTF-8.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// The bytes that the frame counts for in an outbox.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never true: the shortest frame is `{}`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The limits of a client, which `welcome` names so that it need not guess.
#[derive(Debug, Clone, Serialize)]
pub struct WelcomeLimits {
    /// Bytes of one frame.
    pub frame_bytes: u64,
    /// Bytes of one body.
    pub body_bytes: u64,
    /// Rooms that one connection may join.
    pub rooms_per_connection: u32,
    /// Sends a second, kept up.
    pub sends_per_second: u32,
    /// Sends at once.
    pub sends_burst: u32,
    /// Events in one page.
    pub resume_page: usize,
}

/// One line of a `rooms` reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RoomSummary {
    /// Which room.
    pub room: RoomId,
    /// Users present.
    pub members: u64,
    /// The newest event's number; 0 when there is none.
    pub offset: u64,
}

/// One line of a `rooms` reply: the room, and for a room of the user's own what is new in it.
#[derive(Debug, Clone, Serialize)]
pub struct RoomEntry {
    /// Where the room stands.
    #[serde(flatten)]
    pub summary: RoomSummary,
    /// `None`: the user has nothing to do with it so far.
    #[serde(flatten)]
    pub mine: Option<MyRoom>,
}

/// A user's state in a room.
#[derive(Debug, Clone, Serialize)]
pub struct MyRoom {
    /// Always true.
    pub mine: bool,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Only its members may join.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
    /// The newest message as it stands now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Frame>,
    /// Up to where the user has read.
    pub read: u64,
    /// Messages of others after that, at most [`MyRoom::MOST`].
    pub unread: u64,
    /// Those among them that name the user, at most [`MyRoom::MOST`].
    pub mentions: u64,
    /// Somebody has invited the user, who has not joined the room yet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub invited: bool,
}

impl MyRoom {
    /// Counts end here: it means "more than 99".
    pub const MOST: u64 = 100;
}

impl Serialize for Frame {
    /// As the JSON that it is.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue =
            serde_json::from_str(self.as_str()).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// Every frame the server sends that is no durable event.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame<'a> {
    /// The first frame of a connection.
    Welcome {
        /// This connection.
        connection: &'a ConnectionId,
        /// The node that holds it.
        node: &'a NodeId,
        /// The user that the server takes the client for.
        user: &'a User,
        /// How often the server pings, in milliseconds.
        ping_ms: u64,
        /// The limits of the client.
        limits: WelcomeLimits,
    },
    /// The reply to `join`; encode it with its events.
    Joined {
        /// The request's id.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
        /// Which room.
        room: &'a RoomId,
        /// The stream's life.
        epoch: &'a Epoch,
        /// The room's newest offset.
        offset: u64,
        /// `false`: what `since` asked for could not be proven complete.
        recovered: bool,
        /// Users present.
        members: u64,
        /// `r`, `w` or `rw`, and `m` for a moderator.
        rights: &'a str,
    },
    /// The reply to `leave`.
    Left {
        /// The request's id.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
        /// Which room.
        room: &'a RoomId,
    },
    /// Said by an operator to everybody, or to a room.
    Announcement {
        /// Its members only.
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<&'a RoomId>,
        /// For people.
        text: &'a str,
        /// Milliseconds since 1970.
        ts: u64,
    },
    /// The reply to `send`: stored.
    Sent {
        /// The request's id.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
        /// Which room.
        room: &'a RoomId,
        /// The stream's life.
        epoch: &'a Epoch,
        /// The event's number.
        offset: u64,
        /// The event's id; absent for a duplicate whose event has left the stream.
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<&'a MessageId>,
        /// Milliseconds since 1970; absent like `message`.
        #[serde(skip_serializing_if = "Option::is_none")]
        ts: Option<u64>,
        /// The nonce was known: this is the first send's place.
        duplicate: bool,
        /// How safe it is.
        ack: &'static str,
    },
    /// The reply to `history`; encode it with its events.
    History {
        /// The request's id.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
        /// Which room.
        room: &'a RoomId,
        /// There are older events.
        more: bool,
    },
    /// The reply to `members`.
    Members {
        /// The request's id.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
        /// Which room.
        room: &'a RoomId,
        /// Users present.
        count: u64,
        /// The users; empty above `limits.presence_list`.
        members: &'a [User],
    },
    /// The reply to `rooms`.
    Rooms {
        /// The request's id.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
        /// The rooms.
        rooms: &'a [RoomEntry],
    },
    /// The reply to `refresh`.
    Refreshed {
        /// The request's id.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
        /// When the new token expires, in milliseconds since 1970; `None`: never.
        expires: Option<u64>,
    },
    /// The reply to `ping`.
    Pong {
        /// The request's id.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
    },
    /// The users who came and left since the last such frame.
    Presence {
        /// Which room.
        room: &'a RoomId,
        /// Users present.
        count: u64,
        /// The users who came; empty above `limits.presence_list`.
        joined: &'a [User],
        /// The users who left; empty above `limits.presence_list`.
        left: &'a [User],
    },
    /// Someone writes.
    Typing {
        /// Which room.
        room: &'a RoomId,
        /// The user.
        user: &'a User,
        /// `false`: stopped.
        on: bool,
    },
    /// A user has read up to here.
    Read {
        /// Which room.
        room: &'a RoomId,
        /// The user.
        user: &'a User,
        /// The last event read.
        offset: u64,
    },
    /// This client reads too slowly: live frames stop and these offsets follow from the stream.
    Lagged {
        /// Which room.
        room: &'a RoomId,
        /// The first event not sent live.
        from: u64,
        /// The newest one, now.
        to: u64,
    },
    /// The room's stream has begun a new life: forget what you had.
    Reset {
        /// Which room.
        room: &'a RoomId,
        /// The new life.
        epoch: &'a Epoch,
        /// Its newest offset.
        offset: u64,
    },
    /// Please move to another node.
    Reconnect {
        /// Wait so long first.
        after_ms: u64,
        /// For people.
        reason: &'a str,
    },
    /// A command failed.
    Error {
        /// The request's id.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RequestId>,
        /// Which error.
        code: ErrorCode,
        /// For people.
        message: &'a str,
        /// When to try again.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MessageId, Position};

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
