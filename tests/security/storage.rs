//! C60 to C63: nobody fills the stores, and a Redis that is full all the same can be read and put in
//! order.

use std::time::{Duration, Instant};

use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::eventually;
use hubbub_tests::http::{Answer, exchange, get, post_as};
use hubbub_tests::metrics::Metrics;
use hubbub_tests::operator::{KEYED, look, order, try_order};
use hubbub_tests::people::{SIGNED, token};
use hubbub_tests::process::Setting;
use hubbub_tests::raw::Raw;
use hubbub_tests::redis::Redis;
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(30);
/// Bytes of a large message.
const BODY: usize = 16_000;
/// The default limits on sends, which tests raise elsewhere.
const DEFAULT_PACE: [Setting<'static>; 2] = [
    ("limits.sends_per_second", "10"),
    ("limits.user_sends_per_second", "20"),
];

async fn used_memory(redis: &Redis) -> u64 {
    let info: String = redis.command(&["INFO", "memory"]).await;
    let line = info.lines().find_map(|line| {
        let value = line.strip_prefix("used_memory:")?;
        value.trim().parse().ok()
    });
    line.expect("redis tells its memory")
}

async fn set_maxmemory(redis: &Redis, limit: &str) {
    redis
        .command::<()>(&["CONFIG", "SET", "maxmemory", limit])
        .await;
}

async fn delete_as(cluster: &Cluster, user: &str, path: &str) -> Answer {
    let address = cluster.address(0);
    let request = format!(
        "DELETE {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\n\
         content-length: 0\r\nconnection: close\r\n\r\n",
        token(user)
    );
    let answer = exchange(address, request.as_bytes()).await;
    answer.expect("an HTTP answer")
}

/// Sends large messages into a room of its own, as fast as the limits allow.
async fn fill(mut guest: Raw, room: String, end: Instant) -> usize {
    guest.join(&room).await;
    let body = json!({"text": "y".repeat(BODY)});
    let mut stored = 0;
    while Instant::now() < end {
        let send = json!({"type": "send", "room": room, "body": body});
        let answer = guest.ask(send).await;
        match answer["code"].as_str() {
            None => stored += 1,
            Some("rate_limited") => {
                let wait = answer["retry_after_ms"].as_u64().unwrap_or(100);
                tokio::time::sleep(Duration::from_millis(wait)).await;
            }
            Some(code) => panic!("{code}: {answer}"),
        }
    }
    stored
}

/// Ten guests at one address, at default limits, write more than Redis has room for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c60_ten_guests_do_not_fill_redis() {
    const LIMIT: u64 = 32 << 20;
    let cluster = Cluster::redis(1, &DEFAULT_PACE).await;
    let redis = cluster.redis_ref();
    set_maxmemory(redis, &LIMIT.to_string()).await;
    let end = Instant::now() + Duration::from_secs(25);
    let mut guests = Vec::new();
    for number in 0..10 {
        let guest = cluster.raw(0).await;
        guests.push(tokio::spawn(fill(guest, format!("fill-{number}"), end)));
    }
    let mut member = cluster.raw(0).await;
    member.join("lobby").await;
    let mut most = 0;
    while Instant::now() < end {
        let send = json!({"type": "send", "room": "lobby", "body": "hello"});
        let sent = member.ask(send).await;
        assert_eq!(sent["type"], "sent", "a member notices nothing: {sent}");
        most = most.max(used_memory(redis).await);
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let mut stored = 0;
    for guest in guests {
        stored += guest.await.expect("a guest is refused by no other code");
    }
    println!("{stored} messages of {BODY} bytes, redis used at most {most} of {LIMIT} bytes");
    assert!(stored * BODY > 3 << 22, "they wrote {stored}");
    assert!(most < LIMIT / 2, "{most} of {LIMIT} bytes");
    let ready = get(cluster.ops(0), "/readyz").await;
    assert!(ready.body.starts_with("ready\n"), "{ready:?}");
}

