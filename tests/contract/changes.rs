//! Edits, deletions and reactions: what a stream keeps of them, and what it forgets.

use std::ops::RangeInclusive;
use std::time::Duration;

use hubbub_broker::{Published, Span};
use hubbub_protocol::command::Body;
use hubbub_protocol::{Draft, Envelope, EventKind, Nonce, ReactionKey, RoomId};

use hubbub_tests::deadline::eventually;

use crate::fixture::{Line, Pair, STREAM_LEN, draft, room, stored, user};

const CANARY: &str = "canary";

pub(crate) async fn say(line: &Line, room: &RoomId, nonce: &str) -> u64 {
    let text = format!("{CANARY} {nonce}");
    stored(
        &line
            .publish(room, &[draft(room, "alice", nonce, &text)])
            .await[0],
    )
}

pub(crate) async fn edit(line: &Line, room: &RoomId, target: u64, nonce: &str) -> Draft {
    edit_to(line, room, target, nonce, &format!("{CANARY} edit")).await
}

async fn edit_to(line: &Line, room: &RoomId, target: u64, nonce: &str, text: &str) -> Draft {
    let body = Body::from(&serde_json::json!({ "text": text }));
    let original = at(line, room, target).await;
    let event = original.read().unwrap();
    let nonce = Nonce::new(nonce).ok();
    Draft::edit(room, &user("alice"), nonce, target, &event, &body)
}

pub(crate) fn react(room: &RoomId, target: u64, nonce: &str) -> Draft {
    let key = ReactionKey::new("x").unwrap();
    Draft::react(
        room,
        &user("bob"),
        Nonce::new(nonce).ok(),
        target,
        &key,
        true,
    )
}

async fn at(line: &Line, room: &RoomId, offset: u64) -> Envelope {
    let page = line.broker.peek(room, Span::After(offset - 1), 1).await;
    page.unwrap().unwrap().events.remove(0)
}

pub(crate) async fn delete(line: &Line, room: &RoomId, target: u64, nonce: &str) -> Published {
    let original = at(line, room, target).await;
    let event = original.read().unwrap();
    let nonce = Nonce::new(nonce).ok();
    let draft = Draft::delete(room, &user("alice"), nonce, target, &event);
    line.publish(room, &[draft]).await.remove(0)
}

async fn all(line: &Line, room: &RoomId) -> Vec<Envelope> {
    let page = line.broker.peek(room, Span::After(0), 500).await;
    page.unwrap().unwrap().events
}

pub(crate) async fn a_deleted_message_keeps_its_place_and_no_body(pair: Pair) {
    let room = room("delete");
    for nonce in ["a", "b", "c"] {
        say(&pair.a, &room, nonce).await;
    }
    let edits = [
        edit(&pair.a, &room, 2, "e1").await,
        edit(&pair.a, &room, 2, "e2").await,
        edit(&pair.a, &room, 1, "e3").await,
    ];
    pair.a.publish(&room, &edits).await;
    let ids: Vec<_> = all(&pair.b, &room)
        .await
        .into_iter()
        .map(|e| e.message)
        .collect();
    assert_eq!(stored(&delete(&pair.b, &room, 2, "d").await), 7);
    let events = all(&pair.a, &room).await;
    let offsets: Vec<u64> = events.iter().map(|e| e.position.offset).collect();
    assert_eq!(offsets, [1, 2, 3, 4, 5, 6, 7]);
    let kept: Vec<_> = events[..6].iter().map(|e| e.message.clone()).collect();
    assert_eq!(kept, ids, "the IDs stay: they distinguish streams");
    for event in &events {
        let is_gone = [2, 4, 5].contains(&event.position.offset);
        assert_eq!(event.read().unwrap().deleted, is_gone, "{event:?}");
        let has_body = event.frame.as_str().contains(CANARY);
        assert_eq!(
            has_body,
            [1, 3, 6].contains(&event.position.offset),
            "{event:?}"
        );
    }
    for (span, expected) in [
        (Span::Before(6), vec![4, 5]),
        (Span::After(1), vec![2, 3]),
        (Span::Newest, vec![6, 7]),
    ] {
        let page = pair.b.broker.peek(&room, span, 2).await.unwrap().unwrap();
        let offsets: Vec<u64> = page.events.iter().map(|e| e.position.offset).collect();
        assert_eq!(offsets, expected, "{span:?}");
    }
}

