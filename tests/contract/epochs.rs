//! The streams that accept events, how a new epoch begins, and what happens to older events.

use hubbub_broker::{BrokerError, Lost, NewEpoch, Outcome, Published, Span};
use hubbub_protocol::{Draft, Envelope, Epoch, EpochOrder, EventKind, Packet, Position, RoomId};
use hubbub_tests::deadline::eventually;

use crate::changes::{delete, edit, react, say};
use crate::fixture::{Line, PATIENCE, Pair, draft, room, stored};

fn above(offset: u64) -> NewEpoch {
    NewEpoch {
        above: offset,
        ..NewEpoch::first()
    }
}

fn carried_from(above: u64, first: u64) -> NewEpoch {
    NewEpoch {
        above,
        carry_from: Some(first),
        ..NewEpoch::first()
    }
}

async fn all(line: &Line, room: &RoomId) -> Vec<Envelope> {
    line.read(room, Span::After(0), 300).await.events
}

async fn last(line: &Line, room: &RoomId) -> Position {
    let head = line.read(room, Span::Newest, 0).await.head;
    Position {
        epoch: head.epoch,
        offset: head.offset,
    }
}

fn is_refused(outcome: &Result<Vec<Published>, BrokerError>) -> bool {
    matches!(outcome, Err(BrokerError::Unreconciled))
}

pub(crate) async fn a_room_without_a_stream_takes_nothing(pair: Pair) {
    let room = room("none");
    let drafts = [draft(&room, "alice", "n", "x")];
    assert!(is_refused(&pair.a.try_publish(&room, &drafts, None).await));
    assert_eq!(pair.b.broker.state(&room).await.unwrap(), None);
    let head = pair.a.begin(&room, above(41)).await;
    let state = pair.b.broker.state(&room).await.unwrap().unwrap();
    assert_eq!((state.head, state.base), (head, 41));
    assert_eq!(stored(&pair.b.publish(&room, &drafts).await[0]), 42);
}

/// A stream that is older than the position seen, or ends below it, accepts nothing.
pub(crate) async fn a_stream_behind_what_was_seen_takes_nothing(pair: Pair) {
    let room = room("behind");
    say(&pair.a, &room, "a").await;
    let here = last(&pair.a, &room).await;
    let taken = async |epoch: &Epoch, offset, nonce| {
        let seen = Some(Position {
            epoch: epoch.clone(),
            offset,
        });
        let drafts = [draft(&room, "alice", nonce, "x")];
        !is_refused(&pair.b.try_publish(&room, &drafts, seen).await)
    };
    let older = Epoch::new("before-order").unwrap();
    let newer = Epoch::begin(0, here.epoch.number());
    let rival = format!("{}-zzzzz", here.epoch.as_str().split_once('-').unwrap().0);
    let rival = Epoch::new(&rival).unwrap();
    assert!(taken(&here.epoch, 1, "1").await);
    assert!(taken(&older, 2, "2").await, "the stream is newer than that");
    assert!(!taken(&here.epoch, 9, "3").await, "the stream ends below");
    assert!(!taken(&older, 9, "4").await, "offsets would go back");
    assert!(!taken(&newer, 1, "5").await, "the stream is older");
    assert!(!taken(&rival, 1, "6").await, "neither epoch is newer");
    assert_eq!(last(&pair.a, &room).await.offset, 3);
}

pub(crate) async fn the_first_of_two_decisions_counts(mut pair: Pair) {
    let room = room("two");
    say(&pair.a, &room, "a").await;
    let before = last(&pair.a, &room).await;
    pair.b.broker.subscribe(&room).await.unwrap();
    let found = Some(before.epoch.clone());
    let first = pair
        .a
        .decide(&room, found.clone(), Outcome::Begin(above(41)));
    let first = first.await.unwrap();
    let second = pair.b.decide(&room, found, Outcome::Begin(above(99))).await;
    assert_eq!(second, None, "another decision came first");
    assert_eq!(first.epoch.order(&before.epoch), EpochOrder::Newer);
    let expected = Position {
        epoch: first.epoch,
        offset: 41,
    };
    assert_eq!(pair.b.hear_packet().await, Packet::Reset(expected.clone()));
    assert_eq!(last(&pair.b, &room).await, expected);
}

