//! Private rooms and direct messages: only their members, and nobody else learns of them.

use std::time::Duration;

use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::eventually;
use serde_json::{Value, json};

use crate::asking::{Asker, assert_problem};

on_both_archives!(
    a_private_room_is_for_its_members,
    strangers_invite_nobody_to_a_public_room,
    what_is_not_allowed_looks_like_what_is_absent,
    whoever_is_removed_is_out,
    a_room_that_becomes_private_leaves_the_list,
    a_direct_message_is_for_two,
);

const DEADLINE: Duration = Duration::from_secs(20);

fn listed(rooms: &Value, room: &str) -> bool {
    let rooms = rooms["rooms"].as_array().expect("rooms");
    rooms.iter().any(|entry| entry["room"] == room)
}

async fn make(cluster: &Cluster, room: &str, members: &[&str]) -> Asker {
    let alice = Asker::user(cluster, 0, "alice");
    let new = json!({"room": room, "private": true, "members": members});
    let made = alice.post("/v1/rooms", &new).await;
    assert_eq!(made.status, 201, "{made:?}");
    alice
}

async fn a_private_room_is_for_its_members(cluster: Cluster) {
    let alice = make(&cluster, "inner", &["bob"]).await;
    let mut raw = cluster.user(0, "alice").await;
    raw.join("inner").await;
    raw.say("inner", "for us").await;
    let (bob, eve) = (
        Asker::user(&cluster, 1, "bob"),
        Asker::user(&cluster, 1, "eve"),
    );
    let page = bob.read("/v1/rooms/inner/messages").await;
    assert_eq!(page["events"][0]["body"]["text"], "for us");
    let members = bob.read("/v1/rooms/inner/members").await;
    assert_eq!(members["invited"], json!(["alice", "bob"]));
    assert!(listed(&bob.read("/v1/rooms").await, "inner"));
    assert!(!listed(&eve.read("/v1/rooms").await, "inner"));
    for path in ["", "/messages", "/members"] {
        let answer = eve.get(&format!("/v1/rooms/inner{path}")).await;
        assert_problem(&answer, 403, "forbidden");
    }
    // Any member may bring somebody.
    let invite = bob
        .post("/v1/rooms/inner/members", &json!({"user": "eve"}))
        .await;
    assert_eq!((invite.status, invite.body.as_str()), (204, ""));
    let (page, _) = eventually("eve is let in on both nodes", DEADLINE, async || {
        let answer = eve.get("/v1/rooms/inner/messages").await;
        (answer.status == 200).then(|| answer.json())
    })
    .await;
    assert_eq!(page["events"][0]["body"]["text"], "for us");
    let again = alice
        .post("/v1/rooms/inner/members", &json!({"user": "eve"}))
        .await;
    assert_eq!(again.status, 204, "twice is once");
    for bad in [
        json!({}),
        json!({"user": ""}),
        json!({"user": 7}),
        json!({"user": "a\u{7}"}),
    ] {
        let answer = alice.post("/v1/rooms/inner/members", &bad).await;
        assert_problem(&answer, 400, "bad_frame");
    }
}

/// Nobody makes themselves a member of a public room in advance, to be in when it becomes private.
async fn strangers_invite_nobody_to_a_public_room(cluster: Cluster) {
    let alice = Asker::user(&cluster, 0, "alice");
    let made = alice.post("/v1/rooms", &json!({"room": "plans"})).await;
    assert_eq!(made.status, 201, "{made:?}");
    let eve = Asker::user(&cluster, 1, "eve");
    let members = "/v1/rooms/plans/members";
    let invite = eve.post(members, &json!({"user": "eve"})).await;
    assert_problem(&invite, 403, "forbidden");
    let invite = alice.post(members, &json!({"user": "bob"})).await;
    assert_eq!(invite.status, 204, "who made the room may");
    let closed = alice
        .patch("/v1/rooms/plans", &json!({"private": true}))
        .await;
    assert_eq!(closed.status, 200, "{closed:?}");
    eventually("eve is out", DEADLINE, async || {
        let answer = eve.get("/v1/rooms/plans/messages").await;
        (answer.status == 403).then_some(())
    })
    .await;
    let bob = Asker::user(&cluster, 1, "bob");
    let invited = bob.read(members).await;
    assert_eq!(invited["invited"], json!(["alice", "bob"]));
}

