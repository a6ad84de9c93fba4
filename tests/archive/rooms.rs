//! A user's rooms: unread counts, mentions, records, members, direct messages.

use hubbub_archive::{InboxEntry, NewRoom, ReadMark, RecordError, RoomChange};
use hubbub_protocol::{RoomId, UserId};
use serde_json::{Map, Value, json};

use crate::fixture::{Fixture, Script, id, room, user, value};

async fn mark(fixture: &Fixture, name: &str, at: &RoomId, offset: u64, is_join: bool) {
    let mark = ReadMark {
        user: id(name),
        room: at.clone(),
        offset,
        is_join,
    };
    fixture.archive.save_reads(&[mark]).await.unwrap();
}

async fn inbox(fixture: &Fixture, name: &str) -> Vec<InboxEntry> {
    fixture.archive.inbox(&id(name), 100).await.unwrap()
}

/// The offset read, the unread count and the mentions in a user's only room.
async fn counts(fixture: &Fixture, name: &str) -> (u64, u64, u64) {
    let [only] = inbox(fixture, name).await.try_into().unwrap();
    (only.read, only.unread, only.mentions)
}

pub(crate) async fn marks_only_go_forward(fixture: Fixture) {
    let mut lobby = Script::new("lobby");
    for number in 0..10 {
        lobby.say("alice", &format!("{number} @bob"));
    }
    lobby.store(&fixture.archive).await;
    assert_eq!(inbox(&fixture, "bob").await, []);
    mark(&fixture, "bob", &lobby.room, 4, true).await;
    assert_eq!(counts(&fixture, "bob").await, (4, 6, 6));
    mark(&fixture, "bob", &lobby.room, 9, true).await;
    assert_eq!(counts(&fixture, "bob").await, (4, 6, 6));
    mark(&fixture, "bob", &lobby.room, 7, false).await;
    mark(&fixture, "bob", &lobby.room, 6, false).await;
    assert_eq!(counts(&fixture, "bob").await, (7, 3, 3));
    // One batch with all kinds of marks, for a new user.
    let marks = [(3, true), (9, false), (8, false), (1, true)].map(|(offset, is_join)| ReadMark {
        user: id("carol"),
        room: lobby.room.clone(),
        offset,
        is_join,
    });
    fixture.archive.save_reads(&marks).await.unwrap();
    fixture.archive.save_reads(&[]).await.unwrap();
    assert_eq!(counts(&fixture, "carol").await, (9, 1, 0));
}

pub(crate) async fn only_messages_of_others_are_unread(fixture: Fixture) {
    let mut lobby = Script::new("lobby");
    lobby.say("alice", "hello @bob and @alice");
    lobby.say("bob", "my own @bob");
    lobby.say("alice", "gone soon @bob");
    lobby.say("alice", "not yet");
    lobby.react("alice", 1, "x", true);
    lobby.store(&fixture.archive).await;
    mark(&fixture, "bob", &lobby.room, 0, true).await;
    assert_eq!(counts(&fixture, "bob").await, (0, 3, 2));
    lobby.delete("alice", 3);
    lobby.edit("alice", 1, "nobody");
    lobby.edit("alice", 4, "@bob!");
    lobby.store(&fixture.archive).await;
    assert_eq!(counts(&fixture, "bob").await, (0, 2, 1));
    let [entry] = inbox(&fixture, "bob").await.try_into().unwrap();
    let last = value(&entry.last.unwrap());
    assert_eq!(last["body"], json!({"text": "@bob!"}));
    assert_eq!(last["edited"]["offset"], 8);
    assert_eq!((entry.top, entry.private), (8, false));
}

pub(crate) async fn counts_end_at_a_hundred(fixture: Fixture) {
    let mut lobby = Script::new("lobby");
    for _ in 0..150 {
        lobby.say("alice", "@bob");
    }
    lobby.react("bob", 150, "x", true);
    lobby.store(&fixture.archive).await;
    mark(&fixture, "bob", &lobby.room, 0, true).await;
    assert_eq!(counts(&fixture, "bob").await, (0, 100, 100));
    mark(&fixture, "bob", &lobby.room, 51, false).await;
    assert_eq!(counts(&fixture, "bob").await, (51, 99, 99));
    let [entry] = inbox(&fixture, "bob").await.try_into().unwrap();
    let last = value(&entry.last.unwrap());
    assert_eq!(
        last["reactions"],
        json!([{"key": "x", "count": 1, "users": ["bob"]}])
    );
}

