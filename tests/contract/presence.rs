//! Presence, and the values that all nodes share.

use hubbub_broker::Attendance;
use hubbub_protocol::{Packet, PresenceDelta};

use crate::fixture::{Line, Pair, draft, room, user};

async fn hear_delta(line: &mut Line) -> PresenceDelta {
    match line.hear_packet().await {
        Packet::Presence(delta) => delta,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn a_user_is_counted_once_over_nodes(mut pair: Pair) {
    let (room, alice) = (room("once"), user("alice"));
    pair.b.broker.subscribe(&room).await.unwrap();
    assert_eq!(pair.a.enter(&room, &alice).await.count, 1);
    assert_eq!(pair.b.enter(&room, &alice).await.count, 1);
    assert_eq!(pair.b.enter(&room, &user("bob")).await.count, 2);
    pair.a.exit(&room, &alice).await;
    assert_eq!(pair.a.broker.presence(&room, 10).await.unwrap().count, 2);
    pair.b.exit(&room, &alice).await;

    let deltas = [
        hear_delta(&mut pair.b).await,
        hear_delta(&mut pair.b).await,
        hear_delta(&mut pair.b).await,
    ];
    assert_eq!(
        deltas.each_ref().map(|delta| (delta.version, delta.count)),
        [(1, 1), (2, 2), (3, 1)]
    );
    assert_eq!(deltas[0].joined, std::slice::from_ref(&alice));
    assert_eq!(deltas[1].joined, [user("bob")]);
    assert_eq!(deltas[2].left, [alice]);
}

pub(crate) async fn entering_and_exiting_are_idempotent(pair: Pair) {
    let (room, alice) = (room("idempotent"), user("alice"));
    for _ in 0..3 {
        let presence = pair.a.enter(&room, &alice).await;
        assert_eq!((presence.count, presence.version), (1, 1));
    }
    for _ in 0..3 {
        pair.a.exit(&room, &alice).await;
    }
    let presence = pair.b.broker.presence(&room, 10).await.unwrap();
    assert_eq!((presence.count, presence.version), (0, 2));
}

pub(crate) async fn names_are_listed_up_to_a_limit(pair: Pair) {
    let room = room("names");
    for name in ["alice", "bob", "name with \"quotes\" and 1 2"] {
        pair.a.enter(&room, &user(name)).await;
    }
    let mut listed = pair.b.broker.presence(&room, 3).await.unwrap().members;
    listed.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(
        listed,
        [
            user("alice"),
            user("bob"),
            user("name with \"quotes\" and 1 2")
        ]
    );
    let unlisted = pair.b.broker.presence(&room, 2).await.unwrap();
    assert_eq!((unlisted.count, unlisted.members.len()), (3, 0));
}

pub(crate) async fn rooms_are_listed_by_their_last_change(pair: Pair) {
    let [first, second, third] = ["first", "second", "third"].map(room);
    let later = async || tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    pair.a
        .publish(&first, &[draft(&first, "alice", "1", "x")])
        .await;
    later().await;
    pair.a.enter(&second, &user("alice")).await;
    later().await;
    pair.a
        .publish(&third, &[draft(&third, "alice", "1", "x")])
        .await;
    later().await;
    pair.a
        .publish(&first, &[draft(&first, "alice", "2", "x")])
        .await;
    let rooms = pair.b.broker.rooms(2).await.unwrap();
    let seen: Vec<_> = rooms
        .iter()
        .map(|r| (r.room.as_str(), r.offset, r.members))
        .collect();
    assert_eq!(seen, [("first", 2, 0), ("third", 1, 0)]);
    assert_eq!(pair.b.broker.rooms(10).await.unwrap()[2].members, 1);
}

pub(crate) async fn all_nodes_agree_on_the_secret(pair: Pair) {
    let secret = pair.a.broker.cluster_secret().await.unwrap();
    assert_eq!(secret, pair.b.broker.cluster_secret().await.unwrap());
    assert_ne!(secret, [0; 32]);
}

pub(crate) async fn many_changes_are_one_announcement(mut pair: Pair) {
    let room = room("many");
    pair.b.broker.subscribe(&room).await.unwrap();
    let users: Vec<_> = ["a", "b", "c"].map(user).into();
    let enter: Vec<_> = users.iter().cloned().map(Attendance::Enter).collect();
    assert_eq!(
        pair.a.broker.register(&room, &enter).await.unwrap().count,
        3
    );
    let change = [
        Attendance::Exit(users[0].id.clone()),
        Attendance::Enter(user("d")),
    ];
    pair.a.broker.register(&room, &change).await.unwrap();
    let first = hear_delta(&mut pair.b).await;
    assert_eq!((first.version, first.count), (1, 3));
    assert_eq!((first.joined, first.left), (users.clone(), vec![]));
    let second = hear_delta(&mut pair.b).await;
    assert_eq!((second.version, second.count), (2, 3));
    assert_eq!(second.joined, [user("d")]);
    assert_eq!(second.left, users[..1]);
}
