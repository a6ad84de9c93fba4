//! What happened in a room: durable events, from draft to numbered envelope.
//!
//! An event is encoded once, by the node that publishes it, as the frame that clients get. Only
//! the broker knows its place, so a draft's JSON is left open and [`seal`] closes it with
//! `ts`, `epoch` and `offset`. The publish script of the Redis broker does the same in Lua.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::command::Body;
use crate::mention::mentions;
use crate::{Epoch, Frame, MessageId, Nonce, Position, ReactionKey, RoomId, User, UserId};

/// What kind of event it is: its frame's `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// A new message.
    Message,
    /// Another body for a message.
    Edited,
    /// A message has lost its body.
    Deleted,
    /// A reaction to a message, or its end.
    Reacted,
}

/// An event that has no place yet.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The event's own id.
    pub message: MessageId,
    /// Whose nonces `nonce` belongs to.
    pub from: UserId,
    /// What makes a retry safe. A node makes one up where the client gave none.
    pub nonce: Nonce,
    /// Which message it changes; `None`: it is a new one.
    pub change: Option<Change>,
    /// The frame's JSON object up to, and without, `,"ts":…}`.
    pub open: Bytes,
}

/// What an event does to an earlier one, for whoever keeps both.
#[derive(Debug, Clone)]
pub struct Change {
    /// The message's offset.
    pub target: u64,
    /// How.
    pub kind: ChangeKind,
}

/// The ways to change a message.
#[derive(Debug, Clone)]
pub enum ChangeKind {
    /// Another body.
    Edit {
        /// What takes the place of this event once its message is deleted, left open like a draft.
        open_tombstone: Bytes,
    },
    /// No body.
    Delete {
        /// What takes the message's place.
        tombstone: Frame,
    },
    /// A reaction.
    React,
    /// None any more, since the message is deleted already: only a retry of what was stored before
    /// is answered with its place.
    TooLate,
}

/// The fields of all kinds of events, in the order in which they are written.
#[derive(Serialize)]
struct Open<'a> {
    #[serde(rename = "type")]
    kind: EventKind,
    room: &'a RoomId,
    message: &'a MessageId,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a User>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a User>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a Nonce>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a ReactionKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on: Option<bool>,
    #[serde(skip_serializing_if = "<[UserId]>::is_empty")]
    mentions: &'a [UserId],
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
}

impl<'a> Open<'a> {
    fn new(kind: EventKind, room: &'a RoomId, message: &'a MessageId) -> Self {
        Self {
            kind,
            room,
            message,
            target: None,
            from: None,
            by: None,
            nonce: None,
            key: None,
            on: None,
            mentions: &[],
            body: None,
            deleted: false,
        }
    }

    /// The JSON object without its end.
    fn encode(&self) -> Bytes {
        let mut open = serde_json::to_vec(self).expect("strings and valid JSON always serialize");
        open.pop();
        open.into()
    }
}

fn raw(body: &Body) -> &RawValue {
    serde_json::from_str(body.as_str()).expect("a body is valid JSON by construction")
}

/// Without a client's `nonce` the message id serves as one, so that the node's own retries towards
/// the broker stay safe; it is not shown to clients.
fn nonce_or_id(nonce: Option<Nonce>, message: &MessageId) -> Nonce {
    nonce.unwrap_or_else(|| Nonce::new(message.as_str()).expect("a message id is a valid nonce"))
}

impl Draft {
    /// A new message.
    #[must_use]
    pub fn message(room: &RoomId, from: &User, nonce: Option<Nonce>, body: &Body) -> Self {
        let message = MessageId::generate();
        let open = Open {
            from: Some(from),
            nonce: nonce.as_ref(),
            mentions: &mentions(body),
            body: Some(raw(body)),
            ..Open::new(EventKind::Message, room, &message)
        }
        .encode();
        Self {
            nonce: nonce_or_id(nonce, &message),
            message,
            from: from.id.clone(),
            change: None,
            open,
        }
    }

    /// Another body for the message at `target`.
    #[must_use]
    pub fn edit(room: &RoomId, by: &User, nonce: Option<Nonce>, target: u64, body: &Body) -> Self {
        let message = MessageId::generate();
        let tombstone = Open {
            target: Some(target),
            by: Some(by),
            deleted: true,
            ..Open::new(EventKind::Edited, room, &message)
        };
        let kind = ChangeKind::Edit {
            open_tombstone: tombstone.encode(),
        };
        let open = Open {
            nonce: nonce.as_ref(),
            mentions: &mentions(body),
            body: Some(raw(body)),
            deleted: false,
            ..tombstone
        };
        let open = open.encode();
        Self::change(by, nonce, message, Change { target, kind }, open)
    }

    /// The end of the message at `target`, whose event is `original`.
    #[must_use]
    pub fn delete(
        room: &RoomId,
        by: &User,
        nonce: Option<Nonce>,
        target: u64,
        original: &StoredEvent<'_>,
    ) -> Self {
        let message = MessageId::generate();
        let open = Open {
            target: Some(target),
            by: Some(by),
            nonce: nonce.as_ref(),
            ..Open::new(EventKind::Deleted, room, &message)
        };
        let open = open.encode();
        let kind = ChangeKind::Delete {
            tombstone: original.tombstone(room),
        };
        Self::change(by, nonce, message, Change { target, kind }, open)
    }

