//! Appending: events are stored once, in order, all or nothing, and read back unchanged.

use hubbub_archive::{ArchiveError, HistorySpan, Hole, Incarnation, RoomBatch};
use hubbub_protocol::{Envelope, Frame, Nonce, Position};
use serde_json::json;

use crate::fixture::{Fixture, Script, epoch, id, offsets, room, texts, value};

const NEWEST: HistorySpan = HistorySpan::Before(None);

pub(crate) async fn what_was_appended_is_read_back_as_it_was(fixture: Fixture) {
    let archive = fixture.archive;
    let mut lobby = Script::new("lobby");
    lobby.say("alice", "hello");
    lobby.say_body("bob", Some("n-1"), &json!([1, null, {"a": "\u{0}"}]));
    lobby.say_body("bob", None, &json!("only text \u{0}"));
    lobby.edit("alice", 1, "hi \u{0} 👍 \"quoted\" \\ \u{7f}");
    lobby.react("bob", 1, "👍", true);
    lobby.delete("bob", 2);
    let batch = lobby.batch();
    archive.append(std::slice::from_ref(&batch)).await.unwrap();
    let stored = archive
        .events_after(&lobby.room, &lobby.epoch, 0, 100)
        .await
        .unwrap();
    assert_eq!(offsets(&stored), [1, 2, 3, 4, 5, 6]);
    for (stored, sent) in stored.iter().zip(&batch.events) {
        assert_eq!(stored.message, sent.message);
        // The first message is edited, the second deleted.
        if sent.position.offset > 2 {
            assert_eq!(stored.frame, sent.frame);
        }
    }
    let after = archive
        .events_after(&lobby.room, &lobby.epoch, 3, 2)
        .await
        .unwrap();
    assert_eq!(offsets(&after), [4, 5]);
    let third = archive.event(&lobby.room, 3).await.unwrap().unwrap();
    assert_eq!(third, stored[2]);
    assert_eq!(archive.event(&lobby.room, 7).await.unwrap(), None);
    assert_eq!(archive.event(&room("other"), 1).await.unwrap(), None);
    assert_eq!(archive.edits_of(&lobby.room, 1).await.unwrap(), [4]);
    assert!(archive.is_ready());
    assert_eq!(archive.health(), None);
}

pub(crate) async fn a_repetition_changes_nothing(fixture: Fixture) {
    let archive = fixture.archive;
    let mut lobby = Script::new("lobby");
    lobby.say("alice", "one");
    lobby.react("bob", 1, "x", true);
    lobby.edit("alice", 1, "two");
    let first = lobby.batch();
    archive.append(std::slice::from_ref(&first)).await.unwrap();
    lobby.react("bob", 1, "x", false);
    lobby.edit("alice", 1, "three");
    let second = lobby.batch();
    // An event that is in one batch twice, or comes again with new events, is stored once.
    let mut both = first.clone();
    both.events.extend(second.events.clone());
    both.events.extend(second.events.clone());
    archive
        .append(&[both.clone(), first.clone()])
        .await
        .unwrap();
    archive.append(&[first]).await.unwrap();
    let stored = archive
        .events_after(&lobby.room, &lobby.epoch, 0, 100)
        .await
        .unwrap();
    assert_eq!(offsets(&stored), [1, 2, 3, 4, 5]);
    let page = archive.history(&lobby.room, NEWEST, 10).await.unwrap();
    assert_eq!(texts(&page), ["three"]);
    assert_eq!(value(&page[0]).get("reactions"), None);
}

pub(crate) async fn a_place_is_never_taken_twice(fixture: Fixture) {
    let archive = fixture.archive;
    let mut lobby = Script::new("lobby");
    lobby.say("alice", "one");
    lobby.say("alice", "two");
    let first = lobby.batch();
    lobby.say("alice", "three");
    let third = lobby.batch();
    archive.append(std::slice::from_ref(&first)).await.unwrap();
    // Another event at a used place, after one that is stored and together with a new one.
    let (mut fork, mut other) = (Script::new("lobby"), Script::new("other"));
    fork.top = 1;
    fork.say("mallory", "lost");
    other.say("alice", "beside");
    let mut forked = first.clone();
    forked.events[1] = fork.batch().events.remove(0);
    forked.events.extend(third.events.clone());
    let other = other.batch();
    let refused = async |batch: &[RoomBatch], place| {
        let error = archive.append(batch).await.unwrap_err();
        assert!(!error.is_retryable(), "{error:?}");
        let ArchiveError::Taken { room: at, offset } = error else {
            panic!("{error}")
        };
        assert_eq!((at, offset), (room("lobby"), place));
        assert_eq!(archive.incarnation(&room("other")).await.unwrap(), None);
        let page = archive.history(&room("lobby"), NEWEST, 10).await.unwrap();
        assert_eq!(texts(&page), ["one", "two"]);
    };
    refused(&[other.clone(), forked], 2).await;
    // One batch cannot have two events at one place either.
    let mut twice = third.clone();
    fork.top = 2;
    fork.say("mallory", "lost");
    twice.events.extend(fork.batch().events);
    refused(&[other.clone(), twice], 3).await;
    // In another epoch it is another place.
    fork.epoch = epoch("e2");
    fork.top = 1;
    fork.say("mallory", "new");
    let again = [first, third, other, fork.batch()];
    archive.append(&again).await.unwrap();
    // A placeholder, of which only the place is known, is not another event.
    let place = Position {
        epoch: lobby.epoch.clone(),
        offset: 1,
    };
    let vanished = RoomBatch {
        events: vec![Envelope::vanished(&lobby.room, place)],
        ..lobby.batch()
    };
    archive.append(&[vanished]).await.unwrap();
    let page = archive.history(&lobby.room, NEWEST, 10).await.unwrap();
    assert_eq!(page.len(), 4);
    assert_eq!(texts(&page)[0], "one");
}

