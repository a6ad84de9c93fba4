//! Event streams: one room for who only listens, resumed on any node.

use std::time::{Duration, Instant};

use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::eventually;
use hubbub_tests::metrics::Metrics;
use hubbub_tests::people::{SECRET, SIGNED, token};
use hubbub_tests::process::NodeProcess;
use hubbub_tests::redis::{Fsync, Redis};
use hubbub_tests::sse::{Block, Event, Events};
use serde_json::{Value, json};

use crate::asking::{Asker, assert_problem};

on_both_archives!(
    a_listener_hears_what_is_said,
    a_listener_resumes_on_any_node,
    one_stream_brings_several_rooms,
);

/// Five times what the tests aim at, and some.
const DEADLINE: Duration = Duration::from_secs(15);
pub(crate) const EVENTS: &str = "/v1/rooms/news/events";
pub(crate) const MESSAGES: &str = "/v1/rooms/news/messages";

/// The id of an event, as its frame says.
pub(crate) fn position(data: &Value) -> String {
    let text = |field: &str| data[field].as_str().expect("a text");
    let offset = data["offset"].as_u64().expect("an offset");
    format!("{}:{offset}:{}", text("epoch"), text("message"))
}

pub(crate) fn bearer(user: &str) -> String {
    format!("authorization: Bearer {}\r\n", token(user))
}

pub(crate) async fn say(asker: &Asker, count: usize) {
    for number in 0..count {
        let sent = asker.post(MESSAGES, &json!({"body": number})).await;
        assert_eq!(sent.status, 201, "{sent:?}");
    }
}

async fn a_listener_hears_what_is_said(cluster: Cluster) {
    let mut events = Events::open(cluster.address(1), EVENTS, &bearer("bob")).await;
    for header in [
        "content-type: text/event-stream\r\n",
        "cache-control: no-store\r\n",
        "x-accel-buffering: no\r\n",
        "x-content-type-options: nosniff\r\n",
    ] {
        assert!(events.head.contains(header), "{}", events.head);
    }
    let Some(Block::Retry(after)) = events.next_block().await else {
        panic!("the time to come back stands first")
    };
    assert!((1_000..=3_000).contains(&after), "{after}");
    let welcome = events.next().await.expect("a welcome");
    assert_eq!(
        (welcome.kind.as_str(), &welcome.data["user"]["id"]),
        ("welcome", &json!("bob"))
    );
    let joined = events.next_of("joined").await;
    assert_eq!(
        (&joined.data["offset"], &joined.data["events"]),
        (&json!(0), &json!([]))
    );
    let epoch = joined.data["epoch"].as_str().expect("an epoch").to_owned();
    assert_eq!(joined.id, Some(format!("{epoch}:0")), "nothing follows it");
    let mut socket = cluster.user(0, "alice").await;
    socket.join("news").await;
    assert_eq!(events.next_of("presence").await.id, None);
    let alice = Asker::user(&cluster, 0, "alice");
    say(&alice, 1).await;
    let heard = events.next_of("message").await;
    assert_eq!(heard.id, Some(position(&heard.data)));
    let over_socket = socket.next_of("message").await;
    assert_eq!(heard.data, over_socket, "the same frame");
    // The page that a newcomer asks for comes as events of their own.
    say(&alice, 4).await;
    let recent = format!("{EVENTS}?recent=3");
    let mut newcomer = Events::open(cluster.address(0), &recent, &bearer("carol")).await;
    let joined = newcomer.next_of("joined").await;
    assert_eq!(
        (&joined.id, &joined.data["recovered"]),
        (&None, &json!(true))
    );
    assert_eq!(newcomer.offsets(3).await, [3, 4, 5]);
}

async fn a_listener_resumes_on_any_node(cluster: Cluster) {
    let alice = Asker::user(&cluster, 0, "alice");
    let mut first = Events::open(cluster.address(0), EVENTS, &bearer("bob")).await;
    first.next_of("joined").await;
    say(&alice, 5).await;
    assert_eq!(first.offsets(5).await, [1, 2, 3, 4, 5]);
    let back = first
        .resume(cluster.address(1), EVENTS, &bearer("bob"))
        .await;
    first.reset();
    let mut second = back;
    let joined = second.next_of("joined").await;
    assert_eq!(joined.data["recovered"], true);
    say(&alice, 3).await;
    assert_eq!(second.offsets(3).await, [6, 7, 8]);
    // What the header says wins over the address, which the page made once.
    let epoch = joined.data["epoch"].as_str().expect("an epoch");
    let path = format!("{EVENTS}?since={epoch}:1");
    let last = format!("{}last-event-id: {epoch}:6\r\n", bearer("bob"));
    let mut third = Events::open(cluster.address(0), &path, &last).await;
    assert_eq!(third.offsets(2).await, [7, 8]);
    let mut fourth = Events::open(cluster.address(0), &path, &bearer("bob")).await;
    assert_eq!(fourth.offsets(7).await, [2, 3, 4, 5, 6, 7, 8]);
    // What cannot be resumed is said.
    let no_message = format!("{epoch}:5:");
    for bad in [
        "nonsense",
        "other:5",
        &format!("{epoch}:99"),
        &no_message,
        ":",
        "🐙",
    ] {
        let headers = format!("{}last-event-id: {bad}\r\n", bearer("bob"));
        let mut lost = Events::open(cluster.address(1), EVENTS, &headers).await;
        lost.next_of("welcome").await;
        let reset = lost.next().await.expect("a reset");
        assert_eq!(
            (reset.kind.as_str(), &reset.data["room"]),
            ("reset", &json!("news")),
            "{bad}"
        );
        let joined = lost.next().await.expect("a join");
        assert_eq!(joined.data["recovered"], false, "{bad}");
        assert_eq!(lost.offsets(8).await.len(), 8, "the newest page");
    }
}

