//! How many bytes streams keep: each, those that one user or address has begun, and all.

use std::net::IpAddr;

use hubbub_broker::{Published, Span};
use hubbub_protocol::{Draft, RoomId};
use hubbub_tests::deadline::eventually;

use crate::fixture::{ALL_BYTES, Line, PATIENCE, Pair, STREAM_BYTES, draft, room, stored, user};

/// Bytes of a large message.
const LARGE: usize = 16_000;

fn large(room: &RoomId, from: &str, number: usize, address: Option<IpAddr>) -> Draft {
    let text = "x".repeat(LARGE);
    draft(room, from, &format!("n{number}"), &text).paid_by(address)
}

/// The bytes of a room's frames, as they are read.
async fn bytes(line: &Line, room: &RoomId) -> usize {
    let page = line.read(room, Span::After(0), 10_000).await;
    page.events.iter().map(|event| event.frame.len()).sum()
}

fn size(limit: bytesize::ByteSize) -> usize {
    usize::try_from(limit.as_u64()).unwrap()
}

pub(crate) async fn the_oldest_events_leave_a_large_stream(pair: Pair) {
    let room = room("large");
    let count = 3 * size(STREAM_BYTES) / LARGE;
    for number in 0..count {
        let last = pair
            .a
            .publish(&room, &[large(&room, "a", number, None)])
            .await;
        assert_eq!(stored(&last[0]), number as u64 + 1);
    }
    let kept = bytes(&pair.b, &room).await;
    assert!(kept <= size(STREAM_BYTES), "{kept} bytes");
    assert!(kept > size(STREAM_BYTES) / 2, "{kept} bytes");
    // Edits count with what takes the message's place.
    let last = count as u64;
    for number in 0..100 {
        let edit = crate::changes::edit(&pair.a, &room, last, &format!("e{number}")).await;
        pair.a.publish(&room, &[edit]).await;
    }
    let kept = bytes(&pair.b, &room).await;
    assert!(kept <= 2 * size(STREAM_BYTES), "{kept} bytes");
}

/// The bytes of some rooms together.
async fn bytes_of(line: &Line, rooms: &[RoomId]) -> usize {
    let mut sum = 0;
    for room in rooms {
        sum += bytes(line, room).await;
    }
    sum
}

pub(crate) async fn whoever_begins_rooms_has_an_eighth(pair: Pair) {
    let share = size(ALL_BYTES) / 8;
    let address = |last: u8| Some(IpAddr::from([10, 0, 0, last]));
    let fill = async |names: &[(String, &str, Option<IpAddr>)]| {
        let mut rooms = Vec::new();
        for (name, from, address) in names {
            let room = room(name);
            for number in 0..size(STREAM_BYTES) / 2 / LARGE {
                let event = large(&room, from, number, *address);
                pair.a.publish(&room, &[event]).await;
            }
            rooms.push(room);
        }
        rooms
    };
    let names = |prefix: &str| (0..8).map(|n| format!("{prefix}-{n}")).collect::<Vec<_>>();
    // One user from many addresses, and one address with many users.
    let of_user: Vec<_> = names("user").into_iter().zip(1..).collect();
    let of_user: Vec<_> = of_user
        .into_iter()
        .map(|(name, last)| (name, "mallory", address(last)))
        .collect();
    let of_address: Vec<_> = names("address")
        .into_iter()
        .zip(["a", "b", "c", "d", "e", "f", "g", "h"])
        .map(|(name, from)| (name, from, address(99)))
        .collect();
    let of_nobody: Vec<_> = names("nobody")
        .into_iter()
        .map(|name| (name, "mallory", None))
        .collect();
    for names in [of_user, of_address] {
        let rooms = fill(&names).await;
        eventually("they are within their part", PATIENCE, async || {
            (bytes_of(&pair.b, &rooms).await <= share).then_some(())
        })
        .await;
        let newest = pair.b.read(&rooms[7], Span::Newest, 1).await;
        assert_eq!(newest.events.len(), 1, "the newest stays");
    }
    let rooms = fill(&of_nobody).await;
    let kept = bytes_of(&pair.b, &rooms).await;
    assert!(kept > share, "rooms of nobody have no part: {kept} bytes");
}

/// What the archive does not have yet is not given up: the room takes deletions only, until it is within
/// its budget again.
pub(crate) async fn a_room_that_cannot_shrink_takes_deletions_only(pair: Pair) {
    let address = Some(IpAddr::from([10, 0, 0, 1]));
    let rooms: Vec<RoomId> = (0..4).map(|n| room(&format!("behind-{n}"))).collect();
    let mut number = 0;
    for room in &rooms {
        for _ in 0..size(STREAM_BYTES) / LARGE {
            number += 1;
            pair.a
                .publish(room, &[large(room, "mallory", number, address)])
                .await;
        }
    }
    let room = &rooms[0];
    let next = async |number: usize| {
        let text = draft(room, "bob", &format!("b{number}"), "hello");
        pair.b.publish(room, &[text]).await
    };
    let mut tries = 0;
    eventually("the room is crowded", PATIENCE, async || {
        tries += 1;
        (next(tries).await == [Published::Crowded]).then_some(())
    })
    .await;
    let first = pair.b.read(room, Span::After(0), 1).await;
    let first = &first.events[0];
    assert_eq!(first.position.offset, 1, "nothing has left it");
    let delete = Draft::delete(room, &user("mallory"), None, 1, &first.read().unwrap());
    let deleted = pair.b.publish(room, &[delete]).await;
    assert!(stored(&deleted[0]) > 1);
    // The archive has it: now it shrinks, and takes messages again.
    for room in &rooms {
        let page = pair.a.read(room, Span::Newest, 1).await;
        let end = page.events[0].position.clone();
        pair.a.broker.archived(room, &end).await.unwrap();
    }
    eventually("the room takes messages again", PATIENCE, async || {
        tries += 1;
        let outcome = next(tries).await;
        matches!(outcome[..], [Published::Stored { .. }]).then_some(())
    })
    .await;
}
