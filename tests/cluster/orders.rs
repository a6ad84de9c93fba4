//! Operators' orders, given on one node and obeyed on all.

use std::time::{Duration, Instant};

use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::eventually;
use hubbub_tests::operator::{KEYED, look, order, request, try_order};
use hubbub_tests::people::{SIGNED, token_with};
use hubbub_tests::process::NodeProcess;
use hubbub_tests::raw::Raw;
use hubbub_tests::redis::{Fsync, Redis};
use serde_json::{Value, json};

/// Five times the two seconds in which every node obeys.
const DEADLINE: Duration = Duration::from_secs(10);

on_both_brokers!(with &[hubbub_tests::people::SIGNED, hubbub_tests::operator::KEYED];
    a_ban_closes_everywhere_and_keeps_out_until_it_is_lifted,
    a_revoked_token_counts_nowhere,
    all_tokens_of_before_count_no_more,
    a_kick_ends_connections_and_lets_come_back,
    a_kick_from_a_room_leaves_the_others,
    who_is_muted_may_read_only,
    an_address_is_kept_out_before_the_upgrade,
    everybody_hears_an_announcement,
    operators_see_all_nodes_rooms_and_connections,
    an_operator_deletes_a_message,
);

/// Somebody with a connection to each node.
async fn everywhere(cluster: &Cluster, user: &str, claims: &Value) -> Vec<Raw> {
    let mut raws = Vec::new();
    for number in 0..3 {
        let mut raw = cluster.user_with(number, user, claims).await;
        assert_eq!(raw.next().await["type"], "welcome");
        raws.push(raw);
    }
    raws
}

/// All are closed with the code; how long that took.
async fn closed(raws: Vec<Raw>, code: u16) -> Duration {
    let began = Instant::now();
    for mut raw in raws {
        assert_eq!(raw.close_code().await, code);
    }
    let took = began.elapsed();
    println!("closed on all nodes after {took:.2?}");
    assert!(took < DEADLINE, "{took:?}");
    took
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("a clock after 1970").as_secs()
}

async fn a_ban_closes_everywhere_and_keeps_out_until_it_is_lifted(cluster: Cluster) {
    let eve = everywhere(&cluster, "eve", &json!({})).await;
    let mut bob = cluster.user(1, "bob").await;
    let ban = json!({"user": "eve", "ttl": "1h", "reason": "spam"});
    let given = order(cluster.ops(0), "/admin/ban", ban).await;
    assert!(given["until"].as_u64() > Some(now() * 1_000), "{given}");
    closed(eve, 4503).await;
    for number in 0..3 {
        assert_eq!(cluster.user(number, "eve").await.close_code().await, 4503);
        let list = look(cluster.ops(number), "/admin/bans").await;
        assert_eq!(
            (&list["rules"][0]["user"], &list["rules"][0]["reason"]),
            (&json!("eve"), &json!("spam"))
        );
    }
    bob.join("lobby").await;
    order(cluster.ops(2), "DELETE /admin/ban", json!({"user": "eve"})).await;
    eventually("eve may come back", DEADLINE, async || {
        let mut raw = cluster.user(0, "eve").await;
        matches!(raw.hear().await, hubbub_tests::raw::Heard::Text(_)).then_some(())
    })
    .await;
}

async fn a_revoked_token_counts_nowhere(cluster: Cluster) {
    let stolen = json!({"jti": "stolen"});
    let thief = everywhere(&cluster, "alice", &stolen).await;
    let mut alice = cluster.user_with(0, "alice", &json!({"jti": "own"})).await;
    order(cluster.ops(1), "/admin/revoke", json!({"token": "stolen"})).await;
    closed(thief, 4504).await;
    let mut again = cluster.user_with(2, "alice", &stolen).await;
    assert_eq!(again.close_code().await, 4504);
    alice.join("lobby").await;
    let rest =
        |claims: &Value| format!("authorization: Bearer {}\r\n", token_with("alice", claims));
    for (claims, status) in [(&stolen, 401), (&json!({"jti": "own"}), 200)] {
        let answer = request(cluster.address(0), "GET", "/v1/me", &rest(claims), "").await;
        assert_eq!(answer.status, status, "{claims}");
    }
}

async fn all_tokens_of_before_count_no_more(cluster: Cluster) {
    let before = json!({"iat": now() - 60});
    let raws = everywhere(&cluster, "alice", &before).await;
    let silent = everywhere(&cluster, "alice", &json!({})).await;
    order(cluster.ops(0), "/admin/revoke", json!({"user": "alice"})).await;
    closed(raws, 4504).await;
    closed(silent, 4504).await;
    let mut later = cluster
        .user_with(1, "alice", &json!({"iat": now() + 4}))
        .await;
    later.join("lobby").await;
}

