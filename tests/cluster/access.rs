//! Private rooms and direct messages: only their members, on every node and at every moment.

use std::time::Duration;

use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::eventually;
use hubbub_tests::http::{Answer, post_as};
use hubbub_tests::operator::request;
use hubbub_tests::people::{SIGNED, token};
use hubbub_tests::postgres::Postgres;
use hubbub_tests::raw::{Heard, Raw};
use serde_json::{Value, json};

on_both_archives!(with &[hubbub_tests::people::SIGNED];
    a_direct_message_is_for_two,
    c47_a_removed_member_does_not_come_back_over_another_node,
    c47_a_stranger_does_not_get_into_a_room_that_is_made_private,
    c47_a_session_in_a_room_that_is_made_private_ends_at_once,
);

const DEADLINE: Duration = Duration::from_secs(20);

async fn ask(cluster: &Cluster, node: usize, user: &str, method: &str, path: &str) -> Answer {
    let bearer = format!("authorization: Bearer {}\r\n", token(user));
    request(cluster.address(node), method, path, &bearer, "").await
}

/// Makes a private room on the first node.
async fn close_room(cluster: &Cluster, room: &str, members: &[&str]) {
    let new = json!({"room": room, "private": true, "members": members});
    let made = post_as(cluster.address(0), &token("alice"), "/v1/rooms", &new).await;
    assert_eq!(made.status, 201, "{made:?}");
}

async fn say(cluster: &Cluster, room: &str, text: &str) {
    let (path, body) = (
        format!("/v1/rooms/{room}/messages"),
        json!({"body": {"text": text}}),
    );
    let sent = post_as(cluster.address(0), &token("alice"), &path, &body).await;
    assert_eq!(sent.status, 201, "{sent:?}");
}

/// A node remembers who may be in a room; here it learns it anew, a moment before that changes.
async fn remember(cluster: &Cluster, node: usize, user: &str, room: &str) {
    ask(
        cluster,
        node,
        user,
        "GET",
        &format!("/v1/rooms/{room}/messages"),
    )
    .await;
}

async fn c47_a_removed_member_does_not_come_back_over_another_node(cluster: Cluster) {
    close_room(&cluster, "board", &["bob"]).await;
    say(&cluster, "board", "before").await;
    let mut sockets = [cluster.user(1, "bob").await, cluster.user(2, "bob").await];
    for node in [1, 2] {
        remember(&cluster, node, "bob", "board").await;
    }
    let gone = ask(
        &cluster,
        0,
        "alice",
        "DELETE",
        "/v1/rooms/board/members/bob",
    )
    .await;
    assert_eq!(gone.status, 204, "{gone:?}");
    say(&cluster, "board", "without bob").await;
    for (node, socket) in sockets.iter_mut().enumerate() {
        let join = json!({"type": "join", "room": "board", "recent": 10});
        assert_eq!(socket.refused(join).await, "forbidden", "node {}", node + 1);
    }
    let stream = ask(&cluster, 1, "bob", "GET", "/v1/rooms/board/events").await;
    assert_eq!(stream.status, 403);
    // Nodes that do not have the room open are told too.
    for node in [1, 2] {
        eventually("nothing is read from memory", DEADLINE, async || {
            let page = ask(&cluster, node, "bob", "GET", "/v1/rooms/board/messages").await;
            (page.status == 403).then_some(())
        })
        .await;
    }
}

async fn c47_a_stranger_does_not_get_into_a_room_that_is_made_private(cluster: Cluster) {
    let mut eve = cluster.user(1, "eve").await;
    remember(&cluster, 1, "eve", "plans").await;
    close_room(&cluster, "plans", &[]).await;
    say(&cluster, "plans", "for members only").await;
    let join = json!({"type": "join", "room": "plans", "recent": 10});
    assert_eq!(eve.refused(join).await, "forbidden");
}

