//! How far a user has read: marks go forward, are told to the others, and count what is new.

use std::time::Duration;

use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::eventually;
use hubbub_tests::raw::Raw;
use serde_json::{Value, json};

on_both_archives!(with &[hubbub_tests::people::SIGNED]; what_is_new_is_counted_on_any_node,);

on_both_brokers!(with &[hubbub_tests::people::SIGNED]; a_direct_message_is_listed_without_an_archive);

/// Five times the time that the archive may be behind on a busy machine.
const COUNTED: Duration = Duration::from_secs(10);

async fn entry(raw: &mut Raw, room: &str) -> Value {
    let rooms = raw.ask(json!({"type": "rooms"})).await;
    let rooms = rooms["rooms"].as_array().expect("rooms");
    let entry = rooms.iter().find(|entry| entry["room"] == room);
    entry.cloned().unwrap_or(Value::Null)
}

async fn what_is_new_is_counted_on_any_node(cluster: Cluster) {
    let room = "unread";
    let (mut alice, mut bob) = (cluster.user(0, "alice").await, cluster.user(1, "bob").await);
    alice.join(room).await;
    alice.say(room, "before bob").await;
    bob.join(room).await;
    let at_join = entry(&mut bob, room).await;
    assert_eq!(
        (&at_join["unread"], &at_join["mine"]),
        (&json!(0), &json!(true)),
        "{at_join}"
    );
    for n in 0..3 {
        alice.say(room, &format!("news {n} @bob")).await;
    }
    let mut elsewhere = cluster.user(2, "bob").await;
    let news = entry(&mut elsewhere, room).await;
    assert_eq!(
        (&news["unread"], &news["mentions"]),
        (&json!(3), &json!(3)),
        "{news}"
    );
    assert_eq!(
        (&news["offset"], &news["last"]["offset"]),
        (&json!(4), &json!(4))
    );
    assert_eq!(
        entry(&mut alice, room).await["unread"],
        0,
        "one's own are not news"
    );
    bob.write(json!({"type": "read", "room": room, "offset": 3}).to_string())
        .await;
    let told = alice.next_of("read").await;
    assert_eq!(
        (&told["user"]["id"], &told["offset"]),
        (&json!("bob"), &json!(3))
    );
    bob.write(json!({"type": "read", "room": room, "offset": 1}).to_string())
        .await;
    let left = entry(&mut bob, room).await;
    assert_eq!(
        (&left["unread"], &left["read"]),
        (&json!(1), &json!(3)),
        "{left}"
    );
    alice
        .ask(json!({"type": "delete", "room": room, "target": 4}))
        .await;
    let left = entry(&mut bob, room).await;
    assert_eq!(
        (&left["unread"], &left["mentions"]),
        (&json!(0), &json!(0)),
        "{left}"
    );
    for n in 0..120 {
        alice.say(room, &format!("many {n}")).await;
    }
    // They are counted in the archive, which is a moment behind.
    let counted = async || (entry(&mut bob, room).await["unread"] == 100).then_some(());
    eventually("all are counted, up to 100", COUNTED, counted).await;
}

async fn a_direct_message_is_listed_without_an_archive(cluster: Cluster) {
    let room = "dm:alice:bob";
    let (mut alice, mut bob) = (cluster.user(0, "alice").await, cluster.user(1, "bob").await);
    let mut carol = cluster.user(2, "carol").await;
    assert_eq!(entry(&mut bob, room).await, Value::Null);
    alice.join(room).await;
    alice.say(room, "are you there?").await;
    let listed = entry(&mut bob, room).await;
    assert_eq!(
        (&listed["mine"], &listed["last"]["body"]["text"]),
        (&json!(true), &json!("are you there?")),
        "{listed}"
    );
    assert_eq!(entry(&mut alice, room).await["mine"], true);
    assert_eq!(entry(&mut carol, room).await, Value::Null, "it is not hers");
    bob.join(room).await;
    assert_eq!(bob.history(room).await.len(), 1);
    bob.say(room, "yes").await;
    let answer = async || {
        let frame = alice.next_of("message").await;
        (frame["body"]["text"] == "yes").then_some(())
    };
    eventually("the answer comes", hubbub_tests::raw::FRAME, answer).await;
}