async fn one_stream_brings_several_rooms(cluster: Cluster) {
    const SPORT: &str = "/v1/rooms/sport/messages";
    let alice = Asker::user(&cluster, 0, "alice");
    let offsets = |event: &Event| -> Vec<u64> {
        let events = event.data["events"].as_array().expect("events");
        events
            .iter()
            .filter_map(|event| event["offset"].as_u64())
            .collect()
    };
    say(&alice, 2).await;
    for number in 0..3 {
        let sent = alice.post(SPORT, &json!({"body": number})).await;
        assert_eq!(sent.status, 201, "{sent:?}");
    }
    let path = format!("{EVENTS}?recent=5&also=sport~2&also=dm:alice:carol&also=quiet");
    let mut events = Events::open(cluster.address(1), &path, &bearer("bob")).await;
    let news = events.next_of("joined").await;
    assert_eq!(news.data["room"], "news");
    assert_eq!((&news.id, offsets(&news)), (&None, vec![1, 2]));
    let sport = events.next_of("joined").await;
    assert_eq!(
        (&sport.data["id"], &sport.data["room"]),
        (&json!("sport"), &json!("sport"))
    );
    assert_eq!(offsets(&sport), [2, 3]);
    let refused = events.next_of("error").await;
    assert_eq!(
        (&refused.data["id"], &refused.data["code"]),
        (&json!("dm:alice:carol"), &json!("forbidden"))
    );
    assert_eq!(events.next_of("joined").await.data["id"], "quiet");
    say(&alice, 1).await;
    alice.post(SPORT, &json!({"body": "live"})).await;
    for (room, offset) in [("news", 3), ("sport", 4)] {
        let heard = events.next_of("message").await;
        assert_eq!(
            (&heard.data["room"], &heard.data["offset"]),
            (&json!(room), &json!(offset))
        );
        assert_eq!(heard.id, None, "no place to come back to");
    }
    // Each room is resumed from its own place, on any node.
    let epoch = |event: &Event| event.data["epoch"].as_str().expect("an epoch").to_owned();
    let (news, sport) = (epoch(&news), epoch(&sport));
    let path = format!("{EVENTS}?since={news}:1&also=sport@{sport}:3&also=quiet@other:7");
    let mut back = Events::open(cluster.address(0), &path, &bearer("bob")).await;
    for (recovered, expected) in [(true, vec![2, 3]), (true, vec![4]), (false, vec![])] {
        let joined = back.next_of("joined").await;
        assert_eq!(joined.data["recovered"], recovered, "{joined:?}");
        assert_eq!(offsets(&joined), expected);
    }
    let wrong = Asker::user(&cluster, 0, "bob");
    for also in ["sport~x", "sport@7", "no%20room"] {
        let answer = wrong.get(&format!("{EVENTS}?also={also}")).await;
        assert_eq!(answer.status, 400, "{also}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_outlives_its_node() {
    let redis = Redis::start(Fsync::EverySecond).await;
    let mut cluster = Cluster::processes(redis, 2, &[SIGNED]).await;
    let alice = Asker::user(&cluster, 1, "alice");
    let mut events = Events::open(cluster.address(0), EVENTS, &bearer("bob")).await;
    events.next_of("joined").await;
    say(&alice, 40).await;
    let mut heard = events.offsets(25).await;
    cluster.process(0).kill9();
    say(&alice, 40).await;
    while let Some(event) = events.next().await {
        if event.id.is_some() {
            heard.push(event.data["offset"].as_u64().expect("an offset"));
        }
    }
    let mut back = events
        .resume(cluster.address(1), EVENTS, &bearer("bob"))
        .await;
    assert_eq!(back.next_of("joined").await.data["recovered"], true);
    heard.extend(back.offsets(80 - heard.len()).await);
    assert_eq!(heard, (1..=80).collect::<Vec<_>>(), "no loss, no duplicate");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_listener_is_told_and_refilled_and_one_who_stands_still_is_closed() {
    let settings = [
        SIGNED,
        ("limits.outbox_frames", "64"),
        ("limits.write_timeout", "3s"),
    ];
    let cluster = Cluster::memory(1, &settings).await;
    let address = cluster.address(0);
    let mut slow = Events::with_small_buffer(address, EVENTS).await;
    slow.next_of("joined").await;
    let still = Events::with_small_buffer(address, EVENTS).await;
    let alice = Asker::user(&cluster, 0, "alice");
    const COUNT: usize = 1_200;
    let body = "x".repeat(10_000);
    for _ in 0..COUNT / 60 {
        let messages: Vec<Value> = (0..60)
            .map(|_| json!({"room": "news", "body": body}))
            .collect();
        let sent = alice
            .post("/v1/messages", &json!({ "messages": messages }))
            .await;
        assert_eq!(sent.status, 200);
    }
    let mut offsets = Vec::new();
    let mut lagged = 0;
    while offsets.len() < COUNT {
        let event = slow.next().await.expect("the slow one is not cut off");
        match event.kind.as_str() {
            "message" => offsets.push(event.data["offset"].as_u64().expect("an offset")),
            "lagged" => lagged += 1,
            _ => {}
        }
    }
    assert_eq!(offsets, (1..=COUNT as u64).collect::<Vec<_>>());
    assert!(lagged > 0, "it was told");
    let code = "closes_total{by=\"server\",code=\"4408\"}";
    let (_, took) = eventually("who stands still is closed", DEADLINE, async || {
        let metrics = Metrics::read(cluster.ops(0)).await;
        (metrics.sum("closes_total") > 0.0 && metrics.get(code) == 1.0).then_some(())
    })
    .await;
    println!("lagged {lagged} times; one who stood still was closed {took:.1?} later");
    drop(still);
}

#[tokio::test]
async fn who_has_gone_is_noticed_in_silence() {
    let cluster = Cluster::memory(1, &[]).await;
    let ops = cluster.ops(0);
    let open = async || Metrics::read(ops).await.get("connections");
    for reset in [false, true] {
        let mut events = Events::guest(cluster.address(0), "quiet").await;
        events.next_of("joined").await;
        assert_eq!(open().await, 1.0);
        let start = Instant::now();
        if reset {
            events.reset()
        } else {
            drop(events)
        }
        eventually("it is noticed", DEADLINE, async || {
            (open().await == 0.0).then_some(())
        })
        .await;
        println!("noticed after {:.2?}", start.elapsed());
    }
}

#[tokio::test]
async fn a_drained_listener_is_sent_elsewhere() {
    let settings = [("drain.ready_delay", "200ms"), ("drain.spread", "500ms")];
    let mut node = NodeProcess::start("gw-drain", &settings).await;
    let mut events = Events::guest(node.address(), "lobby").await;
    events.next_of("joined").await;
    node.sigterm();
    let reconnect = events.next_of("reconnect").await;
    assert_eq!(reconnect.data["reason"], "draining");
    let close = events.next().await.expect("why it ends");
    assert_eq!(close.kind, "close");
    assert_eq!(
        (&close.data["code"], &close.data["reconnect"]),
        (&json!(1012), &json!(true))
    );
    assert_eq!(events.next().await, None);
    drop(events);
    let (status, _) = node.wait_exit(DEADLINE).await;
    assert_eq!(status.code(), Some(0), "{}", node.log());
}

#[tokio::test]
async fn a_quiet_stream_shows_signs_of_life() {
    let cluster = Cluster::memory(1, &[]).await;
    let mut events = Events::guest(cluster.address(0), "quiet").await;
    let sign = loop {
        if let Block::Comment(sign) = events.next_block().await.expect("the stream goes on") {
            break sign;
        }
    };
    assert_eq!(sign, "keep-alive");
}

#[tokio::test]
async fn who_may_not_listen_hears_why() {
    let settings = [
        ("auth.mode", "jwt"),
        ("auth.secret", SECRET),
        ("limits.connections_per_user", "1"),
    ];
    let cluster = Cluster::memory(1, &settings).await;
    let address = cluster.address(0);
    assert_problem(
        &Asker::stranger(address).get(EVENTS).await,
        401,
        "unauthorized",
    );
    let bad = Asker::bearer(address, "a.b.c");
    assert_problem(&bad.get(EVENTS).await, 401, "unauthorized");
    let bob = Asker::user(&cluster, 0, "bob");
    let private = bob.get("/v1/rooms/dm:alice:carol/events").await;
    assert_problem(&private, 403, "forbidden");
    assert_problem(&bob.get("/v1/rooms/a%20b/events").await, 400, "bad_room");
    let head = bob.send("HEAD", EVENTS, None).await;
    assert_eq!(
        (head.status, head.header("content-type")),
        (200, Some("text/event-stream"))
    );
    let _one = Events::open(address, EVENTS, &bearer("bob")).await;
    let second = bob.get(EVENTS).await;
    assert_problem(&second, 429, "rate_limited");
    assert!(second.header("retry-after").is_some());
    let post = bob.post(EVENTS, &json!({})).await;
    assert_problem(&post, 405, "bad_frame");
    assert_eq!(post.header("allow"), Some("GET, HEAD, OPTIONS"));
}
