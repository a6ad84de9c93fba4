//! Drafts, sealed events and tombstones against each other.

use super::*;
use crate::{Body, Epoch, Frame, Nonce, Position, ReactionKey, RoomId, User, UserId};

fn user(id: &str, name: &str) -> User {
    User {
        id: UserId::new(id).unwrap(),
        name: name.into(),
    }
}

fn place(epoch: &str, offset: u64) -> Position {
    Position {
        epoch: Epoch::new(epoch).unwrap(),
        offset,
    }
}

#[test]
fn a_sealed_message_is_the_frame_of_the_contract() {
    let room = RoomId::new("lobby").unwrap();
    let from = user("alice", "Al \"x\"");
    let body = Body::from(&serde_json::json!({"text": "hi"}));
    let draft = Draft::message(&room, &from, Nonce::new("c-81").ok(), &body);
    let position = place("k3f9", 58);
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
    let from = user("alice", "");
    let draft = Draft::message(&room, &from, None, &Body::from(&serde_json::json!(1)));
    assert_eq!(draft.nonce.as_str(), draft.message.as_str());
    assert!(!String::from_utf8_lossy(&draft.open).contains("nonce"));
}

fn stored(draft: &Draft) -> Frame {
    seal(&draft.open, 5, &place("e", 7))
}

#[test]
fn a_tombstone_keeps_the_place_and_nothing_that_was_said() {
    let room = RoomId::new("lobby").unwrap();
    let from = user("alice", "Alice");
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

    let edit = Draft::edit(&room, &from, nonce(), 3, &event, &body);
    let frame = stored(&edit);
    let event = StoredEvent::parse(frame.as_str()).unwrap();
    let Some(Change {
        target: 3,
        epoch: None,
        kind: ChangeKind::Edit { open_tombstone, .. },
    }) = &edit.change
    else {
        panic!("{edit:?}")
    };
    let sealed = seal(open_tombstone, 5, &place("e", 7));
    assert_eq!(event.tombstone(&room), sealed);
    assert!(!event.tombstone(&room).as_str().contains("canary"));
}

/// The broker and whoever has both events make the same bytes of them.
#[test]
fn an_edited_message_has_the_newest_body_in_its_own_place() {
    let room = RoomId::new("lobby").unwrap();
    let (alice, bob) = (user("alice", "Alice"), user("bob", "Bob"));
    let body = |text: &str| Body::from(&serde_json::json!({ "text": text }));
    let nonce = Nonce::new("c-81").ok();
    let message = Draft::message(&room, &alice, nonce, &body("canary @bob"));
    let mut envelope = Envelope {
        position: place("e", 7),
        message: message.message.clone(),
        previous: None,
        frame: stored(&message),
    };
    let sealed_edit = |text: &str, offset: u64| {
        let event = envelope.read().unwrap();
        let draft = Draft::edit(&room, &bob, None, 7, &event, &body(text));
        let frame = seal(&draft.open, offset, &place("e", offset));
        let Some(Change {
            kind: ChangeKind::Edit { replacement, .. },
            ..
        }) = draft.change
        else {
            panic!("no edit")
        };
        (frame, replacement.seal(offset, offset))
    };
    let (first, _) = sealed_edit("one @carol", 8);
    let (second, replaced) = sealed_edit("two", 9);
    envelope
        .take_edit(&room, &StoredEvent::parse(second.as_str()).unwrap())
        .unwrap();
    assert_eq!(envelope.frame, replaced);
    // An older edit that comes later changes nothing.
    envelope
        .take_edit(&room, &StoredEvent::parse(first.as_str()).unwrap())
        .unwrap();
    let expected = serde_json::json!({
        "type": "message", "room": "lobby", "message": envelope.message.as_str(),
        "from": {"id": "alice", "name": "Alice"}, "nonce": "c-81", "body": {"text": "two"},
        "edited": {"by": {"id": "bob", "name": "Bob"}, "ts": 9, "offset": 9},
        "ts": 5, "epoch": "e", "offset": 7
    });
    assert_eq!(envelope.frame.as_str(), expected.to_string());
    assert!(
        message.is_stored_as(&envelope.read().unwrap()),
        "the body of a tombstone is not compared"
    );
}

#[test]
fn a_retry_is_told_from_another_event() {
    let room = RoomId::new("lobby").unwrap();
    let from = user("alice", "");
    let key = ReactionKey::new("👍").unwrap();
    let body = |text: &str| Body::from(&serde_json::json!(text));
    let first = Draft::message(&room, &from, None, &body("a"));
    let frame = stored(&first);
    let original = StoredEvent::parse(frame.as_str()).unwrap();
    let drafts = [
        first.clone(),
        Draft::message(&room, &from, None, &body("b")),
        Draft::edit(&room, &from, None, 3, &original, &body("a")),
        Draft::edit(&room, &from, None, 4, &original, &body("a")),
        Draft::react(&room, &from, None, 3, &key, true),
        Draft::react(&room, &from, None, 3, &key, false),
    ];
    for (index, one) in drafts.iter().enumerate() {
        let frame = stored(one);
        let event = StoredEvent::parse(frame.as_str()).unwrap();
        for (other_index, other) in drafts.iter().enumerate() {
            assert_eq!(other.is_stored_as(&event), index == other_index);
        }
    }
}

#[test]
fn the_kind_can_be_seen_without_reading() {
    let room = RoomId::new("type").unwrap();
    let from = user("deleted", "");
    let body = Body::from(&serde_json::json!(1));
    let envelope = |draft: &Draft| Envelope {
        position: place("e", 7),
        message: draft.message.clone(),
        previous: None,
        frame: stored(draft),
    };
    let message = envelope(&Draft::message(&room, &from, None, &body));
    let event = message.read().unwrap();
    let edit = envelope(&Draft::edit(&room, &from, None, 1, &event, &body));
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
