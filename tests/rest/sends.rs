//! Messages from programs: stored like those of sockets, each once, in one order.

use hubbub_tests::cluster::Cluster;
use hubbub_tests::people::{SECRET, SIGNED, token, token_with};
use serde_json::{Value, json};

use crate::asking::{Asker, assert_problem};

on_both_archives!(
    a_message_is_stored_once,
    messages_are_changed,
    a_backend_speaks_for_others,
    a_batch_keeps_its_order,
    what_was_read_need_not_be_read_again,
);

const ROOM: &str = "/v1/rooms/work/messages";

async fn a_message_is_stored_once(cluster: Cluster) {
    let mut bob = cluster.user(1, "bob").await;
    bob.join("work").await;
    let alice = Asker::user(&cluster, 0, "alice");
    let hello = json!({"body": {"text": "hello"}, "nonce": "n1"});
    let first = alice.post(ROOM, &hello).await;
    assert_eq!(first.status, 201, "{first:?}");
    let sent = first.json();
    assert_eq!(
        (&sent["type"], &sent["offset"]),
        (&json!("sent"), &json!(1))
    );
    assert_eq!(
        (&sent["duplicate"], &sent["ack"]),
        (&json!(false), &json!("stream"))
    );
    let heard = bob.next_of("message").await;
    assert_eq!(heard["from"], json!({"id": "alice", "name": "ALICE"}));
    for (field, value) in [("message", &sent["message"]), ("nonce", &json!("n1"))] {
        assert_eq!(&heard[field], value, "{heard}");
    }
    // On another node, and under the header's name.
    let key = Asker::user(&cluster, 1, "alice").with("idempotency-key: \"n1\"");
    let again = key.post(ROOM, &json!({"body": {"text": "hello"}})).await;
    assert_eq!(again.status, 200);
    assert_eq!(again.json()["duplicate"], true);
    assert_eq!(again.json()["offset"], 1);
    assert_problem(&key.post(ROOM, &json!({"body": 2})).await, 409, "conflict");
    let archived = alice
        .post(ROOM, &json!({"body": 2, "ack": "archived"}))
        .await;
    assert_eq!(archived.json()["ack"], "archived");
    let null = alice.post(ROOM, &json!({"body": null})).await;
    assert_eq!((null.status, &null.json()["offset"]), (201, &json!(3)));
}

async fn messages_are_changed(cluster: Cluster) {
    let (alice, bob) = (
        Asker::user(&cluster, 0, "alice"),
        Asker::user(&cluster, 1, "bob"),
    );
    for text in ["one", "two"] {
        assert_eq!(
            alice
                .post(ROOM, &json!({"body": {"text": text}}))
                .await
                .status,
            201
        );
    }
    let edit = json!({"body": {"text": "uno"}, "nonce": "e"});
    let edited = alice.patch(&format!("{ROOM}/1"), &edit).await;
    assert_eq!(
        (edited.status, &edited.json()["offset"]),
        (200, &json!(3)),
        "{edited:?}"
    );
    let again = alice.patch(&format!("{ROOM}/1"), &edit).await;
    assert_eq!(again.json()["duplicate"], true, "{again:?}");
    assert_problem(
        &bob.patch(&format!("{ROOM}/1"), &edit).await,
        403,
        "forbidden",
    );
    assert_problem(&bob.delete(&format!("{ROOM}/2")).await, 403, "forbidden");
    let thumb = format!("{ROOM}/1/reactions/%F0%9F%91%8D");
    assert_eq!(bob.send("PUT", &thumb, None).await.status, 200);
    let page = alice.read(ROOM).await;
    assert_eq!(page["events"][0]["body"]["text"], "uno");
    assert_eq!(page["events"][0]["reactions"][0]["users"], json!(["bob"]));
    assert_eq!(bob.send("DELETE", &thumb, None).await.status, 200);
    assert_eq!(alice.delete(&format!("{ROOM}/2")).await.status, 200);
    let page = alice.read(ROOM).await;
    assert_eq!(page["events"][0].get("reactions"), None, "{page}");
    assert_eq!(page["events"][1]["deleted"], true);
    for (path, status, code) in [
        ("99", 404, "not_found"),
        ("2", 404, "not_found"),
        ("x", 400, "bad_frame"),
        ("9007199254740992", 400, "bad_frame"),
    ] {
        let answer = alice
            .patch(&format!("{ROOM}/{path}"), &json!({"body": 1}))
            .await;
        assert_problem(&answer, status, code);
    }
    assert_problem(
        &alice.patch(&format!("{ROOM}/1"), &json!({})).await,
        400,
        "bad_frame",
    );
}

