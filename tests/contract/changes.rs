//! Edits, deletions and reactions: what a stream keeps of them, and what it forgets.

use hubbub_broker::{Begin, BrokerError, Published, Span};
use hubbub_protocol::command::Body;
use hubbub_protocol::{Draft, Envelope, EventKind, Nonce, ReactionKey, RoomId};

use crate::fixture::{Line, Pair, STREAM_LEN, draft, room, stored, user};

const CANARY: &str = "canary";

async fn say(line: &Line, room: &RoomId, nonce: &str) -> u64 {
    let text = format!("{CANARY} {nonce}");
    stored(
        &line
            .publish(room, &[draft(room, "alice", nonce, &text)])
            .await[0],
    )
}

fn edit(room: &RoomId, target: u64, nonce: &str) -> Draft {
    let body = Body::from(&serde_json::json!({"text": format!("{CANARY} edit")}));
    Draft::edit(room, &user("alice"), Nonce::new(nonce).ok(), target, &body)
}

fn react(room: &RoomId, target: u64, nonce: &str) -> Draft {
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

async fn delete(line: &Line, room: &RoomId, target: u64, nonce: &str) -> Published {
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
    pair.a
        .publish(
            &room,
            &[
                edit(&room, 2, "e1"),
                edit(&room, 2, "e2"),
                edit(&room, 1, "e3"),
            ],
        )
        .await;
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
    assert_eq!(kept, ids, "the ids stay: they tell streams apart");
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
    delete(&pair.a, &room, 1, "d").await;
    let outcomes = pair
        .b
        .publish(&room, &[edit(&room, 1, "e"), react(&room, 1, "r")])
        .await;
    assert_eq!(outcomes, [Published::Gone, Published::Gone]);
    assert_eq!(say(&pair.b, &room, "b").await, 3, "no place is used up");
    let again = delete(&pair.b, &room, 1, "d").await;
    assert!(matches!(again, Published::Duplicate { .. }), "{again:?}");
}

pub(crate) async fn a_delete_and_an_edit_in_one_batch_keep_their_order(pair: Pair) {
    let room = room("batch");
    say(&pair.a, &room, "a").await;
    let original = at(&pair.a, &room, 1).await;
    let event = original.read().unwrap();
    let delete = Draft::delete(&room, &user("alice"), Nonce::new("d").ok(), 1, &event);
    let batch = [edit(&room, 1, "e"), delete, react(&room, 1, "r")];
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
        edit(&room, 3, "e"),
        react(&room, 1, "r1"),
        react(&room, 2, "r2"),
        react(&room, 1, "r3"),
    ];
    pair.a.publish(&room, &batch).await;
    let found = async |first, last, limit| {
        let changes = pair
            .b
            .broker
            .changes(&room, first, last, limit)
            .await
            .unwrap();
        let place = |event: &Envelope| (event.position.offset, event.kind());
        changes.iter().map(place).collect::<Vec<_>>()
    };
    let (edited, reacted) = (EventKind::Edited, EventKind::Reacted);
    assert_eq!(
        found(1, 3, 10).await,
        [(4, edited), (5, reacted), (6, reacted), (7, reacted)]
    );
    assert_eq!(found(1, 1, 10).await, [(5, reacted), (7, reacted)]);
    assert_eq!(found(1, 3, 1).await, [(7, reacted)]);
    assert_eq!(found(4, 9, 10).await, []);
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

pub(crate) async fn a_life_begins_only_when_it_may(pair: Pair) {
    let room = room("never");
    let read = pair
        .a
        .broker
        .read(&room, Span::Newest, 1, &Begin::Never)
        .await;
    assert!(matches!(read, Err(BrokerError::NoLife)), "{read:?}");
    let drafts = [draft(&room, "alice", "n", "x")];
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let publish = pair
        .b
        .broker
        .publish(&room, &drafts, &|| None, &Begin::Never, deadline)
        .await;
    assert!(matches!(publish, Err(BrokerError::NoLife)), "{publish:?}");
    let read = pair
        .a
        .broker
        .read(&room, Span::Newest, 1, &Begin::above(41))
        .await;
    assert_eq!(
        (read.as_ref().unwrap().head.offset, read.unwrap().base),
        (41, 41)
    );
    let publish = pair
        .b
        .broker
        .publish(&room, &drafts, &|| None, &Begin::Never, deadline)
        .await;
    assert_eq!(stored(&publish.unwrap()[0]), 42);
}