async fn a_kick_ends_connections_and_lets_come_back(cluster: Cluster) {
    let eve = everywhere(&cluster, "eve", &json!({})).await;
    order(cluster.ops(0), "/admin/kick", json!({"user": "eve"})).await;
    closed(eve, 4503).await;
    cluster.user(0, "eve").await.join("lobby").await;
}

async fn a_kick_from_a_room_leaves_the_others(cluster: Cluster) {
    let mut eve = cluster.user(0, "eve").await;
    let mut bob = cluster.user(1, "bob").await;
    for raw in [&mut eve, &mut bob] {
        raw.join("lobby").await;
    }
    order(
        cluster.ops(2),
        "/admin/kick",
        json!({"user": "eve", "room": "lobby"}),
    )
    .await;
    assert_eq!(eve.next_of("left").await["room"], "lobby");
    assert_eq!(
        eve.close_code().await,
        4410,
        "it comes back without the room"
    );
    bob.say("lobby", "quiet").await;
    let mut again = cluster.user(1, "eve").await;
    let room = json!({"type": "join", "room": "lobby"});
    for command in [
        room.clone(),
        json!({"type": "join", "room": "lobby", "recent": 5}),
        json!({"type": "history", "room": "lobby"}),
        json!({"type": "members", "room": "lobby"}),
    ] {
        assert_eq!(again.refused(command).await, "forbidden");
    }
    again.join("other").await;
    let eve = format!(
        "authorization: Bearer {}\r\n",
        token_with("eve", &json!({}))
    );
    for (method, path, body) in [
        (
            "POST",
            "/v1/rooms/lobby/messages",
            r#"{"body":"still here"}"#,
        ),
        ("GET", "/v1/rooms/lobby/messages", ""),
        ("GET", "/v1/rooms/lobby/events", ""),
    ] {
        let answer = request(cluster.address(0), method, path, &eve, body).await;
        assert_eq!(answer.status, 403, "{method} {path}: {answer:?}");
    }
    bob.say("lobby", "in peace").await;
    let list = look(cluster.ops(1), "/admin/bans").await;
    assert_eq!(
        (&list["rules"][0]["kind"], &list["rules"][0]["room"]),
        (&json!("kick"), &json!("lobby"))
    );
    let shorter = json!({"user": "eve", "room": "lobby", "ttl": "1s"});
    order(cluster.ops(2), "/admin/kick", shorter).await;
    eventually("eve may come back", DEADLINE, async || {
        (again.ask(room.clone()).await["type"] == "joined").then_some(())
    })
    .await;
}

