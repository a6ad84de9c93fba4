//! Records of rooms: made, read, changed.

use hubbub_tests::cluster::Cluster;
use hubbub_tests::people::{SIGNED, token_with};
use serde_json::{Value, json};

use crate::asking::{Asker, assert_problem};

on_both_archives!(
    a_record_is_made_read_and_changed,
    a_room_may_be_named_by_the_server,
    a_record_has_limits,
    only_whoever_made_it_and_moderators_change_it,
    a_public_room_without_a_record_can_get_one,
);

async fn a_record_is_made_read_and_changed(cluster: Cluster) {
    let alice = Asker::user(&cluster, 0, "alice");
    let new = json!({
        "room": "team-a", "title": "Team A", "topic": "plans", "settings": {"colour": "blue"}
    });
    let made = alice.post("/v1/rooms", &new).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.header("location"), Some("/v1/rooms/team-a"));
    assert_eq!(made.header("cache-control"), Some("no-store"));
    let record = made.json();
    for (name, value) in [
        ("room", json!("team-a")),
        ("title", json!("Team A")),
        ("topic", json!("plans")),
        ("private", json!(false)),
        ("created_by", json!({"id": "alice", "name": "ALICE"})),
        ("settings", json!({"colour": "blue"})),
    ] {
        assert_eq!(record[name], value, "{record}");
    }
    assert!(
        record["created"]
            .as_u64()
            .is_some_and(|ms| ms > 1_700_000_000_000)
    );
    let bob = Asker::user(&cluster, 1, "bob");
    assert_eq!(bob.read("/v1/rooms/team-a").await, record);
    let again = alice.post("/v1/rooms", &new).await;
    assert_problem(&again, 409, "conflict");

    let change = json!({"title": "A-Team", "topic": null, "settings": {"colour": "red"}});
    let changed = alice.patch("/v1/rooms/team-a", &change).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let changed = changed.json();
    assert_eq!(changed["title"], "A-Team");
    assert_eq!(changed["topic"], Value::Null);
    assert_eq!(changed["settings"], json!({"colour": "red"}));
    assert_eq!(changed["created"], record["created"]);
    assert_eq!(bob.read("/v1/rooms/team-a").await, changed);
    let nothing = alice.patch("/v1/rooms/team-a", &json!({})).await;
    assert_eq!(nothing.json(), changed, "nothing is changed by nothing");
}

async fn a_room_may_be_named_by_the_server(cluster: Cluster) {
    let alice = Asker::user(&cluster, 0, "alice");
    let made = alice.send_raw("POST", "/v1/rooms", None).await;
    assert_eq!(made.status, 201, "{made:?}");
    let location = made.header("location").expect("where it is");
    let read = Asker::user(&cluster, 1, "bob").read(location).await;
    assert_eq!(read, made.json());
    let another = alice.post("/v1/rooms", &json!({"title": "x"})).await;
    assert_ne!(another.json()["room"], read["room"]);
}

async fn a_record_has_limits(cluster: Cluster) {
    let alice = Asker::user(&cluster, 0, "alice");
    let users = |count: usize| -> Vec<String> { (0..count).map(|n| format!("u{n}")).collect() };
    let cases = [
        (400, "bad_room", json!({"room": "a b"})),
        (400, "bad_room", json!({"room": ""})),
        (400, "bad_frame", json!({"room": 7})),
        (400, "bad_frame", json!({"title": "a\nb"})),
        (400, "bad_frame", json!({"title": "t".repeat(201)})),
        (400, "bad_frame", json!({"topic": "t".repeat(1_001)})),
        (400, "bad_frame", json!({"private": "yes"})),
        (400, "bad_frame", json!({"members": users(101)})),
        (400, "bad_frame", json!({"members": ["a\nb"]})),
        (400, "bad_frame", json!({"members": [""]})),
        (400, "bad_frame", json!({"settings": [1]})),
        (
            413,
            "too_large",
            json!({"settings": {"a": "b".repeat(4_100)}}),
        ),
        (403, "forbidden", json!({"room": "dm:alice:bob"})),
    ];
    for (status, code, body) in cases {
        let answer = alice.post("/v1/rooms", &body).await;
        assert_problem(&answer, status, code);
    }
    let most = json!({
        "room": "most", "title": "ä".repeat(200), "topic": "ä".repeat(1_000),
        "private": true, "members": users(100), "settings": {"a": "b".repeat(4_000)}
    });
    assert_eq!(alice.post("/v1/rooms", &most).await.status, 201);
    for (status, code, body) in [
        (400, "bad_frame", json!({"title": "t".repeat(201)})),
        (
            413,
            "too_large",
            json!({"settings": {"a": "b".repeat(4_100)}}),
        ),
    ] {
        let answer = alice.patch("/v1/rooms/most", &body).await;
        assert_problem(&answer, status, code);
    }
}