/// In a Redis that is full, sends are refused; reads, deletions and operators go on, and nobody leaves
/// the balancer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c61_a_full_redis_is_read_and_put_in_order() {
    let cluster = Cluster::redis(2, &[SIGNED, KEYED]).await;
    let redis = cluster.redis_ref();
    let (mut alice, mut bob) = (cluster.user(0, "alice").await, cluster.user(1, "bob").await);
    let joined = alice.join("room").await;
    bob.join("room").await;
    for number in 1..=3 {
        assert_eq!(alice.say("room", &format!("number {number}")).await, number);
    }
    set_maxmemory(redis, "1mb").await;
    let degraded = async |node| {
        let answer = get(cluster.ops(node), "/readyz").await;
        answer.body.starts_with("degraded: redis").then_some(answer)
    };
    for node in 0..2 {
        let (answer, _) =
            eventually("the node says so", DEADLINE, async || degraded(node).await).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let metrics = Metrics::read(cluster.ops(0)).await;
    assert_eq!(metrics.get("redis_memory_limit_bytes"), f64::from(1 << 20));
    assert!(metrics.get("redis_memory_bytes") > f64::from(1 << 20));
    let send = json!({"type": "send", "room": "room", "body": "no"});
    let refused = bob.ask(send.clone()).await;
    assert_eq!(refused["code"], "unavailable", "{refused}");
    // Reads and resumes.
    let page = bob
        .ask(json!({"type": "history", "room": "room", "limit": 10}))
        .await;
    assert_eq!(page["events"].as_array().map(Vec::len), Some(3), "{page}");
    let since = json!({"epoch": joined["epoch"], "offset": 1});
    let mut carol = cluster.user(1, "carol").await;
    let resumed = carol
        .ask(json!({"type": "join", "room": "room", "since": since}))
        .await;
    assert_eq!(resumed["recovered"], true, "{resumed}");
    // Deletions, by the author over both doors, and by an operator.
    let delete = json!({"type": "delete", "room": "room", "target": 1});
    assert_eq!(alice.ask(delete).await["offset"], 4);
    let answer = delete_as(&cluster, "alice", "/v1/rooms/room/messages/2").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let removed = try_order(
        cluster.ops(1),
        "DELETE /admin/rooms/room/messages/3",
        &Value::Null,
    );
    let removed = removed.await;
    assert_eq!(removed.status, 200, "{removed:?}");
    // Orders, and a look at all nodes.
    order(
        cluster.ops(0),
        "/admin/ban",
        json!({"address": "10.9.9.9/32"}),
    )
    .await;
    order(cluster.ops(0), "/admin/ban", json!({"user": "eve"})).await;
    order(
        cluster.ops(0),
        "/admin/mute",
        json!({"user": "bob", "room": "room"}),
    )
    .await;
    order(
        cluster.ops(0),
        "/admin/announce",
        json!({"text": "hold on"}),
    )
    .await;
    order(cluster.ops(1), "/admin/kick", json!({"user": "carol"})).await;
    assert_eq!(carol.close_code().await, 4503);
    let nodes = look(cluster.ops(0), "/admin/nodes").await;
    let names = nodes["nodes"].as_array().map(Vec::len);
    assert_eq!(names, Some(2), "both answer: {nodes}");
    // With room again, everything goes on.
    set_maxmemory(redis, "0").await;
    let mut dave = cluster.user(0, "dave").await;
    dave.join("room").await;
    let taken = async || (dave.ask(send.clone()).await["type"] == "sent").then_some(());
    eventually("sends are taken", DEADLINE, taken).await;
    for node in 0..2 {
        let ready = async || {
            let answer = get(cluster.ops(node), "/readyz").await;
            answer.body.starts_with("ready").then_some(())
        };
        eventually("the node is ready", DEADLINE, ready).await;
    }
}

