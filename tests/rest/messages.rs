//! `GET /v1/rooms/{room}/messages`: the same pages as over the socket.

use hubbub_tests::cluster::Cluster;
use serde_json::{Value, json};

use crate::asking::{Asker, assert_problem};

on_both_archives!(
    pages_lead_in_both_directions,
    a_page_is_folded,
    a_page_is_what_the_socket_gives,
    odd_questions_are_refused,
);

fn offsets(page: &Value) -> Vec<u64> {
    let events = page["events"].as_array().expect("events");
    let offset = |event: &Value| event["offset"].as_u64().expect("an offset");
    events.iter().map(offset).collect()
}

async fn pages_lead_in_both_directions(cluster: Cluster) {
    let mut alice = cluster.user(0, "alice").await;
    alice.join("pages").await;
    for number in 1..=30 {
        alice.say("pages", &format!("message {number}")).await;
    }
    let bob = Asker::user(&cluster, 1, "bob");
    let read = async |query: &str| bob.read(&format!("/v1/rooms/pages/messages{query}")).await;
    let cases: [(&str, Vec<u64>, bool); 9] = [
        ("", (1..=30).collect(), false),
        ("?limit=3", vec![28, 29, 30], true),
        ("?before=11&limit=3", vec![8, 9, 10], true),
        ("?before=3", vec![1, 2], false),
        ("?before=1", vec![], false),
        ("?after=0&limit=2", vec![1, 2], true),
        ("?after=28", vec![29, 30], false),
        ("?around=15&limit=4", vec![13, 14, 15, 16], true),
        (
            "?limit=1000000000000000000000&unknown=x",
            (1..=30).collect(),
            false,
        ),
    ];
    for (query, expected, more) in cases {
        let page = read(query).await;
        assert_eq!(page["room"], "pages");
        assert_eq!(offsets(&page), expected, "{query}");
        assert_eq!(page["more"], more, "{query}");
    }
    let nobody = read("?before=9007199254740993&limit=1").await;
    assert_eq!(offsets(&nobody), [30], "beyond the end is the end");
    let empty = bob.read("/v1/rooms/nobody-was-here/messages").await;
    assert_eq!(
        empty,
        json!({"room": "nobody-was-here", "events": [], "more": false})
    );
}

async fn a_page_is_folded(cluster: Cluster) {
    let mut alice = cluster.user(0, "alice").await;
    alice.join("fold").await;
    for text in ["one", "two", "three"] {
        alice.say("fold", text).await;
    }
    for command in [
        json!({"type": "edit", "room": "fold", "target": 1, "body": {"text": "uno"}}),
        json!({"type": "delete", "room": "fold", "target": 2}),
        json!({"type": "react", "room": "fold", "target": 3, "key": "👍"}),
    ] {
        let sent = alice.ask(command).await;
        assert_eq!(sent["type"], "sent", "{sent}");
    }
    let page = Asker::user(&cluster, 1, "bob")
        .read("/v1/rooms/fold/messages")
        .await;
    let events = &page["events"];
    assert_eq!(offsets(&page), [1, 2, 3]);
    assert_eq!(events[0]["body"]["text"], "uno");
    assert_eq!(events[0]["edited"]["offset"], 4);
    assert_eq!(events[1]["deleted"], true);
    assert_eq!(events[1].get("body"), None);
    let reactions = json!([{"key": "👍", "count": 1, "users": ["alice"]}]);
    assert_eq!(events[2]["reactions"], reactions);
}

async fn a_page_is_what_the_socket_gives(cluster: Cluster) {
    let mut alice = cluster.user(0, "alice").await;
    alice.join("same").await;
    // Key order, big numbers and odd text: parsing and writing again would change them.
    for body in [
        json!({"z": 1, "a": 2, "text": "\u{2028}\u{0} \u{1f419} \\ \""}),
        json!(18_446_744_073_709_551_615_u64),
        json!([1.0, 1e3, -0.0, null]),
    ] {
        let send = json!({"type": "send", "room": "same", "body": body});
        assert_eq!(alice.ask(send).await["type"], "sent");
    }
    let command = json!({"type": "history", "room": "same"});
    let over_socket = alice.ask(command).await;
    let answer = Asker::user(&cluster, 1, "bob")
        .get("/v1/rooms/same/messages")
        .await;
    assert_eq!(answer.json()["events"], over_socket["events"]);
    for event in over_socket["events"].as_array().expect("events") {
        assert!(
            answer.body.contains(&event.to_string()),
            "byte for byte: {event}"
        );
    }
}

async fn odd_questions_are_refused(cluster: Cluster) {
    let bob = Asker::user(&cluster, 0, "bob");
    for query in [
        "before=x",
        "before=-1",
        "before=",
        "after=1.5",
        "limit=many",
        "limit=-1",
        "before=1&after=2",
        "after=1&around=2",
        "before=1&before=2",
        "around=%zz",
    ] {
        let path = format!("/v1/rooms/lobby/messages?{query}");
        let answer = bob.get(&path).await;
        assert_problem(&answer, 400, "bad_frame");
    }
    for room in ["a%20b", "%E2%82%AC", "a%2Fb", "%7Bp%7D", &"r".repeat(129)] {
        let answer = bob.get(&format!("/v1/rooms/{room}/messages")).await;
        assert_problem(&answer, 400, "bad_room");
    }
    let not_utf8 = bob.get("/v1/rooms/%FF/messages").await;
    assert_problem(&not_utf8, 400, "bad_frame");
}