pub(crate) async fn what_is_deleted_cannot_be_changed(pair: Pair) {
    let room = room("gone");
    say(&pair.a, &room, "a").await;
    let late = [edit(&pair.a, &room, 1, "e").await, react(&room, 1, "r")];
    delete(&pair.a, &room, 1, "d").await;
    let outcomes = pair.b.publish(&room, &late).await;
    assert_eq!(outcomes, [Published::Gone, Published::Gone]);
    assert_eq!(say(&pair.b, &room, "b").await, 3, "no offset is used up");
    let again = delete(&pair.b, &room, 1, "d").await;
    assert!(matches!(again, Published::Duplicate { .. }), "{again:?}");
}

pub(crate) async fn a_delete_and_an_edit_in_one_batch_keep_their_order(pair: Pair) {
    let room = room("batch");
    say(&pair.a, &room, "a").await;
    let original = at(&pair.a, &room, 1).await;
    let event = original.read().unwrap();
    let delete = Draft::delete(&room, &user("alice"), Nonce::new("d").ok(), 1, &event);
    let edit = edit(&pair.a, &room, 1, "e").await;
    let batch = [edit, delete, react(&room, 1, "r")];
    let outcomes = pair.a.publish(&room, &batch).await;
    assert_eq!(outcomes[2], Published::Gone);
    let events = all(&pair.b, &room).await;
    assert_eq!(events.len(), 3);
    assert!(
        events
            .iter()
            .all(|event| !event.frame.as_str().contains(CANARY))
    );
}

pub(crate) async fn changes_are_found_by_their_messages(pair: Pair) {
    let room = room("changes");
    for nonce in ["a", "b", "c"] {
        say(&pair.a, &room, nonce).await;
    }
    let batch = [
        edit(&pair.a, &room, 3, "e").await,
        react(&room, 1, "r1"),
        react(&room, 2, "r2"),
        react(&room, 1, "r3"),
    ];
    pair.a.publish(&room, &batch).await;
    let found = async |parts: &[RangeInclusive<u64>], above, reactions| {
        let changes = pair.b.broker.changes(&room, parts, above, reactions).await;
        let place = |event: &Envelope| (event.position.offset, event.kind());
        changes.unwrap().iter().map(place).collect::<Vec<_>>()
    };
    let (edited, reacted) = (EventKind::Edited, EventKind::Reacted);
    assert_eq!(
        found(&[1..=3], 0, 10).await,
        [(4, edited), (5, reacted), (6, reacted), (7, reacted)]
    );
    assert_eq!(found(&[1..=1], 0, 10).await, [(5, reacted), (7, reacted)]);
    assert_eq!(
        found(&[2..=2, 3..=3], 0, 10).await,
        [(4, edited), (6, reacted)]
    );
    assert_eq!(found(&[1..=3], 5, 10).await, [(6, reacted), (7, reacted)]);
    assert_eq!(found(&[4..=9], 0, 10).await, []);
    // The relevant edits and deletions are found, however many reactions there are.
    assert_eq!(found(&[1..=3], 0, 1).await, [(4, edited), (6, reacted)]);
    assert_eq!(found(&[1..=1], 0, 1).await, [(7, reacted)]);
    // Reactions that the archive has already take no place from those that it does not have.
    assert_eq!(found(&[1..=2], 6, 1).await, [(7, reacted)]);
    let again = edit(&pair.a, &room, 3, "e2").await;
    pair.a.publish(&room, &[again]).await;
    delete(&pair.a, &room, 1, "d").await;
    let deleted = EventKind::Deleted;
    assert_eq!(found(&[1..=3], 0, 0).await, [(8, edited), (9, deleted)]);
}

