//! `GET /v1/rooms` and `…/members`: what is going on, and who is there.

use std::time::{Duration, Instant};

use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::eventually;
use serde_json::{Value, json};

use crate::asking::{Asker, assert_problem};

on_both_archives!(
    rooms_say_what_is_new,
    members_are_those_of_all_nodes,
    who_has_no_connection_marks_what_is_read_and_types,
    what_is_told_in_passing_is_told_once_a_second,
);

const DEADLINE: Duration = Duration::from_secs(20);

async fn room_of(asker: &Asker, room: &str) -> Option<Value> {
    let rooms = asker.read("/v1/rooms").await;
    let rooms = rooms["rooms"].as_array().expect("rooms").clone();
    rooms.into_iter().find(|entry| entry["room"] == room)
}

async fn rooms_say_what_is_new(cluster: Cluster) {
    let mut alice = cluster.user(0, "alice").await;
    let mut bob = cluster.user(1, "bob").await;
    alice.join("news").await;
    bob.join("news").await;
    alice.say("news", "hello @bob").await;
    alice.say("news", "are you there?").await;
    let asker = Asker::user(&cluster, 0, "bob");
    let (entry, _) = eventually("bob is told of both", DEADLINE, async || {
        let entry = room_of(&asker, "news").await?;
        (entry["unread"] == 2).then_some(entry)
    })
    .await;
    assert_eq!(entry["mine"], true);
    assert_eq!(entry["mentions"], 1);
    assert_eq!(entry["members"], 2);
    assert_eq!(entry["last"]["body"]["text"], "are you there?");
    let stranger = room_of(&Asker::user(&cluster, 1, "eve"), "news").await;
    let stranger = stranger.expect("a public room is listed");
    assert_eq!(stranger["offset"], 2);
    assert_eq!(stranger.get("mine"), None, "{stranger}");
}

async fn members_are_those_of_all_nodes(cluster: Cluster) {
    let mut alice = cluster.user(0, "alice").await;
    let mut bob = cluster.user(1, "bob").await;
    alice.join("here").await;
    bob.join("here").await;
    let asker = Asker::user(&cluster, 1, "eve");
    let (members, _) = eventually("both are present", DEADLINE, async || {
        let members = asker.read("/v1/rooms/here/members").await;
        (members["count"] == 2).then_some(members)
    })
    .await;
    let mut ids: Vec<&str> = members["members"]
        .as_array()
        .expect("members")
        .iter()
        .filter_map(|member| member["id"].as_str())
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, ["alice", "bob"]);
    assert_eq!(members["room"], "here");
    assert_eq!(members.get("invited"), None, "a public room invites nobody");
    let nobody = asker.read("/v1/rooms/empty/members").await;
    assert_eq!(nobody, json!({"room": "empty", "count": 0, "members": []}));
}

async fn who_has_no_connection_marks_what_is_read_and_types(cluster: Cluster) {
    const READ: &str = "/v1/rooms/news/read";
    const TYPING: &str = "/v1/rooms/news/typing";
    let mut alice = cluster.user(0, "alice").await;
    alice.join("news").await;
    for text in ["one", "two", "three"] {
        alice.say("news", text).await;
    }
    let bob = Asker::user(&cluster, 1, "bob");
    let unread = async |count: u64| {
        eventually("bob's room counts what is unread", DEADLINE, async || {
            let entry = room_of(&bob, "news").await?;
            (entry["unread"] == count).then_some(())
        })
        .await;
    };
    // The second goes back, so nobody is told.
    for (said, told, left) in [(2, 2, 1), (1, 0, 1), (99, 3, 0)] {
        let marked = bob.send("PUT", READ, Some(&json!({"offset": said}))).await;
        assert_eq!(marked.status, 204, "{marked:?}");
        if told == 0 {
            continue;
        }
        let heard = alice.next_of("read").await;
        assert_eq!(
            (&heard["user"]["id"], &heard["offset"]),
            (&json!("bob"), &json!(told))
        );
        unread(left).await;
    }
    alice.say("news", "four").await;
    unread(1).await;
    for on in [true, false] {
        let marked = bob.send("PUT", TYPING, Some(&json!({"on": on}))).await;
        assert_eq!(marked.status, 204, "{marked:?}");
        let heard = alice.next_of("typing").await;
        assert_eq!(
            (&heard["user"]["id"], &heard["on"]),
            (&json!("bob"), &json!(on))
        );
    }
    for (path, body) in [(READ, json!({"offset": -1})), (TYPING, json!({}))] {
        assert_problem(&bob.send("PUT", path, Some(&body)).await, 400, "bad_frame");
    }
    assert_problem(&bob.send("PUT", READ, None).await, 400, "bad_frame");
    for path in [
        "/v1/rooms/dm:alice:carol/read",
        "/v1/rooms/dm:alice:carol/typing",
    ] {
        let body = json!({"offset": 1, "on": true});
        assert_problem(&bob.send("PUT", path, Some(&body)).await, 403, "forbidden");
    }
    let marked = bob
        .send("PUT", "/v1/rooms/empty/read", Some(&json!({"offset": 5})))
        .await;
    assert_eq!(marked.status, 204, "nothing to read there");
    assert_eq!(room_of(&bob, "empty").await, None);
}

/// Over REST at any pace, and with a connection of the same user's besides.
async fn what_is_told_in_passing_is_told_once_a_second(cluster: Cluster) {
    let mut alice = cluster.user(1, "alice").await;
    let mut bob = cluster.user(0, "bob").await;
    for raw in [&mut alice, &mut bob] {
        raw.join("news").await;
    }
    for _ in 0..15 {
        alice.say("news", "something").await;
    }
    let asker = Asker::user(&cluster, 0, "bob");
    let began = Instant::now();
    for number in 0..30 {
        let on = number % 2 == 0;
        let typing = json!({"type": "typing", "room": "news", "on": on});
        bob.write(typing.to_string()).await;
        for (path, body) in [
            ("/v1/rooms/news/typing", json!({"on": on})),
            ("/v1/rooms/news/read", json!({"offset": number / 2 + 1})),
        ] {
            let marked = asker.send("PUT", path, Some(&body)).await;
            assert_eq!(marked.status, 204, "{marked:?}");
        }
    }
    let mut told = (0, Vec::new());
    // The last word is told at the interval's end.
    while told.1.last() != Some(&15) {
        let frame = alice.next().await;
        match frame["type"].as_str() {
            Some("typing") => told.0 += 1,
            Some("read") if frame["user"]["id"] == "bob" => {
                told.1.push(frame["offset"].as_u64().expect("an offset"));
            }
            _ => {}
        }
    }
    let most = 2 + began.elapsed().as_secs();
    assert!(told.0 <= most && told.1.len() as u64 <= most, "{told:?}");
    assert!(told.1.is_sorted(), "marks only go forward: {told:?}");
}
