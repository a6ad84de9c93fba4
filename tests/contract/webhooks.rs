//! Events that wait for webhooks: in order, by reference, until they are marked as delivered.

use std::time::Duration;

use hubbub_broker::{
    Attendance, Broker, Item, Mark, NewEpoch, WaitingRooms, WebhookEvent, WebhookQueue,
};
use hubbub_protocol::event::StoredEvent;
use hubbub_protocol::{Draft, RoomId};
use hubbub_tests::deadline::eventually;

use crate::fixture::{Pair, STREAM_LEN, draft, room, stored, user};

/// A node knows its partitions after the first renewal.
const OWNER_KNOWN: Duration = Duration::from_secs(15);

fn queue(name: &str, events: &[WebhookEvent], rooms: &[&str]) -> WebhookQueue {
    WebhookQueue {
        name: name.to_owned(),
        events: events.to_vec(),
        rooms: rooms.iter().map(|room| (*room).to_owned()).collect(),
    }
}

/// A webhook for all events.
fn all() -> WebhookQueue {
    queue("all", &WebhookEvent::ALL, &[])
}

/// A webhook for joins and leaves.
fn door() -> WebhookQueue {
    queue("door", &[WebhookEvent::Joined, WebhookEvent::Left], &[])
}

/// A webhook for messages in some rooms.
fn team() -> WebhookQueue {
    queue("team:1", &[WebhookEvent::Message], &["team-*"])
}

/// The webhooks of every scenario's cluster.
pub(crate) fn queues() -> Vec<WebhookQueue> {
    vec![all(), door(), team()]
}

fn show(item: &Item) -> String {
    match item {
        Item::Event(event) => event.position.offset.to_string(),
        Item::Attended(attended) => format!("{}:{}", attended.event.as_str(), attended.user.id),
    }
}

/// The due events, and how many are lost.
async fn due(broker: &Broker, queue: &WebhookQueue, room: &RoomId) -> Option<(String, u64)> {
    let due = broker.due(queue, room, 100).await.unwrap()?;
    let items: Vec<String> = due.items.iter().map(show).collect();
    Some((items.join(" "), due.lost))
}

async fn tell_all(broker: &Broker, queue: &WebhookQueue, room: &RoomId) -> bool {
    let due = broker.due(queue, room, 1_000).await.unwrap().unwrap();
    broker.told(queue, room, due.through).await.unwrap()
}

/// The waiting rooms as seen by both nodes.
async fn waiting(pair: &Pair, queue: &WebhookQueue) -> [WaitingRooms; 2] {
    let ask = async |broker: &Broker| broker.waiting_for(queue, 10).await.unwrap();
    [ask(&pair.a.broker).await, ask(&pair.b.broker).await]
}

async fn wait_until_waiting(pair: &Pair, queue: &WebhookQueue, room: &RoomId) {
    let by_one = async || {
        let seen = waiting(pair, queue).await;
        let rooms: Vec<_> = seen.iter().flat_map(|seen| &seen.rooms).collect();
        let count: u64 = seen.iter().map(|seen| seen.count).sum();
        (rooms.len() == 1 && rooms[0].0 == *room && count == 1).then_some(())
    };
    eventually("one node sees that the room waits", OWNER_KNOWN, by_one).await;
}

pub(crate) async fn events_joins_and_leaves_are_due_in_their_order(pair: Pair) {
    let room = room("lobby");
    let drafts = [
        draft(&room, "alice", "1", "x"),
        draft(&room, "alice", "2", "x"),
    ];
    pair.a.publish(&room, &drafts).await;
    let users = [user("alice"), user("bob")].map(Attendance::Enter);
    pair.a.broker.register(&room, &users).await.unwrap();
    pair.b
        .publish(&room, &[draft(&room, "alice", "3", "x")])
        .await;
    pair.a.exit(&room, &user("bob")).await;
    wait_until_waiting(&pair, &all(), &room).await;
    let [a, b] = [&pair.a.broker, &pair.b.broker];
    let (items, lost) = due(b, &all(), &room).await.unwrap();
    assert_eq!(items, "1 2 joined:alice joined:bob 3 left:bob");
    assert_eq!(lost, 0);
    let (items, _) = due(a, &door(), &room).await.unwrap();
    assert_eq!(items, "joined:alice joined:bob left:bob");
    assert_eq!(due(a, &team(), &room).await, None);

    let mark = Mark { offset: 2, step: 1 };
    assert!(a.told(&all(), &room, mark).await.unwrap(), "there is more");
    // A mark from an owner that is behind does not move the position back.
    let old = Mark { offset: 1, step: 0 };
    assert!(b.told(&all(), &room, old).await.unwrap());
    let (items, _) = due(b, &all(), &room).await.unwrap();
    assert_eq!(items, "joined:bob 3 left:bob");
    assert!(!tell_all(b, &all(), &room).await);
    assert_eq!(due(a, &all(), &room).await, None);
    assert_eq!(waiting(&pair, &all()).await.map(|seen| seen.count), [0, 0]);
    // The other webhooks have not moved.
    let (items, _) = due(a, &door(), &room).await.unwrap();
    assert_eq!(items, "joined:alice joined:bob left:bob");
    assert!(!tell_all(a, &door(), &room).await);

    pair.a
        .publish(&room, &[draft(&room, "alice", "4", "x")])
        .await;
    assert_eq!(due(b, &all(), &room).await.unwrap(), ("4".to_owned(), 0));
}

