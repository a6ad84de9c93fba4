//! The body of a post: one event of a room as JSON, with the same ID at every try.

use std::fmt::Write;

use bytes::Bytes;
use hubbub_broker::{Attended, Item};
use hubbub_protocol::{Epoch, RoomId, User};
use serde::Serialize;

/// One event, ready to be signed and sent.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    /// The event's ID, the same at every try and from every node.
    pub(crate) id: String,
    pub(crate) event: &'static str,
    pub(crate) body: Bytes,
}

/// The fields of all posts.
#[derive(Serialize)]
struct Fields<'a> {
    #[serde(rename = "type")]
    event: &'static str,
    room: &'a RoomId,
    /// The place in the room: `EPOCH:OFFSET`, followed by `.NUMBER` for a join or leave.
    sequence: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a User>,
}

impl Post {
    pub(crate) fn new(room: &RoomId, item: &Item) -> Self {
        let sequence = match item {
            Item::Event(event) => place(Some(&event.position.epoch), event.position.offset),
            Item::Attended(attended) => {
                let mut place = place(attended.epoch.as_ref(), attended.offset);
                write!(place, ".{}", attended.step).expect("writing to a string never fails");
                place
            }
        };
        let attended = match item {
            Item::Event(_) => None,
            Item::Attended(Attended { ts, user, .. }) => Some((*ts, user)),
        };
        let event = item.event().as_str();
        let fields = Fields {
            event,
            room,
            sequence: &sequence,
            ts: attended.map(|(ts, _)| ts),
            user: attended.map(|(_, user)| user),
        };
        let mut body = serde_json::to_vec(&fields).expect("plain structs always serialize");
        if let Item::Event(event) = item {
            // The event is the frame that clients get, byte for byte.
            body.pop();
            body.extend_from_slice(b",\"event\":");
            body.extend_from_slice(event.frame.as_bytes());
            body.push(b'}');
        }
        Self {
            id: format!("{room}:{sequence}"),
            event,
            body: body.into(),
        }
    }
}

fn place(epoch: Option<&Epoch>, offset: u64) -> String {
    format!("{}:{offset}", epoch.map_or("-", Epoch::as_str))
}

#[cfg(test)]
mod tests {
    use hubbub_broker::WebhookEvent;
    use hubbub_protocol::{Envelope, Frame, Position, UserId};

    use super::*;

    #[test]
    fn an_event_is_posted_as_clients_receive_it() {
        let room = RoomId::new("lobby").unwrap();
        let position = Position {
            epoch: Epoch::new("k3f9").unwrap(),
            offset: 58,
        };
        let event = Envelope::vanished(&room, position);
        let post = Post::new(&room, &Item::Event(event.clone()));
        assert_eq!(post.id, "lobby:k3f9:58");
        let body: serde_json::Value = serde_json::from_slice(&post.body).unwrap();
        let frame: serde_json::Value = serde_json::from_str(event.frame.as_str()).unwrap();
        assert_eq!(
            body,
            serde_json::json!({ "type": "message", "room": "lobby", "sequence": "k3f9:58", "event": frame })
        );
    }

    #[test]
    fn a_body_is_posted_as_it_was_sent() {
        let room = RoomId::new("lobby").unwrap();
        let position = Position {
            epoch: Epoch::new("k3f9").unwrap(),
            offset: 58,
        };
        let frame = r#"{"type":"message","body":{"n":12345678901234567890123,"z":-0}}"#;
        let event = Envelope {
            frame: Frame::from_text(frame.to_owned()),
            ..Envelope::vanished(&room, position)
        };
        let post = Post::new(&room, &Item::Event(event));
        let body = String::from_utf8(post.body.to_vec()).unwrap();
        assert!(body.ends_with(&format!(r#","event":{frame}}}"#)), "{body}");
    }

    #[test]
    fn a_join_names_the_user() {
        let room = RoomId::new("lobby").unwrap();
        let attended = Attended {
            step: 3,
            offset: 58,
            epoch: Epoch::new("k3f9").ok(),
            ts: 7,
            event: WebhookEvent::Joined,
            user: User {
                id: UserId::new("bob").unwrap(),
                name: "Bob".into(),
            },
        };
        let post = Post::new(&room, &Item::Attended(attended));
        assert_eq!(post.id, "lobby:k3f9:58.3");
        let text = r#"{"type":"joined","room":"lobby","sequence":"k3f9:58.3","ts":7,"user":{"id":"bob","name":"Bob"}}"#;
        assert_eq!(post.body, text);
    }
}