async fn c47_a_session_in_a_room_that_is_made_private_ends_at_once(cluster: Cluster) {
    let mut eve = cluster.user(1, "eve").await;
    eve.join("corner").await;
    close_room(&cluster, "corner", &[]).await;
    assert_eq!(expelled(&mut eve, "corner").await, 4410);
}

/// Reads on until the connection is closed for a room that it may not be in any more.
async fn expelled(raw: &mut Raw, room: &str) -> u16 {
    let mut has_left = false;
    loop {
        match raw.hear().await {
            Heard::Text(text) => {
                let frame: Value = serde_json::from_str(&text).expect("JSON");
                has_left |= frame["type"] == "left" && frame["room"] == room;
            }
            Heard::End(Some((code, _))) => {
                assert!(has_left, "closed without a word about the room");
                return code;
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The archive says that bob is out, the node remembers otherwise, and no word about it has come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c47_a_join_asks_again_after_it_has_subscribed() {
    let postgres = Postgres::shared().await;
    let url = postgres.database().await;
    let cluster = Cluster::redis(2, &[SIGNED, ("archive.url", &url)]).await;
    close_room(&cluster, "board", &["bob"]).await;
    say(&cluster, "board", "before").await;
    let mut bob = cluster.user(1, "bob").await;
    remember(&cluster, 1, "bob", "board").await;
    let database = url.rsplit('/').next().expect("a name");
    let sql = "DELETE FROM members WHERE user_id = 'bob'";
    postgres.run(database, sql).await;
    let join = json!({"type": "join", "room": "board", "recent": 10});
    assert_eq!(bob.refused(join).await, "forbidden");
}

/// The archive and the room's count of changes say that bob is out, and no word about it has come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c47_a_change_of_access_that_no_word_told_is_noticed() {
    let postgres = Postgres::shared().await;
    let url = postgres.database().await;
    let cluster = Cluster::redis(2, &[SIGNED, ("archive.url", &url)]).await;
    close_room(&cluster, "board", &["bob"]).await;
    say(&cluster, "board", "before").await;
    let mut bob = cluster.user(1, "bob").await;
    bob.join("board").await;
    let redis = cluster.redis_ref();
    let metas: Vec<String> = redis.command(&["KEYS", "*:room:board:meta"]).await;
    let changes = metas[0].replace(":room:board:meta", ":changes");
    let database = url.rsplit('/').next().expect("a name");
    let sql = "DELETE FROM members WHERE user_id = 'bob'";
    postgres.run(database, sql).await;
    let time: Vec<String> = redis.command(&["TIME"]).await;
    let now = format!("{}000", time[0]);
    redis
        .command::<i64>(&["HINCRBY", &metas[0], "access", "1"])
        .await;
    redis
        .command::<i64>(&["ZADD", &changes, &now, "board"])
        .await;
    assert_eq!(expelled(&mut bob, "board").await, 4410);
}

/// The node's line to Redis is cut while access changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c47_a_change_of_access_during_a_cut_line_is_noticed() {
    let cluster = Cluster::postgres(2, &[SIGNED]).await;
    let mut eve = cluster.user(1, "eve").await;
    eve.join("corner").await;
    cluster.redis_ref().kill_subscriptions().await;
    close_room(&cluster, "corner", &[]).await;
    assert_eq!(expelled(&mut eve, "corner").await, 4410);
}

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
    let own = |rooms: &Value| {
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
    let (entry, _) = eventually("it counts as unread for bob", DEADLINE, async || {
        let entry = own(&bob.ask(json!({"type": "rooms"})).await).expect("listed for both");
        (entry["unread"] == 1).then_some(entry)
    })
    .await;
    assert_eq!(entry["mentions"], 1, "{entry}");
    assert_eq!(entry["private"], true);
    assert_eq!(entry["last"]["body"]["text"], "hi @bob");
    assert_eq!(own(&eve.ask(json!({"type": "rooms"})).await), None);
    bob.join(room).await;
    assert_eq!(bob.history(room).await.len(), 1);
}