pub(crate) async fn a_page_ends_and_the_next_goes_on(pair: Pair) {
    let room = room("pages");
    for n in 0..5 {
        pair.a
            .publish(&room, &[draft(&room, "alice", &n.to_string(), "x")])
            .await;
        pair.a.enter(&room, &user(&format!("user-{n}"))).await;
    }
    let mut told = Vec::new();
    loop {
        let due = pair.b.broker.due(&all(), &room, 2).await.unwrap().unwrap();
        told.extend(due.items.iter().map(show));
        assert_eq!(due.lost, 0);
        if !pair
            .b
            .broker
            .told(&all(), &room, due.through)
            .await
            .unwrap()
        {
            break;
        }
    }
    let expected: Vec<_> = (0..5)
        .flat_map(|n| [(n + 1).to_string(), format!("joined:user-{n}")])
        .collect();
    assert_eq!(told, expected);
}

pub(crate) async fn a_room_waits_only_for_who_wants_it(pair: Pair) {
    let (lobby, team_a) = (room("lobby"), room("team-a"));
    for room in [&lobby, &team_a] {
        pair.a
            .publish(room, &[draft(room, "alice", "1", "x")])
            .await;
    }
    wait_until_waiting(&pair, &team(), &team_a).await;
    assert_eq!(due(&pair.a.broker, &team(), &lobby).await, None);
    assert_eq!(due(&pair.a.broker, &door(), &team_a).await, None);
    let unknown = queue("unknown", &WebhookEvent::ALL, &[]);
    assert_eq!(due(&pair.a.broker, &unknown, &lobby).await, None);
}

pub(crate) async fn a_deleted_body_is_due_no_more(pair: Pair) {
    let room = room("deleted");
    let secret = draft(&room, "alice", "1", "secret");
    let outcomes = pair.a.publish(&room, std::slice::from_ref(&secret)).await;
    let target = stored(&outcomes[0]);
    let page = pair.a.broker.due(&all(), &room, 10).await.unwrap().unwrap();
    let Item::Event(original) = &page.items[0] else {
        panic!("{page:?}")
    };
    let original = StoredEvent::parse(original.frame.as_str()).unwrap();
    let delete = Draft::delete(&room, &user("alice"), None, target, &original);
    pair.b.publish(&room, &[delete]).await;
    let page = pair.a.broker.due(&all(), &room, 10).await.unwrap().unwrap();
    assert_eq!(page.items.len(), 2);
    assert!(!format!("{page:?}").contains("secret"));
}

pub(crate) async fn what_left_the_stream_is_counted(pair: Pair) {
    let room = room("long");
    let count = 3 * STREAM_LEN;
    for n in 0..count / 50 {
        let nonce = |i: usize| format!("{n}-{i}");
        let drafts: Vec<_> = (0..50)
            .map(|i| draft(&room, "alice", &nonce(i), "x"))
            .collect();
        pair.a.publish(&room, &drafts).await;
    }
    let page = pair
        .b
        .broker
        .due(&all(), &room, 1_000)
        .await
        .unwrap()
        .unwrap();
    assert!(page.lost > 0, "{}", page.lost);
    assert_eq!(page.lost + page.items.len() as u64, count as u64);
    assert!(
        !pair
            .b
            .broker
            .told(&all(), &room, page.through)
            .await
            .unwrap()
    );
}

pub(crate) async fn older_events_are_due_after_a_new_epoch_too(pair: Pair) {
    let room = room("forked");
    pair.a
        .publish(&room, &[draft(&room, "alice", "1", "x")])
        .await;
    pair.a.enter(&room, &user("alice")).await;
    let begin = NewEpoch {
        above: 10,
        ..NewEpoch::first()
    };
    pair.a.begin(&room, begin).await;
    let (items, lost) = due(&pair.b.broker, &all(), &room).await.unwrap();
    assert_eq!(
        (items.as_str(), lost),
        ("1 joined:alice", 0),
        "the older event stays"
    );
    pair.a
        .publish(&room, &[draft(&room, "alice", "2", "x")])
        .await;
    let (items, lost) = due(&pair.b.broker, &all(), &room).await.unwrap();
    assert_eq!((items.as_str(), lost), ("1 joined:alice 11", 0));
    assert!(!tell_all(&pair.b.broker, &all(), &room).await);
}

pub(crate) async fn joins_of_long_ago_give_way_and_are_counted(pair: Pair) {
    let room = room("door");
    let mut entered = 0_u64;
    for n in 0..3 * STREAM_LEN / 50 {
        let name = |i: usize| user(&format!("u{n}-{i}"));
        let users: Vec<_> = (0..50).map(|i| Attendance::Enter(name(i))).collect();
        pair.a.broker.register(&room, &users).await.unwrap();
        entered += 50;
    }
    let page = pair
        .b
        .broker
        .due(&door(), &room, 1_000)
        .await
        .unwrap()
        .unwrap();
    assert!(page.lost > 0, "{}", page.lost);
    assert_eq!(page.lost + page.items.len() as u64, entered);
    assert!(
        !pair
            .b
            .broker
            .told(&door(), &room, page.through)
            .await
            .unwrap()
    );
}