async fn a_backend_speaks_for_others(cluster: Cluster) {
    let mut bob = cluster.user(1, "bob").await;
    bob.join("work").await;
    let rights = json!({"rooms": {"*": "rp", "own": "rwp"}});
    let backend = Asker::bearer(cluster.address(0), &token_with("shop", &rights));
    let from = |user: Value| json!({"body": {"text": "paid"}, "from": user});
    let named = backend
        .post(ROOM, &from(json!({"id": "carol", "name": "Carol"})))
        .await;
    assert_eq!(named.status, 201, "{named:?}");
    let heard = bob.next_of("message").await;
    assert_eq!(heard["from"], json!({"id": "carol", "name": "Carol"}));
    assert_eq!(
        backend
            .post(ROOM, &from(json!({"id": "dave"})))
            .await
            .status,
        201
    );
    assert_eq!(bob.next_of("message").await["from"]["name"], "dave");
    // It implies nothing else.
    assert_problem(
        &backend.post(ROOM, &json!({"body": 1})).await,
        403,
        "forbidden",
    );
    assert_eq!(
        backend
            .post("/v1/rooms/own/messages", &json!({"body": 1}))
            .await
            .status,
        201
    );
    let alice = Asker::user(&cluster, 0, "alice");
    assert_problem(
        &alice.post(ROOM, &from(json!({"id": "bob"}))).await,
        403,
        "forbidden",
    );
    for bad in [
        json!({"id": ""}),
        json!({"id": "x", "name": "\u{1}"}),
        json!("x"),
    ] {
        assert_problem(&backend.post(ROOM, &from(bad)).await, 400, "bad_frame");
    }
}

async fn a_batch_keeps_its_order(cluster: Cluster) {
    let mut bob = cluster.user(1, "bob").await;
    bob.join("work").await;
    let key = Asker::user(&cluster, 0, "alice").with("idempotency-key: batch-7");
    let mut messages: Vec<Value> = (0..97)
        .map(|n| json!({"room": "work", "body": n}))
        .collect();
    messages.insert(50, json!({"room": "a b", "body": 1}));
    messages.insert(60, json!({"room": "work", "body": "x".repeat(17_000)}));
    messages.insert(70, json!({"room": "work"}));
    let batch = json!({ "messages": messages });
    let answer = key.post("/v1/messages", &batch).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let results = answer.json()["results"]
        .as_array()
        .expect("results")
        .clone();
    assert_eq!(results.len(), 100);
    for (index, code) in [(50, "bad_room"), (60, "too_large"), (70, "bad_frame")] {
        assert_eq!(results[index]["code"], code, "{}", results[index]);
    }
    let offsets = results
        .iter()
        .filter_map(|result| result["offset"].as_u64());
    assert_eq!(offsets.collect::<Vec<_>>(), (1..=97).collect::<Vec<_>>());
    for number in 0..97 {
        assert_eq!(bob.next_of("message").await["body"], number);
    }
    let again = key.post("/v1/messages", &batch).await.json();
    for result in again["results"].as_array().expect("results") {
        let is_duplicate = result["duplicate"] == true;
        assert!(is_duplicate || result["type"] == "error", "{result}");
    }
    for bad in [
        json!({}),
        json!({"messages": 5}),
        json!({"messages": vec![json!({}); 101]}),
    ] {
        assert_problem(&key.post("/v1/messages", &bad).await, 400, "bad_frame");
    }
}