/// The broker's clock may go back, and nodes may know a later epoch.
pub(crate) async fn a_new_epoch_is_newer_than_any_known(pair: Pair) {
    let room = room("later");
    let floor = Epoch::begin(u64::from(u32::MAX) * 1_000, 0).number();
    let begin = NewEpoch {
        floor,
        ..NewEpoch::first()
    };
    let head = pair.a.begin(&room, begin).await;
    assert_eq!(head.epoch.number(), floor + 1);
}

pub(crate) async fn older_events_and_nonces_stay(pair: Pair) {
    let room = room("stay");
    for nonce in ["a", "b", "c"] {
        say(&pair.a, &room, nonce).await;
    }
    let before = all(&pair.a, &room).await;
    pair.a.begin(&room, above(10)).await;
    let again = pair
        .b
        .publish(&room, &[draft(&room, "alice", "b", "b")])
        .await;
    let Published::Duplicate { position, .. } = &again[0] else {
        panic!("{again:?}");
    };
    assert_eq!(
        *position, before[1].position,
        "in the epoch in which it was stored"
    );
    assert_eq!(say(&pair.b, &room, "d").await, 11);
    let after = all(&pair.b, &room).await;
    assert_eq!(after[..3], before[..]);
    let places: Vec<_> = after.iter().map(|event| event.position.offset).collect();
    assert_eq!(
        places,
        [1, 2, 3, 11],
        "no event is invented for the lost places"
    );
}

/// Events at places that belong to other events move: a message, an edit, a reaction and a
/// deletion.
pub(crate) async fn foreign_events_move_into_the_new_epoch(pair: Pair) {
    let room = room("carry");
    for nonce in ["a", "b", "c", "d"] {
        say(&pair.a, &room, nonce).await;
    }
    pair.a
        .publish(
            &room,
            &[
                edit(&pair.b, &room, 3, "e1").await,
                react(&room, 2, "r1"),
                edit(&pair.b, &room, 4, "e2").await,
            ],
        )
        .await;
    delete(&pair.a, &room, 4, "x").await;
    let before = all(&pair.a, &room).await;
    let head = pair.a.begin(&room, carried_from(20, 3)).await;
    assert_eq!(head.offset, 26);
    let after = all(&pair.b, &room).await;
    assert_eq!(after[..2], before[..2]);
    for (old, new) in before[2..].iter().zip(&after[2..]) {
        assert_eq!(new.position.offset, old.position.offset + 18);
        assert_eq!(new.position.epoch, head.epoch);
        assert_eq!(new.message, old.message);
        let (old, new) = (old.read().unwrap(), new.read().unwrap());
        assert_eq!(
            (new.offset, &new.epoch),
            (old.offset + 18, &head.epoch),
            "the frame too"
        );
        assert_eq!(
            (new.kind, new.ts, new.deleted),
            (old.kind, old.ts, old.deleted)
        );
        let moved = old
            .target
            .map(|target| target + if target >= 3 { 18 } else { 0 });
        assert_eq!(new.target, moved);
        assert_eq!(
            new.body.map(|body| body.get()),
            old.body.map(|body| body.get())
        );
    }
    // Their nonces, changes and deletions have moved too.
    let again = pair
        .b
        .publish(&room, &[draft(&room, "alice", "c", "c")])
        .await;
    assert_eq!(again[0].position().unwrap().offset, 21);
    let changes = pair
        .b
        .broker
        .changes(&room, &[21..=21], 0, 10)
        .await
        .unwrap();
    let kinds = changes
        .iter()
        .map(|change| (change.kind(), change.position.offset));
    let kinds: Vec<_> = kinds.collect();
    assert_eq!(kinds, [(EventKind::Edited, 23)]);
    let gone = pair
        .b
        .publish(&room, &[edit(&pair.b, &room, 22, "late").await])
        .await;
    assert_eq!(gone, [Published::Gone]);
    assert_eq!(say(&pair.a, &room, "next").await, 27);
}