pub(crate) async fn an_edit_takes_the_old_body_away(pair: Pair) {
    let room = room("edit");
    for nonce in ["a", "b"] {
        say(&pair.a, &room, nonce).await;
    }
    let first = edit(&pair.a, &room, 1, "e1").await;
    pair.a.publish(&room, &[first]).await;
    // A text that looks like the end of a tombstone is still a user's text.
    let tricky = r#"clean "deleted":true,"ts":1,"epoch":"e","offset":1}"#;
    let second = edit_to(&pair.b, &room, 1, "e2", tricky).await;
    pair.b.publish(&room, &[second]).await;
    let events = all(&pair.a, &room).await;
    let offsets: Vec<u64> = events.iter().map(|e| e.position.offset).collect();
    assert_eq!(offsets, [1, 2, 3, 4]);
    let holders: Vec<_> = events
        .iter()
        .filter(|event| event.frame.as_str().contains(CANARY))
        .map(|event| event.position.offset)
        .collect();
    assert_eq!(holders, [2], "{events:?}");
    let [message, _, superseded, newest] = &events[..] else {
        panic!("{events:?}")
    };
    let message = message.read().unwrap();
    assert_eq!(message.edited.unwrap().offset, 4);
    assert_eq!(message.text().as_deref(), Some(tricky));
    assert_eq!(message.nonce.as_ref().unwrap().as_str(), "a");
    let (superseded, newest) = (superseded.read().unwrap(), newest.read().unwrap());
    assert!(superseded.deleted && superseded.body.is_none());
    assert_eq!(newest.text().as_deref(), Some(tricky));
    // It is still a message: it can be changed, and a repeated send is a duplicate.
    let outcome = pair.b.publish(&room, &[react(&room, 1, "r")]).await;
    assert_eq!(stored(&outcome[0]), 5);
    let again = pair
        .b
        .publish(&room, &[draft(&room, "alice", "a", "x")])
        .await;
    let [
        Published::Duplicate {
            original: Some(original),
            ..
        },
    ] = &again[..]
    else {
        panic!("{again:?}")
    };
    assert!(!original.as_str().contains(CANARY));
    assert_eq!(stored(&delete(&pair.a, &room, 1, "d").await), 6);
    for event in all(&pair.b, &room).await {
        let is_gone = [1, 3, 4].contains(&event.position.offset);
        assert_eq!(event.read().unwrap().deleted, is_gone, "{event:?}");
    }
}

/// A message that is edited repeatedly uses no more space than a stream may.
pub(crate) async fn edits_of_one_message_are_bounded(pair: Pair) {
    let room = room("over");
    say(&pair.a, &room, "a").await;
    let template = edit(&pair.a, &room, 1, "e").await;
    for part in 0..40 {
        let drafts = (0..50).map(|n| Draft {
            message: hubbub_protocol::MessageId::generate(),
            nonce: Nonce::new(&format!("e-{part}-{n}")).unwrap(),
            ..template.clone()
        });
        pair.a.publish(&room, &drafts.collect::<Vec<_>>()).await;
    }
    let page = pair.b.broker.peek(&room, Span::Newest, 10_000).await;
    let events = page.unwrap().unwrap().events;
    assert!(events.len() <= STREAM_LEN + 1_500, "{}", events.len());
    assert_eq!(events.last().unwrap().position.offset, 2_001);
}