async fn who_is_muted_may_read_only(cluster: Cluster) {
    let mut eve = everywhere(&cluster, "eve", &json!({})).await;
    for raw in &mut eve {
        raw.join("lobby").await;
        raw.join("other").await;
    }
    let offset = eve[0].say("lobby", "before").await;
    order(
        cluster.ops(0),
        "/admin/mute",
        json!({"user": "eve", "room": "lobby"}),
    )
    .await;
    let send = json!({"type": "send", "room": "lobby", "body": 1});
    for raw in &mut eve {
        let began = Instant::now();
        let refused = loop {
            let reply = raw.ask(send.clone()).await;
            if reply["code"] == "forbidden" {
                break reply;
            }
            assert!(began.elapsed() < DEADLINE, "{reply}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert!(
            refused["message"]
                .as_str()
                .is_some_and(|text| text.contains("muted")),
            "{refused}"
        );
        let react =
            json!({"type": "react", "room": "lobby", "target": offset, "key": "x", "on": true});
        assert_eq!(raw.refused(react).await, "forbidden");
        raw.say("other", "elsewhere").await;
    }
    let delete = json!({"type": "delete", "room": "lobby", "target": offset});
    assert_eq!(
        eve[1].ask(delete).await["type"],
        "sent",
        "one may take back what one said"
    );
    order(
        cluster.ops(1),
        "DELETE /admin/mute",
        json!({"user": "eve", "room": "lobby"}),
    )
    .await;
    eventually("eve may speak", DEADLINE, async || {
        (eve[2].ask(send.clone()).await["type"] == "sent").then_some(())
    })
    .await;
}

async fn an_address_is_kept_out_before_the_upgrade(cluster: Cluster) {
    let mut here = cluster.raw(0).await;
    here.join("lobby").await;
    order(
        cluster.ops(1),
        "/admin/ban",
        json!({"address": "127.0.0.0/8"}),
    )
    .await;
    assert_eq!(here.close_code().await, 4503);
    for number in 0..3 {
        eventually("refused on all nodes", DEADLINE, async || {
            let answer = hubbub_tests::http::get(cluster.address(number), "/v1/ws").await;
            (answer.status == 403).then_some(())
        })
        .await;
    }
    order(
        cluster.ops(1),
        "DELETE /admin/ban",
        json!({"address": "127.0.0.0/8"}),
    )
    .await;
    eventually("let in again", DEADLINE, async || {
        let answer = hubbub_tests::http::get(cluster.address(2), "/").await;
        (answer.status == 200).then_some(())
    })
    .await;
}

async fn everybody_hears_an_announcement(cluster: Cluster) {
    let mut all = everywhere(&cluster, "alice", &json!({})).await;
    all[1].join("lobby").await;
    let text = json!({"room": "lobby", "text": "in the lobby"});
    order(cluster.ops(0), "/admin/announce", text).await;
    assert_eq!(all[1].next_of("announcement").await["text"], "in the lobby");
    order(cluster.ops(0), "/admin/announce", json!({"text": "to all"})).await;
    for raw in &mut all {
        let heard = raw.next_of("announcement").await;
        assert_eq!(
            (&heard["text"], &heard["room"]),
            (&json!("to all"), &Value::Null)
        );
    }
}

async fn operators_see_all_nodes_rooms_and_connections(cluster: Cluster) {
    let mut raws = everywhere(&cluster, "alice", &json!({})).await;
    let _bob = cluster.user(1, "bob").await;
    raws[2].join("den").await;
    raws[2].join("attic").await;
    let ops = cluster.ops(0);
    let nodes = look(ops, "/admin/nodes").await;
    let names: Vec<_> = nodes["nodes"]
        .as_array()
        .expect("nodes")
        .iter()
        .map(|node| &node["node"])
        .collect();
    assert_eq!(names, ["gw-0", "gw-1", "gw-2"]);
    assert_eq!(nodes["silent"], json!([]));
    let of = async |query: &str| {
        let page = look(ops, &format!("/admin/connections?{query}")).await;
        page["connections"].as_array().expect("connections").clone()
    };
    assert_eq!(of("user=alice").await.len(), 3);
    assert_eq!(of("user=alice&node=gw-1").await.len(), 1);
    let member = of("room=den").await;
    assert_eq!((member.len(), &member[0]["node"]), (1, &json!("gw-2")));
    assert_eq!(member[0]["address"], "127.0.0.1");
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = look(ops, &format!("/admin/connections?limit=2&after={after}")).await;
        for connection in page["connections"].as_array().expect("connections") {
            seen.push(connection["connection"].clone());
        }
        after = seen
            .last()
            .and_then(Value::as_str)
            .expect("an id")
            .to_owned();
        if page["more"] == false {
            break;
        }
    }
    assert_eq!(seen.len(), 4);
    let rooms = look(ops, "/admin/rooms?limit=1").await;
    assert_eq!(
        (&rooms["rooms"][0]["room"], &rooms["more"]),
        (&json!("attic"), &json!(true))
    );
    let rooms = look(ops, "/admin/rooms?after=attic").await;
    assert_eq!(
        (&rooms["rooms"][0]["room"], &rooms["more"]),
        (&json!("den"), &json!(false))
    );
}

async fn an_operator_deletes_a_message(cluster: Cluster) {
    let mut alice = cluster.user(0, "alice").await;
    alice.join("lobby").await;
    let offset = alice.say("lobby", "oh no").await;
    let path = format!("DELETE /admin/rooms/lobby/messages/{offset}");
    let done = order(cluster.ops(1), &path, Value::Null).await;
    assert_eq!(done["target"], offset);
    let deleted = alice.next_of("deleted").await;
    assert_eq!(
        (&deleted["target"], &deleted["by"]["id"]),
        (&json!(offset), &json!("operator"))
    );
    assert_eq!(alice.history("lobby").await[0]["deleted"], true);
    assert_eq!(
        try_order(cluster.ops(1), &path, &Value::Null).await.status,
        404
    );
}

/// A node that is a process, over this Redis.
async fn node(name: &str, redis: &Redis) -> NodeProcess {
    let url = redis.url();
    NodeProcess::start(name, &[SIGNED, KEYED, ("redis.url", &url)]).await
}