pub(crate) async fn rooms_with_news_come_first(fixture: Fixture) {
    for name in ["a", "b", "c"] {
        let mut script = Script::new(name);
        script.say("alice", name);
        script.store(&fixture.archive).await;
        mark(&fixture, "bob", &script.room, 0, true).await;
    }
    mark(&fixture, "bob", &room("empty"), 0, true).await;
    let names = async |limit| {
        let rooms = fixture.archive.inbox(&id("bob"), limit).await.unwrap();
        rooms
            .iter()
            .map(|entry| entry.room.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(9).await, ["c", "b", "a", "empty"]);
    assert_eq!(names(2).await, ["c", "b"]);
}

pub(crate) async fn a_direct_message_is_listed_for_both(fixture: Fixture) {
    let mut direct = Script::new("dm:alice:bob");
    mark(&fixture, "alice", &direct.room, 0, true).await;
    direct.say("alice", "psst");
    direct.store(&fixture.archive).await;
    assert!(
        fixture
            .archive
            .incarnation(&direct.room)
            .await
            .unwrap()
            .unwrap()
            .private
    );
    assert_eq!(counts(&fixture, "alice").await, (0, 0, 0));
    assert_eq!(counts(&fixture, "bob").await, (0, 1, 0));
    assert_eq!(inbox(&fixture, "carol").await, []);
    for (name, is_member) in [("alice", true), ("bob", true), ("carol", false)] {
        let found = fixture
            .archive
            .is_member(&direct.room, &id(name))
            .await
            .unwrap();
        assert_eq!(found, is_member, "{name}");
    }
    // A direct message room cannot be taken over or left.
    let error = fixture
        .archive
        .create_room(&new("dm:alice:bob"))
        .await
        .unwrap_err();
    assert!(matches!(error, RecordError::Exists));
    assert!(
        !fixture
            .archive
            .remove_member(&direct.room, &id("bob"))
            .await
            .unwrap()
    );
    let error = fixture
        .archive
        .add_member(&direct.room, &id("eve"), &id("eve"))
        .await;
    assert!(matches!(error, Err(RecordError::NotFound)));
}

fn new(name: &str) -> NewRoom {
    NewRoom {
        room: room(name),
        title: None,
        topic: None,
        private: false,
        created_by: user("alice"),
        members: Vec::new(),
        settings: Map::new(),
    }
}

fn settings(value: Value) -> Map<String, Value> {
    serde_json::from_value(value).unwrap()
}

pub(crate) async fn a_record_is_made_read_and_changed(fixture: Fixture) {
    let archive = &fixture.archive;
    assert_eq!(archive.record(&room("team")).await.unwrap(), None);
    let made = archive
        .create_room(&NewRoom {
            title: Some("The 'team' \u{0} 👍".to_owned()),
            topic: Some(String::new()),
            settings: settings(json!({"b": 1, "a": [null, "\u{0}"]})),
            ..new("team")
        })
        .await
        .unwrap();
    assert_eq!(made.title.as_deref(), Some("The 'team' \u{fffd} 👍"));
    assert_eq!((&made.topic, made.private), (&None, false));
    assert_eq!(made.created_by, user("alice"));
    assert!(made.created > 1_600_000_000_000);
    assert_eq!(
        archive.record(&room("team")).await.unwrap().as_ref(),
        Some(&made)
    );
    let again = archive.create_room(&new("team")).await;
    assert!(matches!(again, Err(RecordError::Exists)));
    let change = RoomChange {
        topic: Some("news".to_owned()),
        settings: Some(settings(json!({"c": true}))),
        ..RoomChange::default()
    };
    let changed = archive
        .update_room(&room("team"), &change, false)
        .await
        .unwrap();
    assert_eq!(
        (&changed.title, &changed.topic),
        (&made.title, &Some("news".to_owned()))
    );
    assert_eq!(changed.settings, settings(json!({"c": true})));
    let change = RoomChange {
        title: Some(String::new()),
        ..RoomChange::default()
    };
    let changed = archive
        .update_room(&room("team"), &change, false)
        .await
        .unwrap();
    assert_eq!(
        (&changed.title, &changed.topic),
        (&None, &Some("news".to_owned()))
    );
    let none = archive.update_room(&room("none"), &change, true).await;
    assert!(matches!(none, Err(RecordError::NotFound)));
}

pub(crate) async fn a_room_with_events_gets_a_public_record(fixture: Fixture) {
    let mut lobby = Script::new("lobby");
    lobby.say("bob", "hi");
    lobby.store(&fixture.archive).await;
    // No user may lock others out of a room with their messages.
    let taken = NewRoom {
        private: true,
        ..new("lobby")
    };
    let taken = fixture.archive.create_room(&taken).await;
    assert!(matches!(taken, Err(RecordError::Exists)));
    let none = fixture
        .archive
        .add_member(&lobby.room, &id("bob"), &id("bob"))
        .await;
    assert!(matches!(none, Err(RecordError::NotFound)));
    let record = fixture.archive.create_room(&new("lobby")).await.unwrap();
    assert_eq!(record.created_by, user("alice"));
    assert_eq!(
        fixture
            .archive
            .incarnation(&lobby.room)
            .await
            .unwrap()
            .unwrap()
            .top,
        1
    );
}

pub(crate) async fn who_finds_a_room_cannot_lock_it(fixture: Fixture) {
    let archive = &fixture.archive;
    let private = |private| RoomChange {
        private: Some(private),
        ..RoomChange::default()
    };
    // Rooms with messages before they had a record. They were archived before that, or only after
    // it.
    let (mut early, mut late) = (Script::new("early"), Script::new("late"));
    early.say("bob", "hi");
    early.store(archive).await;
    late.say("bob", "hi");
    for script in [&early, &late] {
        archive
            .create_room(&new(script.room.as_str()))
            .await
            .unwrap();
    }
    late.store(archive).await;
    for script in [&early, &late] {
        let taken = archive
            .update_room(&script.room, &private(true), false)
            .await;
        assert!(matches!(taken, Err(RecordError::Exists)), "{taken:?}");
        // The refused change has no effect at all, but another change is made.
        let both = RoomChange {
            topic: Some("mine".to_owned()),
            ..private(true)
        };
        let taken = archive.update_room(&script.room, &both, false).await;
        assert!(matches!(taken, Err(RecordError::Exists)), "{taken:?}");
        let open = archive
            .update_room(&script.room, &private(false), false)
            .await;
        assert_eq!(open.unwrap().topic, None);
        assert!(
            !archive
                .incarnation(&script.room)
                .await
                .unwrap()
                .unwrap()
                .private
        );
        assert_eq!(
            archive.members(&script.room, 9).await.unwrap(),
            [id("alice")]
        );
    }
    // A moderator may make the room private. Others may set it again once it is private.
    let closed = archive.update_room(&early.room, &private(true), true).await;
    assert!(closed.unwrap().private);
    let again = archive
        .update_room(&early.room, &private(true), false)
        .await;
    assert!(again.unwrap().private);
    // The creator of a room without messages may make it private.
    let made = archive.create_room(&new("made")).await.unwrap();
    let mut made = Script {
        ts: made.created + 1,
        ..Script::new("made")
    };
    made.say("bob", "hi");
    made.store(archive).await;
    let closed = archive.update_room(&made.room, &private(true), false).await;
    assert!(closed.unwrap().private);
    // After its events have expired, it is still the room that others began.
    fixture.run("UPDATE lives SET first_seen = 1").await;
    fixture.run("DELETE FROM events").await;
    let open = archive
        .update_room(&early.room, &private(false), true)
        .await;
    assert!(!open.unwrap().private);
    let taken = archive
        .update_room(&early.room, &private(true), false)
        .await;
    assert!(matches!(taken, Err(RecordError::Exists)), "{taken:?}");
}

pub(crate) async fn a_private_room_is_its_members(fixture: Fixture) {
    let archive = &fixture.archive;
    let team = room("team");
    let made = NewRoom {
        private: true,
        members: vec![id("bob"), id("bob"), id("alice")],
        ..new("team")
    };
    assert!(archive.create_room(&made).await.unwrap().private);
    assert!(archive.incarnation(&team).await.unwrap().unwrap().private);
    let members = async || -> Vec<String> {
        let members: Vec<UserId> = archive.members(&team, 10).await.unwrap();
        members.iter().map(ToString::to_string).collect()
    };
    assert_eq!(members().await, ["alice", "bob"]);
    assert!(
        archive
            .add_member(&team, &id("c'arol"), &id("bob"))
            .await
            .unwrap()
    );
    assert!(
        !archive
            .add_member(&team, &id("c'arol"), &id("bob"))
            .await
            .unwrap()
    );
    assert!(archive.remove_member(&team, &id("bob")).await.unwrap());
    assert!(!archive.remove_member(&team, &id("bob")).await.unwrap());
    assert_eq!(members().await, ["alice", "c'arol"]);
    // A user who left the room does not see it any more, even if they have a read mark in it.
    mark(&fixture, "bob", &team, 0, true).await;
    assert_eq!(inbox(&fixture, "bob").await, []);
    assert_eq!(inbox(&fixture, "c'arol").await.len(), 1);
    // The room becomes public, and private again with its owner as a member.
    let change = async |private| {
        let change = RoomChange {
            private: Some(private),
            ..RoomChange::default()
        };
        archive.update_room(&team, &change, false).await.unwrap()
    };
    assert!(!change(false).await.private);
    assert_eq!(inbox(&fixture, "bob").await.len(), 1);
    archive.remove_member(&team, &id("alice")).await.unwrap();
    assert!(change(true).await.private);
    assert_eq!(members().await, ["alice", "c'arol"]);
}

/// Whoever is invited keeps the list: invitations and unopened direct messages come after one's own rooms.
pub(crate) async fn invitations_push_no_room_out(fixture: Fixture) {
    const OWN: usize = 3;
    let mut own = Vec::new();
    for number in 0..OWN {
        let mut script = Script::new(&format!("own-{number}"));
        script.say("bob", "mine");
        script.store(&fixture.archive).await;
        mark(&fixture, "bob", &script.room, 0, true).await;
        own.push(script.room.clone());
    }
    for number in 0..OWN {
        let mut direct = Script::new(&format!("dm:bob:stranger{number}"));
        direct.say(&format!("stranger{number}"), "hello");
        direct.store(&fixture.archive).await;
    }
    for number in 0..120 {
        let new = NewRoom {
            room: room(&format!("trap-{number}")),
            title: None,
            topic: None,
            private: true,
            created_by: user("mallory"),
            members: vec![id("bob")],
            settings: Map::new(),
        };
        fixture.archive.create_room(&new).await.unwrap();
    }
    let listed = async |limit| fixture.archive.inbox(&id("bob"), limit).await.unwrap();
    let all = listed(1_000).await;
    let invitations = all.iter().filter(|entry| entry.is_invitation).count();
    assert_eq!((all.len(), invitations), (2 * OWN + 100, 100));
    assert!(all[2 * OWN..].iter().all(|entry| entry.is_invitation));
    let few = listed(OWN).await;
    let kept: Vec<&RoomId> = few
        .iter()
        .filter(|entry| !entry.is_invitation)
        .map(|entry| &entry.room)
        .collect();
    own.reverse();
    assert_eq!(kept, own.iter().collect::<Vec<_>>(), "not the strangers'");
    // Whoever joins has accepted.
    let trap = room("trap-7");
    mark(&fixture, "bob", &trap, 0, true).await;
    let all = listed(1_000).await;
    let joined = all.iter().find(|entry| entry.room == trap).unwrap();
    assert!(!joined.is_invitation);
    // Whoever made a room has not been invited.
    let made = fixture.archive.inbox(&id("mallory"), 1_000).await.unwrap();
    assert!(made.len() == 120 && made.iter().all(|entry| !entry.is_invitation));
}
