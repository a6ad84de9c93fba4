//! Numbering, storing, reading and delivering events.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hubbub_broker::{BrokerError, Published, Span};
use hubbub_protocol::{ConnectionId, Frame, Packet, Position, RoomId, StoredEvent};

use crate::fixture::{Line, Pair, STREAM_LEN, draft, room, stored};

async fn fill(line: &Line, room: &RoomId, count: usize) {
    for batch in (0..count).collect::<Vec<_>>().chunks(50) {
        let drafts: Vec<_> = batch
            .iter()
            .map(|n| draft(room, "alice", &format!("n{n}"), "x"))
            .collect();
        line.publish(room, &drafts).await;
    }
}

async fn offsets(line: &Line, room: &RoomId, span: Span, limit: usize) -> Vec<u64> {
    let page = line.read(room, span, limit).await;
    page.events
        .iter()
        .map(|event| event.position.offset)
        .collect()
}

pub(crate) async fn all_nodes_hear_one_order(mut pair: Pair) {
    let room = room("order");
    pair.a.broker.subscribe(&room).await.unwrap();
    pair.b.broker.subscribe(&room).await.unwrap();
    let publish = async |line: &Line, from: &str| {
        for n in 0..100 {
            line.publish(
                &room,
                &[draft(&room, from, &format!("n{n}"), "hello \"you\" äöü")],
            )
            .await;
        }
    };
    tokio::join!(publish(&pair.a, "alice"), publish(&pair.b, "bob"));
    let (a, b) = (pair.a.hear_events(200).await, pair.b.hear_events(200).await);
    assert_eq!(a, b);
    for (index, frame) in a.iter().enumerate() {
        assert_eq!(StoredEvent::parse(frame).unwrap().offset, index as u64 + 1);
    }
    let kept = pair.a.read(&room, Span::After(0), 300).await;
    let kept: Vec<_> = kept
        .events
        .iter()
        .map(|event| event.frame.as_str())
        .collect();
    assert_eq!(kept, a, "the stream has the delivered events");
}

pub(crate) async fn a_nonce_is_stored_once_on_any_node(pair: Pair) {
    let room = room("nonce");
    let first = pair
        .a
        .publish(&room, &[draft(&room, "alice", "n", "one")])
        .await;
    let again = pair
        .b
        .publish(&room, &[draft(&room, "alice", "n", "one")])
        .await;
    let other = pair
        .b
        .publish(&room, &[draft(&room, "bob", "n", "two")])
        .await;
    let Published::Duplicate {
        position,
        original: Some(original),
    } = &again[0]
    else {
        panic!("{again:?}")
    };
    assert_eq!(
        (stored(&first[0]), position.offset, stored(&other[0])),
        (1, 1, 2)
    );
    let head = StoredEvent::parse(original.as_str()).unwrap();
    assert_eq!(head.body.unwrap().get(), r#"{"text":"one"}"#);
}

pub(crate) async fn a_nonce_twice_in_one_batch_is_stored_once(pair: Pair) {
    let room = room("batch");
    let drafts = ["a", "b", "a", "c"].map(|nonce| draft(&room, "alice", nonce, nonce));
    let outcomes = pair.a.publish(&room, &drafts).await;
    let Published::Duplicate { position, .. } = &outcomes[2] else {
        panic!("{outcomes:?}")
    };
    assert_eq!(position.offset, 1);
    assert_eq!([0, 1, 3].map(|index| stored(&outcomes[index])), [1, 2, 3]);
}

pub(crate) async fn pages_are_read_from_either_end(pair: Pair) {
    let room = room("pages");
    fill(&pair.a, &room, 10).await;
    assert_eq!(offsets(&pair.b, &room, Span::After(0), 3).await, [1, 2, 3]);
    assert_eq!(offsets(&pair.b, &room, Span::After(8), 9).await, [9, 10]);
    assert_eq!(offsets(&pair.b, &room, Span::After(10), 9).await, [0; 0]);
    assert_eq!(offsets(&pair.b, &room, Span::Before(4), 2).await, [2, 3]);
    assert_eq!(offsets(&pair.b, &room, Span::Newest, 2).await, [9, 10]);
    let page = pair.b.read(&room, Span::Newest, 0).await;
    assert_eq!((page.head.offset, page.events.len()), (10, 0));
}

pub(crate) async fn an_empty_room_has_one_epoch_and_offset_zero(pair: Pair) {
    let room = room("empty");
    let head = async |line: &Line| line.read(&room, Span::Newest, 10).await.head;
    let (a, b) = (head(&pair.a).await, head(&pair.b).await);
    assert_eq!((a.offset, &a), (0, &b));
    let outcome = pair
        .a
        .publish(&room, &[draft(&room, "alice", "n", "x")])
        .await;
    let Published::Stored { position, .. } = &outcome[0] else {
        panic!("{outcome:?}")
    };
    assert_eq!((&position.epoch, position.offset), (&a.epoch, 1));
}

/// A publish that waits for Redis may have begun long ago.
pub(crate) async fn what_was_heard_meanwhile_counts_too(mut pair: Pair) {
    let room = room("meanwhile");
    let head = pair.a.keep(&room).await;
    let redis = pair.redis.as_mut().expect("over Redis");
    redis.kill9();
    let offset = AtomicU64::new(0);
    let seen = || {
        Some(Position {
            epoch: head.epoch.clone(),
            offset: offset.load(Ordering::Relaxed),
        })
    };
    let drafts = [draft(&room, "alice", "n", "x")];
    let deadline = Instant::now() + Duration::from_secs(10);
    let publish = pair.a.broker.publish(&room, &drafts, &seen, deadline);
    let back = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        offset.store(50, Ordering::Relaxed);
        redis.restart().await;
    };
    let (published, ()) = tokio::join!(publish, back);
    assert!(
        matches!(published, Err(BrokerError::Unreconciled)),
        "{published:?}"
    );
}