/// C14: what was ordered outlives Redis and nodes, and nodes that come later know it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_outlive_redis_and_nodes() {
    let mut redis = Redis::start(Fsync::Always).await;
    let mut nodes = vec![node("gw-0", &redis).await, node("gw-1", &redis).await];
    let mut thief = Raw::connect_as(
        nodes[1].address(),
        &token_with("alice", &json!({"jti": "stolen"})),
    )
    .await;
    assert_eq!(thief.next().await["type"], "welcome");
    order(
        nodes[0].ops(),
        "/admin/revoke",
        json!({"token": "stolen", "ttl": "1h"}),
    )
    .await;
    order(nodes[0].ops(), "/admin/ban", json!({"user": "eve"})).await;
    assert_eq!(thief.close_code().await, 4504);
    redis.kill9();
    redis.restart().await;
    nodes[1].kill9();
    nodes[1].restart();
    nodes.push(node("gw-2", &redis).await);
    for node in &mut nodes {
        node.ready().await;
        // A node that has just come reads the rules a moment after it is ready.
        for (user, claims, code) in [
            ("alice", json!({"jti": "stolen"}), 4504),
            ("eve", json!({}), 4503),
        ] {
            let began = Instant::now();
            let mut raw = Raw::connect_as(node.address(), &token_with(user, &claims)).await;
            assert_eq!(raw.close_code().await, code);
            assert!(began.elapsed() < DEADLINE);
        }
    }
    let mut late = Raw::connect_as(nodes[2].address(), &token_with("bob", &json!({}))).await;
    assert_eq!(late.next().await["type"], "welcome");
    order(nodes[0].ops(), "/admin/kick", json!({"user": "bob"})).await;
    assert_eq!(
        late.close_code().await,
        4503,
        "orders go on after the restart"
    );
}

/// Waits until a node has the two rules that were not lifted.
async fn holds_what_is_left(node: &NodeProcess) {
    eventually("the node has the rules", DEADLINE, async || {
        let rules = look(node.ops(), "/admin/bans").await;
        let names: Vec<_> = rules["rules"]
            .as_array()?
            .iter()
            .map(|rule| &rule["rule"])
            .collect();
        (names == ["ban user eve", "revoke token stolen"]).then_some(())
    })
    .await;
}

/// A Redis that begins anew has no rules any more: the nodes give them back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_outlive_a_redis_that_forgets_everything() {
    let redis = Redis::start(Fsync::Always).await;
    let mut nodes = vec![node("gw-0", &redis).await, node("gw-1", &redis).await];
    order(nodes[0].ops(), "/admin/ban", json!({"user": "bob"})).await;
    order(
        nodes[0].ops(),
        "/admin/ban",
        json!({"user": "eve", "ttl": "1h"}),
    )
    .await;
    order(nodes[1].ops(), "/admin/revoke", json!({"token": "stolen"})).await;
    order(nodes[0].ops(), "DELETE /admin/ban", json!({"user": "bob"})).await;
    for node in &nodes {
        holds_what_is_left(node).await;
    }
    let _: () = redis.command(&["FLUSHALL"]).await;
    // An order that comes before the loss is noticed hides nothing.
    order(nodes[1].ops(), "/admin/kick", json!({"user": "nobody"})).await;
    nodes.push(node("gw-2", &redis).await);
    for node in &nodes {
        holds_what_is_left(node).await;
        let mut eve = Raw::connect_as(node.address(), &token_with("eve", &json!({}))).await;
        assert_eq!(eve.close_code().await, 4503);
        let mut bob = Raw::connect_as(node.address(), &token_with("bob", &json!({}))).await;
        assert_eq!(bob.next().await["type"], "welcome");
    }
}

/// An order is found without the channel, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_not_missed_without_the_subscription() {
    let redis = Redis::start(Fsync::EverySecond).await;
    let nodes = [node("gw-0", &redis).await, node("gw-1", &redis).await];
    for round in 0..5 {
        let user = format!("user-{round}");
        let mut raw = Raw::connect_as(nodes[1].address(), &token_with(&user, &json!({}))).await;
        assert_eq!(raw.next().await["type"], "welcome");
        redis.kill_subscriptions().await;
        let began = Instant::now();
        order(nodes[0].ops(), "/admin/kick", json!({"user": user})).await;
        assert_eq!(raw.close_code().await, 4503);
        println!("obeyed without the channel after {:.2?}", began.elapsed());
        assert!(began.elapsed() < DEADLINE);
    }
}