    /// A reaction to the message at `target`, or its end.
    #[must_use]
    pub fn react(
        room: &RoomId,
        by: &User,
        nonce: Option<Nonce>,
        target: u64,
        key: &ReactionKey,
        on: bool,
    ) -> Self {
        let message = MessageId::generate();
        let open = Open {
            target: Some(target),
            by: Some(by),
            nonce: nonce.as_ref(),
            key: Some(key),
            on: Some(on),
            ..Open::new(EventKind::Reacted, room, &message)
        };
        let open = open.encode();
        let kind = ChangeKind::React;
        Self::change(by, nonce, message, Change { target, kind }, open)
    }

    /// The same for a message that is deleted already.
    #[must_use]
    pub fn too_late(mut self) -> Self {
        if let Some(change) = &mut self.change {
            change.kind = ChangeKind::TooLate;
        }
        self
    }

    fn change(
        by: &User,
        nonce: Option<Nonce>,
        message: MessageId,
        change: Change,
        open: Bytes,
    ) -> Self {
        Self {
            nonce: nonce_or_id(nonce, &message),
            message,
            from: by.id.clone(),
            change: Some(change),
            open,
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

impl Envelope {
    /// An event of which only the place is left: its message was deleted.
    #[must_use]
    pub fn vanished(room: &RoomId, position: Position) -> Self {
        let message = MessageId::unknown();
        let open = Open {
            deleted: true,
            ..Open::new(EventKind::Message, room, &message)
        };
        let frame = seal(&open.encode(), 0, &position);
        Self {
            position,
            message,
            previous: None,
            frame,
        }
    }

    /// What kind of event it is, without reading it: the frame's first field tells.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        let kind = self.frame.as_str().strip_prefix(r#"{"type":""#);
        match kind.map(|kind| kind.as_bytes().first().copied()) {
            Some(Some(b'e')) => EventKind::Edited,
            Some(Some(b'd')) => EventKind::Deleted,
            Some(Some(b'r')) => EventKind::Reacted,
            _ => EventKind::Message,
        }
    }

    /// Reads the frame.
    ///
    /// # Errors
    /// When it is no sealed event; what the broker stored always is.
    pub fn read(&self) -> Result<StoredEvent<'_>, serde_json::Error> {
        StoredEvent::parse(self.frame.as_str())
    }

    /// Takes the body out of it, once its message is deleted.
    ///
    /// # Errors
    /// When the frame is no sealed event.
    pub fn bury(&mut self, room: &RoomId) -> Result<(), serde_json::Error> {
        self.frame = self.read()?.tombstone(room);
        Ok(())
    }
}

/// A sealed event, read back from its frame: on rare paths, and for the archive.
#[derive(Debug, Clone, Deserialize)]
pub struct StoredEvent<'a> {
    /// What kind.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// The event's id.
    pub message: MessageId,
    /// Milliseconds since 1970.
    #[serde(default)]
    pub ts: u64,
    /// The life of the stream that it was numbered in.
    pub epoch: Epoch,
    /// Its number.
    pub offset: u64,
    /// Who; `None` only where nothing but the place is left.
    #[serde(alias = "by")]
    pub from: Option<User>,
    /// The sender's own name for it.
    #[serde(default)]
    pub nonce: Option<Nonce>,
    /// Which message it changes.
    #[serde(default)]
    pub target: Option<u64>,
    /// Compact JSON, comparable byte for byte.
    #[serde(borrow, default)]
    pub body: Option<&'a RawValue>,
    /// Its body is gone, because its message was deleted.
    #[serde(default)]
    pub deleted: bool,
    /// Which reaction.
    #[serde(default)]
    pub key: Option<ReactionKey>,
    /// Whether the reaction begins.
    #[serde(default)]
    pub on: Option<bool>,
    /// Users whom the text names.
    #[serde(default)]
    pub mentions: Vec<UserId>,
}

impl<'a> StoredEvent<'a> {
    /// Reads a sealed frame.
    ///
    /// # Errors
    /// When `json` is no sealed event; what the broker stored always is.
    pub fn parse(json: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// What can be searched: the body's `text`, or the body where it is a text itself.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        crate::mention::text_of(self.body?.get())
    }

    /// What takes its place once its message is deleted: the same without body and nonce.
    #[must_use]
    pub fn tombstone(&self, room: &RoomId) -> Frame {
        let from = self.from.as_ref();
        let is_message = self.kind == EventKind::Message;
        let open = Open {
            target: self.target,
            from: from.filter(|_| is_message),
            by: from.filter(|_| !is_message),
            deleted: true,
            ..Open::new(self.kind, room, &self.message)
        };
        let position = Position {
            epoch: self.epoch.clone(),
            offset: self.offset,
        };
        seal(&open.encode(), self.ts, &position)
    }