async fn what_was_read_need_not_be_read_again(cluster: Cluster) {
    let alice = Asker::user(&cluster, 0, "alice");
    assert_eq!(alice.post(ROOM, &json!({"body": 1})).await.status, 201);
    for path in [ROOM, "/v1/rooms/work/members", "/v1/me"] {
        let first = alice.get(path).await;
        let tag = first.header("etag").expect("a tag").to_owned();
        let known = format!("if-none-match: {tag}");
        // On another node too.
        let bearer = Asker::user(&cluster, 1, "alice").with(&known);
        let again = bearer.get(path).await;
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{path}");
        assert_eq!(again.header("etag"), Some(tag.as_str()));
    }
    let tag = alice
        .get(ROOM)
        .await
        .header("etag")
        .expect("a tag")
        .to_owned();
    let edit = json!({"body": 2});
    assert_eq!(alice.patch(&format!("{ROOM}/1"), &edit).await.status, 200);
    let known = Asker::user(&cluster, 0, "alice").with(&format!("if-none-match: {tag}"));
    let changed = known.get(ROOM).await;
    assert_eq!(
        (changed.status, &changed.json()["events"][0]["body"]),
        (200, &json!(2))
    );
}

#[tokio::test]
async fn a_user_is_held_to_the_pace_of_a_connection_and_a_backend_is_not() {
    let settings = [
        SIGNED,
        ("limits.sends_per_second", "2"),
        ("limits.sends_burst", "3"),
    ];
    let cluster = Cluster::memory(1, &settings).await;
    let alice = Asker::user(&cluster, 0, "alice");
    for _ in 0..3 {
        assert_eq!(alice.post(ROOM, &json!({"body": 1})).await.status, 201);
    }
    let batch = |from: Option<&str>| {
        let entry =
            |_| json!({"room": "work", "body": 1, "from": from.map(|id| json!({"id": id}))});
        json!({ "messages": (0..10).map(entry).collect::<Vec<_>>() })
    };
    let results = alice.post("/v1/messages", &batch(None)).await.json();
    let refused = &results["results"][9];
    assert!(
        refused["code"] == "rate_limited" || refused["code"] == "unavailable",
        "{refused}"
    );
    let late = alice.post(ROOM, &json!({"body": 1})).await;
    assert_problem(&late, 429, "rate_limited");
    let seconds = late.header("retry-after").expect("when to come back");
    assert!(
        seconds.parse::<u64>().is_ok_and(|seconds| seconds >= 1),
        "{late:?}"
    );
    let rights = json!({"rooms": {"*": "rwp"}});
    let backend = Asker::bearer(cluster.address(0), &token_with("shop", &rights));
    let results = backend
        .post("/v1/messages", &batch(Some("bob")))
        .await
        .json();
    for result in results["results"].as_array().expect("results") {
        assert_eq!(result["type"], "sent", "{result}");
    }
}

#[tokio::test]
async fn what_a_token_does_not_allow_is_not_sent() {
    let cluster = Cluster::memory(1, &[("auth.mode", "jwt"), ("auth.secret", SECRET)]).await;
    let stranger = Asker::stranger(cluster.address(0));
    assert_problem(
        &stranger.post(ROOM, &json!({"body": 1})).await,
        401,
        "unauthorized",
    );
    let reader = token_with("rita", &json!({"rooms": {"work": "r"}}));
    let reader = Asker::bearer(cluster.address(0), &reader);
    assert_problem(
        &reader.post(ROOM, &json!({"body": 1})).await,
        403,
        "forbidden",
    );
    let other = "/v1/rooms/other/messages";
    assert_problem(
        &reader.post(other, &json!({"body": 1})).await,
        403,
        "forbidden",
    );
    let alice = Asker::bearer(cluster.address(0), &token("alice"));
    let direct = "/v1/rooms/dm:bob:carol/messages";
    assert_problem(
        &alice.post(direct, &json!({"body": 1})).await,
        403,
        "forbidden",
    );
}