pub(crate) async fn a_batch_is_stored_whole_or_not_at_all(fixture: Fixture) {
    let archive = fixture.archive;
    let (mut good, mut bad) = (Script::new("good"), Script::new("bad"));
    good.say("alice", "one");
    bad.say("alice", "one");
    bad.say("alice", "two");
    let mut broken = bad.batch();
    broken.events[1].frame = Frame::from_json("{\"type\":\"message\"}".to_owned().into()).unwrap();
    let error = archive.append(&[good.batch(), broken]).await.unwrap_err();
    let ArchiveError::BadEvent {
        room: at, offset, ..
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!((at, offset), (room("bad"), 2));
    for name in ["good", "bad"] {
        assert_eq!(archive.incarnation(&room(name)).await.unwrap(), None);
        assert_eq!(archive.history(&room(name), NEWEST, 10).await.unwrap(), []);
    }
    good.top = 0;
    good.say("alice", "again");
    good.store(&archive).await;
    assert_eq!(
        texts(&archive.history(&good.room, NEWEST, 9).await.unwrap()),
        ["again"]
    );
}

pub(crate) async fn nothing_and_empty_parts_are_fine(fixture: Fixture) {
    let archive = fixture.archive;
    archive.append(&[]).await.unwrap();
    archive
        .append(&[Script::new("lobby").batch()])
        .await
        .unwrap();
    let life = archive.incarnation(&room("lobby")).await.unwrap().unwrap();
    assert_eq!((life.epoch, life.top), (None, 0));
}

pub(crate) async fn a_new_life_goes_on_above_the_old_one(fixture: Fixture) {
    let archive = fixture.archive;
    let mut lobby = Script::new("lobby");
    assert_eq!(archive.incarnation(&lobby.room).await.unwrap(), None);
    lobby.say("alice", "one");
    lobby.say("alice", "two");
    let old = lobby.batch();
    lobby.epoch = epoch("e2");
    lobby.top = 10;
    lobby.say("alice", "three");
    let mut new = lobby.batch();
    new.base = Some(10);
    // The new epoch is appended first. The old one does not replace it.
    archive.append(&[new]).await.unwrap();
    archive.append(&[old]).await.unwrap();
    let life = archive.incarnation(&lobby.room).await.unwrap().unwrap();
    let expected = Incarnation {
        epoch: Some(epoch("e2")),
        top: 11,
        private: false,
    };
    assert_eq!(life, expected);
    let page = archive.history(&lobby.room, NEWEST, 10).await.unwrap();
    assert_eq!(texts(&page), ["one", "two", "three"]);
    let read = async |name, after| {
        let events = archive
            .events_after(&lobby.room, &epoch(name), after, 10)
            .await;
        offsets(&events.unwrap())
    };
    assert_eq!(read("e1", 0).await, [1, 2]);
    assert_eq!(read("e2", 10).await, [11]);
    assert_eq!(read("e2", 2).await, Vec::<u64>::new());
    assert_eq!(read("e3", 0).await, Vec::<u64>::new());
}

pub(crate) async fn a_resume_ends_before_a_hole(fixture: Fixture) {
    let archive = fixture.archive;
    let mut lobby = Script::new("lobby");
    lobby.say("alice", "one");
    lobby.say("alice", "two");
    lobby.top = 5;
    lobby.say("alice", "six");
    let mut batch = lobby.batch();
    batch.holes.push(Hole {
        epoch: lobby.epoch.clone(),
        first: 3,
        last: 5,
        reason: "queue full".to_owned(),
    });
    archive.append(&[batch]).await.unwrap();
    let events = archive
        .events_after(&lobby.room, &lobby.epoch, 0, 10)
        .await
        .unwrap();
    assert_eq!(offsets(&events), [1, 2]);
    let events = archive
        .events_after(&lobby.room, &lobby.epoch, 5, 10)
        .await
        .unwrap();
    assert_eq!(offsets(&events), [6]);
    // Lost offsets are used up too.
    let hole = Hole {
        epoch: lobby.epoch.clone(),
        first: 7,
        last: 9,
        reason: "queue full".to_owned(),
    };
    let batch = RoomBatch {
        room: lobby.room.clone(),
        base: None,
        events: Vec::new(),
        holes: vec![hole],
        run: None,
    };
    archive.append(&[batch]).await.unwrap();
    assert_eq!(
        archive.incarnation(&lobby.room).await.unwrap().unwrap().top,
        9
    );
}

pub(crate) async fn a_nonce_is_found_again(fixture: Fixture) {
    let archive = fixture.archive;
    let mut lobby = Script::new("lobby");
    lobby.ts = 5_000;
    lobby.say_body("alice", Some("n'1"), &json!(1));
    lobby.say_body("alice", None, &json!(2));
    lobby.say_body("bob", Some("n'1"), &json!(3));
    lobby.say_body("alice", Some("n'1"), &json!(4));
    lobby.store(&archive).await;
    let nonce = Nonce::new("n'1").unwrap();
    let find = async |user, since| {
        let found = archive.nonce(&lobby.room, &id(user), &nonce, since).await;
        found.unwrap().map(|Position { offset, .. }| offset)
    };
    assert_eq!(find("alice", 0).await, Some(1));
    assert_eq!(find("bob", 0).await, Some(3));
    assert_eq!(find("carol", 0).await, None);
    assert_eq!(find("alice", 5_002).await, Some(4));
    assert_eq!(find("alice", 6_000).await, None);
}