/// A change was prepared, and the room begins a new epoch before the change is stored.
pub(crate) async fn a_change_of_another_epoch_is_refused(pair: Pair) {
    let room = room("mixed");
    for nonce in ["a", "b"] {
        say(&pair.a, &room, nonce).await;
    }
    let old = last(&pair.a, &room).await.epoch;
    pair.a.begin(&room, carried_from(0, 2)).await;
    let of_old = |draft: Draft| draft.of_epoch(old.clone());
    let moved = pair
        .b
        .publish(&room, &[of_old(edit(&pair.b, &room, 2, "1").await)])
        .await;
    assert_eq!(moved, [Published::Gone], "the message has moved");
    say(&pair.a, &room, "c").await;
    let other = pair
        .b
        .publish(&room, &[of_old(edit(&pair.b, &room, 4, "2").await)])
        .await;
    assert_eq!(other, [Published::Gone], "another message is at this place");
    let kept = pair
        .b
        .publish(&room, &[of_old(edit(&pair.b, &room, 1, "3").await)])
        .await;
    assert_eq!(stored(&kept[0]), 5, "that message has not moved");
}

pub(crate) async fn what_is_lost_is_remembered(pair: Pair) {
    let room = room("lost");
    say(&pair.a, &room, "a").await;
    let epoch = last(&pair.a, &room).await.epoch;
    let lost = Lost {
        epoch,
        first: 2,
        last: 9,
    };
    let begin = NewEpoch {
        lost: Some(lost.clone()),
        ..above(9)
    };
    pair.a.begin(&room, begin).await;
    let state = pair.b.broker.state(&room).await.unwrap().unwrap();
    if pair.redis.is_some() {
        assert_eq!(state.lost, [lost]);
    }
    assert_eq!(state.base, 9);
}

/// The keys were copied one by one, so the note about the stream is older than the stream.
pub(crate) async fn a_note_behind_its_stream_is_mended(pair: Pair) {
    let room = room("note");
    say(&pair.a, &room, "a").await;
    let redis = pair.redis.as_ref().expect("over Redis");
    let notes: Vec<String> = redis.command(&["KEYS", "*:room:note:meta"]).await;
    let [note] = &notes[..] else {
        panic!("{notes:?}")
    };
    redis.command::<()>(&["COPY", note, "older"]).await;
    for nonce in ["b", "c"] {
        say(&pair.a, &room, nonce).await;
    }
    redis.command::<()>(&["RENAME", "older", note]).await;
    let drafts = [draft(&room, "alice", "d", "d")];
    assert!(is_refused(&pair.a.try_publish(&room, &drafts, None).await));
    assert_eq!(stored(&pair.a.publish(&room, &drafts).await[0]), 4);
    assert_eq!(all(&pair.b, &room).await.len(), 4);
}

/// Redis shows an older state, on a connection that stays open.
pub(crate) async fn a_run_that_ended_does_not_come_back(pair: Pair) {
    let room = room("back");
    say(&pair.a, &room, "a").await;
    let first = pair.a.broker.run(&room);
    let redis = pair.redis.as_ref().expect("over Redis");
    let is_other = async |line: &Line, run: &str| {
        let changed = async || (*line.broker.run(&room) != *run).then_some(());
        eventually("another run", PATIENCE, changed).await;
    };
    // Two databases are swapped. The other one is empty.
    redis.command::<()>(&["SWAPDB", "0", "1"]).await;
    is_other(&pair.a, &first).await;
    is_other(&pair.b, &first).await;
    let second = pair.a.broker.run(&room);
    redis.command::<()>(&["SWAPDB", "0", "1"]).await;
    is_other(&pair.a, &second).await;
    let third = pair.a.broker.run(&room);
    assert!(*third != *first, "the old data begins a new run");
    let drafts = [draft(&room, "alice", "b", "b")];
    assert!(is_refused(&pair.a.try_publish(&room, &drafts, None).await));
}

pub(crate) async fn a_restart_begins_another_run(mut pair: Pair) {
    let room = room("restart");
    say(&pair.a, &room, "a").await;
    let before = pair.a.broker.run(&room);
    let redis = pair.redis.as_mut().expect("over Redis");
    redis.kill9();
    redis.restart().await;
    let changed = async || (*pair.a.broker.run(&room) != *before).then_some(());
    eventually("another run", PATIENCE, changed).await;
    let drafts = [draft(&room, "alice", "b", "b")];
    assert!(is_refused(&pair.a.try_publish(&room, &drafts, None).await));
    assert_eq!(stored(&pair.a.publish(&room, &drafts).await[0]), 2);
    let again = pair.b.try_publish(&room, &drafts, None).await;
    assert!(!is_refused(&again), "compared once in a run: {again:?}");
}