/// Messages deleted or edited long ago are not in a stream that was trimmed since.
pub(crate) async fn tombstones_below_the_stream_are_left_out(pair: Pair) {
    let room = room("below");
    for n in 0..6 {
        say(&pair.a, &room, &format!("n{n}")).await;
    }
    delete(&pair.a, &room, 1, "d").await;
    let edit = edit(&pair.a, &room, 4, "e").await;
    pair.a.publish(&room, &[edit]).await;
    for n in 6..3 * STREAM_LEN {
        say(&pair.a, &room, &format!("n{n}")).await;
    }
    let peek = async |span, limit| {
        let page = pair.b.broker.peek(&room, span, limit).await;
        let events = page.unwrap().unwrap().events;
        let offsets = events.iter().map(|event| event.position.offset);
        offsets.collect::<Vec<u64>>()
    };
    let first = peek(Span::After(0), 1).await[0];
    assert!(first > 100, "{first}");
    assert_eq!(peek(Span::After(0), 10).await[0], first);
    assert_eq!(peek(Span::Newest, 10_000).await[0], first);
    for before in [first, 50, 5, 2] {
        assert_eq!(peek(Span::Before(before), 300).await, [0; 0], "{before}");
    }
    assert_eq!(peek(Span::Before(first + 1), 300).await, [first]);
    // A change of a message that has left the stream adds nothing to it.
    pair.a.publish(&room, &[react(&room, 4, "r")]).await;
    assert_eq!(peek(Span::Before(first), 300).await, [0; 0]);
}

/// Offsets stay, and younger events stay complete.
pub(crate) async fn old_events_expire(pair: Pair) {
    let room = room("expire");
    for nonce in ["a", "b", "c", "d", "e"] {
        say(&pair.a, &room, nonce).await;
    }
    delete(&pair.a, &room, 2, "d2").await;
    let before = at(&pair.a, &room, 6).await.read().unwrap().ts;
    // The time of the broker's clock, which is the machine's.
    let passed = async || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        (now.unwrap().as_millis() > u128::from(before) + 1).then_some(())
    };
    eventually("the clock has moved on", Duration::from_secs(5), passed).await;
    let young = say(&pair.a, &room, "young").await;
    let edit = edit(&pair.a, &room, young, "e7").await;
    pair.a.publish(&room, &[edit]).await;
    let ts = at(&pair.b, &room, young).await.read().unwrap().ts;
    for cutoff in [0, before] {
        while pair.a.broker.expire(&room, cutoff).await.unwrap() {}
        assert!(
            all(&pair.b, &room).await.len() >= 2,
            "no young event expires"
        );
    }
    while pair.a.broker.expire(&room, ts).await.unwrap() {}
    let events = all(&pair.b, &room).await;
    let offsets: Vec<u64> = events.iter().map(|e| e.position.offset).collect();
    assert_eq!(offsets, [young, young + 1], "the edited message is young");
    let page = pair.b.broker.peek(&room, Span::Before(young), 9).await;
    assert_eq!(page.unwrap().unwrap().events, []);
    while pair.a.broker.expire(&room, u64::MAX).await.unwrap() {}
    assert_eq!(all(&pair.b, &room).await, []);
    assert_eq!(say(&pair.b, &room, "next").await, young + 2);
    let none = self::room("none");
    assert!(!pair.a.broker.expire(&none, u64::MAX).await.unwrap());
}

pub(crate) async fn tombstones_leave_with_their_stream(pair: Pair) {
    let room = room("trim");
    for n in 0..2 * STREAM_LEN {
        let offset = say(&pair.a, &room, &format!("n{n}")).await;
        if n % 3 == 0 {
            delete(&pair.a, &room, offset, &format!("d{n}")).await;
        }
    }
    let page = pair
        .b
        .broker
        .peek(&room, Span::Newest, 10_000)
        .await
        .unwrap()
        .unwrap();
    let first = page.events[0].position.offset;
    let expected: Vec<u64> = (first..=page.head.offset).collect();
    let offsets: Vec<u64> = page.events.iter().map(|e| e.position.offset).collect();
    assert_eq!(offsets, expected, "no hole from the first to the last");
}