async fn what_is_not_allowed_looks_like_what_is_absent(cluster: Cluster) {
    make(&cluster, "secret", &[]).await;
    let eve = Asker::user(&cluster, 1, "eve");
    let ask = async |method: &str, room: &str, path: &str, body: Option<Value>| {
        let path = format!("/v1/rooms/{room}{path}");
        let answer = eve.send(method, &path, body.as_ref()).await;
        assert_problem(&answer, 403, "forbidden");
        let mut headers = answer.headers.clone();
        headers.retain(|(name, _)| name != "date");
        (headers, answer.body)
    };
    for (method, path, body) in [
        ("GET", "", None),
        ("PATCH", "", Some(json!({"title": "t"}))),
        ("POST", "/members", Some(json!({"user": "eve"}))),
        ("DELETE", "/members/alice", None),
        ("DELETE", "/members/eve", None),
    ] {
        let hidden = ask(method, "secret", path, body.clone()).await;
        let absent = ask(method, "absent", path, body).await;
        assert_eq!(hidden, absent, "{method} {path}");
    }
    // Without having joined, over a connection.
    let mut raw = cluster.user(1, "eve").await;
    for room in ["secret", "dm:alice:bob"] {
        for action in [
            json!({"type": "send", "room": room, "body": 1}),
            json!({"type": "edit", "room": room, "target": 1, "body": 2}),
            json!({"type": "delete", "room": room, "target": 1}),
            json!({"type": "react", "room": room, "target": 1, "key": "x"}),
            json!({"type": "typing", "room": room, "on": true}),
            json!({"type": "read", "room": room, "offset": 1}),
        ] {
            raw.write(action.to_string()).await;
            let error = raw.next_of("error").await;
            assert_eq!(error["code"], "forbidden", "{action}");
        }
    }
    let send = json!({"type": "send", "room": "open", "body": 1});
    assert_eq!(raw.refused(send).await, "not_joined", "one may join");
}

async fn whoever_is_removed_is_out(cluster: Cluster) {
    let alice = make(&cluster, "club", &["bob", "carol"]).await;
    let (bob, carol) = (
        Asker::user(&cluster, 1, "bob"),
        Asker::user(&cluster, 1, "carol"),
    );
    let mut raw = cluster.user(1, "bob").await;
    raw.join("club").await;
    // Members do not remove each other, but everyone may go.
    let refused = bob.delete("/v1/rooms/club/members/carol").await;
    assert_problem(&refused, 403, "forbidden");
    assert_eq!(
        carol.delete("/v1/rooms/club/members/carol").await.status,
        204
    );
    assert_eq!(alice.delete("/v1/rooms/club/members/bob").await.status, 204);
    let gone = alice.delete("/v1/rooms/club/members/bob").await;
    assert_problem(&gone, 404, "not_found");
    for asker in [&bob, &carol] {
        eventually("who was removed is out", DEADLINE, async || {
            let answer = asker.get("/v1/rooms/club/messages").await;
            (answer.status == 403).then_some(())
        })
        .await;
    }
    let left = raw.next_of("left").await;
    assert_eq!(left["room"], "club", "an open connection is told");
    // A name with everything in it.
    let odd = "a/b c?&#%ä";
    let invite = alice
        .post("/v1/rooms/club/members", &json!({"user": odd}))
        .await;
    assert_eq!(invite.status, 204);
    let path = "/v1/rooms/club/members/a%2Fb%20c%3F%26%23%25%C3%A4";
    assert_eq!(alice.delete(path).await.status, 204);
}

async fn a_room_that_becomes_private_leaves_the_list(cluster: Cluster) {
    let alice = Asker::user(&cluster, 0, "alice");
    let made = alice.post("/v1/rooms", &json!({"room": "hall"})).await;
    assert_eq!(made.status, 201);
    let mut raw = cluster.user(0, "alice").await;
    raw.join("hall").await;
    raw.say("hall", "hello").await;
    let eve = Asker::user(&cluster, 1, "eve");
    assert!(listed(&eve.read("/v1/rooms").await, "hall"));
    let closed = alice
        .patch("/v1/rooms/hall", &json!({"private": true}))
        .await;
    assert_eq!(closed.json()["private"], true, "{closed:?}");
    eventually("the room is gone for others", DEADLINE, async || {
        let is_out = eve.get("/v1/rooms/hall/messages").await.status == 403;
        (is_out && !listed(&eve.read("/v1/rooms").await, "hall")).then_some(())
    })
    .await;
    assert_eq!(alice.get("/v1/rooms/hall/messages").await.status, 200);
}

async fn a_direct_message_is_for_two(cluster: Cluster) {
    let room = "dm:alice:bob";
    let mut raw = cluster.user(0, "alice").await;
    raw.join(room).await;
    raw.say(room, "psst").await;
    let bob = Asker::user(&cluster, 1, "bob");
    let page = bob.read(&format!("/v1/rooms/{room}/messages")).await;
    assert_eq!(page["events"][0]["body"]["text"], "psst");
    let members = bob.read(&format!("/v1/rooms/{room}/members")).await;
    assert_eq!(members["invited"], json!(["alice", "bob"]));
    let eve = Asker::user(&cluster, 1, "eve");
    for path in ["", "/messages", "/members"] {
        let answer = eve.get(&format!("/v1/rooms/{room}{path}")).await;
        assert_problem(&answer, 403, "forbidden");
    }
    let invite = bob
        .post(
            &format!("/v1/rooms/{room}/members"),
            &json!({"user": "eve"}),
        )
        .await;
    assert!([403, 404].contains(&invite.status), "two are two");
}