    /// Whether `draft` says the same as this. What is deleted says nothing any more.
    #[must_use]
    pub fn says(&self, draft: &Draft) -> bool {
        let place = Position {
            epoch: self.epoch.clone(),
            offset: self.offset,
        };
        let sealed = seal(&draft.open, 0, &place);
        let Ok(other) = StoredEvent::parse(sealed.as_str()) else {
            return false;
        };
        let body = |event: &StoredEvent<'_>| event.body.map(|body| body.get().to_owned());
        self.kind == other.kind
            && self.target == other.target
            && (self.deleted || body(self) == body(&other))
            && self.key == other.key
            && self.on == other.on
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
        let head = StoredEvent::parse(frame.as_str()).unwrap();
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

    fn stored(draft: &Draft) -> Frame {
        let position = Position {
            epoch: Epoch::new("e").unwrap(),
            offset: 7,
        };
        seal(&draft.open, 5, &position)
    }

    #[test]
    fn a_tombstone_keeps_the_place_and_nothing_that_was_said() {
        let room = RoomId::new("lobby").unwrap();
        let from = User {
            id: UserId::new("alice").unwrap(),
            name: "Alice".to_owned(),
        };
        let body = Body::from(&serde_json::json!({"text": "canary @bob"}));
        let nonce = || Nonce::new("canary-nonce").ok();
        let message = stored(&Draft::message(&room, &from, nonce(), &body));
        let event = StoredEvent::parse(message.as_str()).unwrap();
        assert_eq!(event.mentions, [UserId::new("bob").unwrap()]);
        assert_eq!(event.text().as_deref(), Some("canary @bob"));
        let tombstone = event.tombstone(&room);
        let expected = serde_json::json!({
            "type": "message", "room": "lobby", "message": event.message.as_str(),
            "from": {"id": "alice", "name": "Alice"}, "deleted": true,
            "ts": 5, "epoch": "e", "offset": 7
        });
        let value: serde_json::Value = serde_json::from_str(tombstone.as_str()).unwrap();
        assert_eq!(value, expected);

        let edit = Draft::edit(&room, &from, nonce(), 3, &body);
        let frame = stored(&edit);
        let event = StoredEvent::parse(frame.as_str()).unwrap();
        let Some(Change {
            target: 3,
            kind: ChangeKind::Edit { open_tombstone },
        }) = &edit.change
        else {
            panic!("{edit:?}")
        };
        let position = Position {
            epoch: event.epoch.clone(),
            offset: 7,
        };
        assert_eq!(event.tombstone(&room), seal(open_tombstone, 5, &position));
        assert!(!event.tombstone(&room).as_str().contains("canary"));
    }

    #[test]
    fn a_retry_is_told_from_another_event() {
        let room = RoomId::new("lobby").unwrap();
        let from = User {
            id: UserId::new("alice").unwrap(),
            name: String::new(),
        };
        let key = ReactionKey::new("👍").unwrap();
        let drafts = [
            Draft::message(&room, &from, None, &Body::from(&serde_json::json!("a"))),
            Draft::message(&room, &from, None, &Body::from(&serde_json::json!("b"))),
            Draft::edit(&room, &from, None, 3, &Body::from(&serde_json::json!("a"))),
            Draft::edit(&room, &from, None, 4, &Body::from(&serde_json::json!("a"))),
            Draft::react(&room, &from, None, 3, &key, true),
            Draft::react(&room, &from, None, 3, &key, false),
        ];
        for (index, one) in drafts.iter().enumerate() {
            let frame = stored(one);
            let event = StoredEvent::parse(frame.as_str()).unwrap();
            for (other_index, other) in drafts.iter().enumerate() {
                assert_eq!(event.says(other), index == other_index);
            }
        }
    }

    #[test]
    fn the_kind_can_be_seen_without_reading() {
        let room = RoomId::new("type").unwrap();
        let from = User {
            id: UserId::new("deleted").unwrap(),
            name: String::new(),
        };
        let body = Body::from(&serde_json::json!(1));
        let envelope = |draft: &Draft| Envelope {
            position: Position {
                epoch: Epoch::new("e").unwrap(),
                offset: 7,
            },
            message: draft.message.clone(),
            previous: None,
            frame: stored(draft),
        };
        let message = envelope(&Draft::message(&room, &from, None, &body));
        let edit = envelope(&Draft::edit(&room, &from, None, 1, &body));
        let event = message.read().unwrap();
        let delete = envelope(&Draft::delete(&room, &from, None, 7, &event));
        let key = ReactionKey::new("x").unwrap();
        let react = envelope(&Draft::react(&room, &from, None, 1, &key, true));
        for event in [&message, &edit, &delete, &react] {
            assert_eq!(event.kind(), event.read().unwrap().kind);
        }
        let vanished = Envelope::vanished(&room, message.position.clone());
        assert_eq!(vanished.kind(), EventKind::Message);
        assert!(vanished.read().unwrap().deleted);
    }
}
