//! What happened in a room: durable events, from draft to numbered envelope.
//!
//! An event is encoded once, by the node that publishes it, as the frame that clients get. Only
//! the broker knows its place, so a draft's JSON is left open and [`seal`] closes it with
//! `ts`, `epoch` and `offset`. The publish script of the Redis broker does the same in Lua.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::command::Body;
use crate::{Epoch, Frame, MessageId, Nonce, Position, RoomId, User, UserId};

/// An event that has no place yet.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The event's own id.
    pub message: MessageId,
    /// Whose nonces `nonce` belongs to.
    pub from: UserId,
    /// What makes a retry safe. A node makes one up where the client gave none.
    pub nonce: Nonce,
    /// The frame's JSON object up to, and without, `,"ts":…}`.
    pub open: Bytes,
}

#[derive(Serialize)]
struct OpenMessage<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    room: &'a RoomId,
    message: &'a MessageId,
    from: &'a User,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a Nonce>,
    body: &'a RawValue,
}

impl Draft {
    /// A new message. Without a client's `nonce` the message id serves as one, so that the
    /// node's own retries towards the broker stay safe; it is not shown to clients.
    #[must_use]
    pub fn message(room: &RoomId, from: &User, nonce: Option<Nonce>, body: &Body) -> Self {
        let message = MessageId::generate();
        let raw: &RawValue =
            serde_json::from_str(body.as_str()).expect("a body is valid JSON by construction");
        let mut open = serde_json::to_vec(&OpenMessage {
            kind: "message",
            room,
            message: &message,
            from,
            nonce: nonce.as_ref(),
            body: raw,
        })
        .expect("strings and valid JSON always serialize");
        open.pop();
        let nonce = nonce.unwrap_or_else(|| {
            Nonce::new(message.as_str()).expect("a message id is a valid nonce")
        });
        Self {
            message,
            from: from.id.clone(),
            nonce,
            open: open.into(),
        }
    }
}

/// Closes a draft's JSON. `ts` is in milliseconds since 1970, by the broker's clock.
#[must_use]
pub fn seal(open: &[u8], ts: u64, position: &Position) -> Frame {
    let Position { epoch, offset } = position;
    let tail = format!(r#","ts":{ts},"epoch":"{epoch}","offset":{offset}}}"#);
    let mut json = Vec::with_capacity(open.len() + tail.len());
    json.extend_from_slice(open);
    json.extend_from_slice(tail.as_bytes());
    Frame::from_json(json.into()).expect("a draft is UTF-8")
}

/// A numbered event on its way to the members of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Its place in the room.
    pub position: Position,
    /// Its id: two events with one position but two ids prove a fork of the stream.
    pub message: MessageId,
    /// The id of the event before it, where that is known: live events form a chain, which shows
    /// a fork that offsets do not.
    pub previous: Option<MessageId>,
    /// What native clients get, byte for byte.
    pub frame: Frame,
}

/// What a node needs to read back from a sealed frame, on rare paths only.
#[derive(Debug, Deserialize)]
pub struct EventHead<'a> {
    /// The event's id.
    pub message: MessageId,
    /// Milliseconds since 1970.
    pub ts: u64,
    /// The life of the stream that it was numbered in.
    pub epoch: Epoch,
    /// Its number.
    pub offset: u64,
    /// Compact JSON, comparable byte for byte.
    #[serde(borrow, default)]
    pub body: Option<&'a RawValue>,
}

impl<'a> EventHead<'a> {
    /// Reads the head of a sealed frame, or of a draft closed by hand.
    ///
    /// # Errors
    /// When `json` is no sealed event; what the broker stored always is.
    pub fn parse(json: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_message_is_the_frame_of_the_contract() {
        let room = RoomId::new("lobby").unwrap();
        let from = User {
            id: UserId::new("alice").unwrap(),
            name: "Al \"x\"".to_owned(),
        };
        let body = Body::from(&serde_json::json!({"text": "hi"}));
        let draft = Draft::message(&room, &from, Nonce::new("c-81").ok(), &body);
        let position = Position {
            epoch: Epoch::new("k3f9").unwrap(),
            offset: 58,
        };
        let frame = seal(&draft.open, 1_763_800_000_000, &position);
        let value: serde_json::Value = serde_json::from_str(frame.as_str()).unwrap();
        assert_eq!(
            value,
            serde_json::json!({
                "type": "message", "room": "lobby", "message": draft.message.as_str(),
                "from": {"id": "alice", "name": "Al \"x\""}, "ts": 1_763_800_000_000_u64,
                "nonce": "c-81", "body": {"text": "hi"}, "epoch": "k3f9", "offset": 58
            })
        );
        let head = EventHead::parse(frame.as_str()).unwrap();
        assert_eq!((head.offset, head.ts), (58, 1_763_800_000_000));
        assert_eq!(head.body.unwrap().get(), r#"{"text":"hi"}"#);
    }

    #[test]
    fn a_made_up_nonce_is_not_shown() {
        let room = RoomId::new("lobby").unwrap();
        let from = User {
            id: UserId::new("alice").unwrap(),
            name: String::new(),
        };
        let draft = Draft::message(&room, &from, None, &Body::from(&serde_json::json!(1)));
        assert_eq!(draft.nonce.as_str(), draft.message.as_str());
        assert!(!String::from_utf8_lossy(&draft.open).contains("nonce"));
    }
}