async fn only_whoever_made_it_and_moderators_change_it(cluster: Cluster) {
    let alice = Asker::user(&cluster, 0, "alice");
    let made = alice.post("/v1/rooms", &json!({"room": "ours"})).await;
    assert_eq!(made.status, 201);
    let change = json!({"title": "mine"});
    let bob = Asker::user(&cluster, 1, "bob");
    let refused = bob.patch("/v1/rooms/ours", &change).await;
    assert_problem(&refused, 403, "forbidden");
    let rights = json!({"rooms": {"ours": "rwm"}});
    let moderator = Asker::bearer(cluster.address(1), &token_with("mod", &rights));
    assert_eq!(moderator.patch("/v1/rooms/ours", &change).await.status, 200);
    let rights = json!({"rooms": {"*": "r"}});
    let reader = Asker::bearer(cluster.address(1), &token_with("reader", &rights));
    assert_eq!(reader.get("/v1/rooms/ours").await.status, 200);
    let new = reader.post("/v1/rooms", &json!({"room": "theirs"})).await;
    assert_problem(&new, 403, "forbidden");
    let invitation = reader
        .post("/v1/rooms/ours/members", &json!({"user": "reader"}))
        .await;
    assert_problem(&invitation, 403, "forbidden");
}

async fn a_public_room_without_a_record_can_get_one(cluster: Cluster) {
    let mut alice = cluster.user(0, "alice").await;
    alice.join("old").await;
    alice
        .ask(json!({"type": "send", "room": "old", "body": 1, "ack": "archived"}))
        .await;
    let asker = Asker::user(&cluster, 1, "alice");
    let missing = asker.get("/v1/rooms/old").await;
    assert_problem(&missing, 404, "not_found");
    assert_problem(
        &asker.patch("/v1/rooms/old", &json!({})).await,
        404,
        "not_found",
    );
    let closed = json!({"room": "old", "private": true});
    let refused = asker.post("/v1/rooms", &closed).await;
    assert_problem(&refused, 409, "conflict");
    let open = json!({"room": "old", "title": "Old"});
    assert_eq!(asker.post("/v1/rooms", &open).await.status, 201);
    assert_eq!(asker.read("/v1/rooms/old").await["title"], "Old");
}

#[tokio::test]
async fn without_an_archive_the_answer_says_what_to_set() {
    let cluster = Cluster::memory(1, &[SIGNED]).await;
    let alice = Asker::user(&cluster, 0, "alice");
    for (method, path, body) in [
        ("POST", "/v1/rooms", json!({})),
        ("GET", "/v1/rooms/r", Value::Null),
        ("PATCH", "/v1/rooms/r", json!({"title": "t"})),
        ("POST", "/v1/rooms/r/members", json!({"user": "bob"})),
        ("DELETE", "/v1/rooms/r/members/bob", Value::Null),
        ("GET", "/v1/search?q=x", Value::Null),
    ] {
        let body = Some(&body).filter(|body| !body.is_null());
        let answer = alice.send(method, path, body).await;
        assert_problem(&answer, 503, "unavailable");
        let detail = answer.json()["detail"].to_string();
        assert!(detail.contains("archive.url"), "{method} {path}: {detail}");
    }
    // What needs none works.
    assert_eq!(alice.get("/v1/rooms/r/messages").await.status, 200);
    assert_eq!(alice.get("/v1/rooms/r/members").await.status, 200);
    assert_eq!(alice.get("/v1/rooms").await.status, 200);
}