pub(crate) async fn old_events_leave_a_long_stream(pair: Pair) {
    let room = room("long");
    fill(&pair.a, &room, 3 * STREAM_LEN).await;
    let kept = offsets(&pair.a, &room, Span::After(0), 10 * STREAM_LEN).await;
    assert!(
        (STREAM_LEN..2 * STREAM_LEN).contains(&kept.len()),
        "{} events",
        kept.len()
    );
    assert_eq!(kept.last(), Some(&(3 * STREAM_LEN as u64)));
}

pub(crate) async fn asking_for_history_begins_nothing(pair: Pair) {
    let room = room("nothing");
    assert!(
        pair.a
            .broker
            .peek(&room, Span::Newest, 10)
            .await
            .unwrap()
            .is_none()
    );
    assert!(pair.a.broker.rooms(10).await.unwrap().is_empty());
    fill(&pair.a, &room, 5).await;
    let page = pair.b.broker.peek(&room, Span::Before(4), 2).await.unwrap();
    let events = page.unwrap().events;
    let offsets: Vec<_> = events.iter().map(|event| event.position.offset).collect();
    assert_eq!(offsets, [2, 3]);
}

pub(crate) async fn only_subscribers_hear(mut pair: Pair) {
    let (mine, theirs) = (room("mine"), room("theirs"));
    pair.a.broker.subscribe(&mine).await.unwrap();
    pair.a.broker.subscribe(&theirs).await.unwrap();
    pair.a.broker.unsubscribe(&theirs).await;
    pair.b
        .publish(&theirs, &[draft(&theirs, "bob", "n", "x")])
        .await;
    pair.b
        .publish(&mine, &[draft(&mine, "bob", "n", "x")])
        .await;
    assert_eq!(pair.a.hear().await.room, mine);
}

pub(crate) async fn a_signal_is_heard_and_not_stored(mut pair: Pair) {
    let room = room("signal");
    pair.b.broker.subscribe(&room).await.unwrap();
    let origin = ConnectionId::generate();
    let frame = Frame::from_json(r#"{"type":"typing"}"#.into()).unwrap();
    pair.a.broker.signal(&room, &origin, &frame).await.unwrap();
    let heard = pair.b.hear_packet().await;
    assert_eq!(heard, Packet::Signal { origin, frame });
    assert_eq!(offsets(&pair.a, &room, Span::Newest, 10).await, [0; 0]);
}

pub(crate) async fn nothing_is_before_the_first(pair: Pair) {
    let room = room("before");
    fill(&pair.a, &room, 3).await;
    for before in [0, 1] {
        let page = pair.a.broker.peek(&room, Span::Before(before), 10).await;
        assert!(page.unwrap().unwrap().events.is_empty(), "before {before}");
    }
}

pub(crate) async fn two_nodes_at_once_never_take_one_place(pair: Pair) {
    let room = room("race");
    pair.a.keep(&room).await;
    let publish = |line: &Line, name: &'static str| {
        let (broker, room) = (line.broker.clone(), room.clone());
        tokio::spawn(async move {
            let mut offsets = Vec::new();
            for n in 0..200 {
                let drafts = [draft(&room, name, &format!("{name}{n}"), "x")];
                let deadline = Instant::now() + Duration::from_secs(10);
                let published = broker.publish(&room, &drafts, &|| None, deadline).await;
                offsets.push(stored(&published.unwrap()[0]));
            }
            offsets
        })
    };
    let (a, b) = (publish(&pair.a, "alice"), publish(&pair.b, "bob"));
    let mut offsets = [a.await.unwrap(), b.await.unwrap()].concat();
    offsets.sort_unstable();
    assert_eq!(offsets, (1..=400).collect::<Vec<u64>>());
}
