//! Direct messages: only the two, in both directions.

use hubbub_tests::cluster::Cluster;
use serde_json::json;

on_both_archives!(with &[hubbub_tests::people::SIGNED]; a_direct_message_is_for_two,);

async fn a_direct_message_is_for_two(cluster: Cluster) {
    let room = "dm:alice:bob";
    let (mut alice, mut bob) = (cluster.user(0, "alice").await, cluster.user(1, "bob").await);
    let mut eve = cluster.user(2, "eve").await;
    for command in [
        json!({"type": "join", "room": room}),
        json!({"type": "history", "room": room}),
        json!({"type": "members", "room": room}),
        json!({"type": "join", "room": "dm:eve:alice"}),
        json!({"type": "join", "room": "dm:alice:bob:eve"}),
    ] {
        assert_eq!(eve.refused(command).await, "forbidden");
    }
    let own = |rooms: &serde_json::Value| {
        let rooms = rooms["rooms"].as_array().expect("rooms");
        rooms.iter().find(|entry| entry["room"] == room).cloned()
    };
    assert_eq!(
        own(&bob.ask(json!({"type": "rooms"})).await),
        None,
        "nothing was said yet"
    );
    alice.join(room).await;
    alice.say(room, "hi @bob").await;
    let entry = own(&bob.ask(json!({"type": "rooms"})).await).expect("listed for both");
    assert_eq!(
        (&entry["unread"], &entry["mentions"]),
        (&json!(1), &json!(1)),
        "{entry}"
    );
    assert_eq!(entry["private"], true);
    assert_eq!(entry["last"]["body"]["text"], "hi @bob");
    assert_eq!(own(&eve.ask(json!({"type": "rooms"})).await), None);
    bob.join(room).await;
    assert_eq!(bob.history(room).await.len(), 1);
}