/// One message does not become a page of megabytes.
async fn reactions_are_bounded(cluster: Cluster) {
    let mut alice = cluster.user(0, "alice").await;
    alice.join("room").await;
    alice.say("room", "hello").await;
    let react =
        |key: String| json!({"type": "react", "room": "room", "target": 1, "key": key, "on": true});
    let mut keys = 0;
    for number in 0..5 {
        let mut user = cluster.user(number, &format!("user-{number}")).await;
        user.join("room").await;
        for _ in 0..20 {
            keys += 1;
            let reacted = user.ask(react(format!("key-{keys}"))).await;
            assert_eq!(reacted["type"], "sent", "{reacted}");
        }
        let mut one_more = react(format!("key-{}", keys + 1));
        // A nonce does not make it a retry.
        one_more["nonce"] = json!(format!("more-{number}"));
        let refused = user.ask(one_more).await;
        assert_eq!(refused["code"], "too_large", "{refused}");
        let again = user.ask(react(format!("key-{keys}"))).await;
        assert_eq!(
            again["type"], "sent",
            "one's own may be said again: {again}"
        );
    }
    let mut late = cluster.user(1, "late").await;
    late.join("room").await;
    let refused = late.ask(react("key-new".to_owned())).await;
    assert_eq!(refused["code"], "too_large", "{refused}");
    let same = late.ask(react("key-7".to_owned())).await;
    assert_eq!(same["type"], "sent", "{same}");
    let path = "/v1/rooms/room/messages/1/reactions/key-other";
    let address = cluster.address(0);
    let put = format!(
        "PUT {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\n\
         content-length: 0\r\nconnection: close\r\n\r\n",
        token("over-rest")
    );
    let answer = exchange(address, put.as_bytes()).await.expect("an answer");
    assert_eq!(answer.status, 413, "{answer:?}");
    let page = late
        .ask(json!({"type": "history", "room": "room", "limit": 1, "after": 0}))
        .await;
    let shown = page["events"][0]["reactions"].as_array().map(Vec::len);
    assert_eq!(shown, Some(100), "{page:.300}");
}

/// Fast enough for a test.
const QUICK: [Setting<'static>; 3] = [
    SIGNED,
    ("limits.sends_per_second", "0"),
    ("limits.user_sends_per_second", "0"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c62_reactions_are_bounded_in_memory() {
    reactions_are_bounded(Cluster::memory(2, &QUICK).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c62_reactions_are_bounded_in_redis() {
    reactions_are_bounded(Cluster::redis(2, &QUICK).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c62_reactions_are_bounded_in_a_file() {
    reactions_are_bounded(Cluster::sqlite(2, &QUICK).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c62_reactions_are_bounded_in_postgres() {
    reactions_are_bounded(Cluster::postgres(2, &QUICK).await).await;
}

/// Invitations do not push a victim's own rooms out of the list, and end when the victim says so.
async fn invitations_are_pending(cluster: Cluster) {
    let mut victim = cluster.user(0, "victim").await;
    victim.join("own").await;
    victim.say("own", "mine").await;
    for number in 0..110 {
        let room = format!("trap-{number}");
        let new = json!({"room": room, "private": true, "members": ["victim"]});
        // Each attacker keeps within the limits of one.
        let attacker = token(&format!("mallory-{}", number / 10));
        let made = post_as(cluster.address(1), &attacker, "/v1/rooms", &new).await;
        assert_eq!(made.status, 201, "{made:?}");
    }
    let list = async |victim: &mut Raw| {
        let listed = victim.ask(json!({"type": "rooms"})).await;
        listed["rooms"].as_array().expect("a list").clone()
    };
    let own = async || {
        let rooms = list(&mut victim).await;
        (rooms.first()?["room"] == "own").then_some(rooms)
    };
    let (rooms, _) = eventually("the mark of the join is saved", DEADLINE, own).await;
    let invited = |rooms: &[Value]| rooms.iter().filter(|room| room["invited"] == true).count();
    assert_eq!(invited(&rooms), 100);
    assert!(rooms[0]["invited"].is_null(), "{}", rooms[0]);
    // Accepted by joining, declined by leaving for good.
    victim.join("trap-3").await;
    let accepted = async || {
        let rooms = list(&mut victim).await;
        let trap = rooms.iter().find(|room| room["room"] == "trap-3")?;
        trap["invited"].is_null().then_some(())
    };
    eventually("the invitation is accepted", DEADLINE, accepted).await;
    let path = "/v1/rooms/trap-4/members/victim";
    let declined = delete_as(&cluster, "victim", path).await;
    assert!((200..300).contains(&declined.status), "{declined:?}");
    let rooms = list(&mut victim).await;
    assert!(rooms.iter().all(|room| room["room"] != "trap-4"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c63_invitations_are_pending_in_a_file() {
    invitations_are_pending(Cluster::sqlite(2, &[SIGNED]).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c63_invitations_are_pending_in_postgres() {
    invitations_are_pending(Cluster::postgres(2, &[SIGNED]).await).await;
}
