//! Someone writes: everyone else knows, on every node, and nothing is stored. Typing ends by itself.

use std::time::Duration;

use hubbub_client::new_guest;
use hubbub_tests::cluster::Cluster;
use hubbub_tests::operator::request;
use hubbub_tests::people::{SIGNED, token};
use hubbub_tests::raw::Raw;
use hubbub_tests::redis::{Fsync, Redis};
use hubbub_tests::sse::Events;
use serde_json::{Value, json};
use tokio::time::Instant;

on_both_brokers!(with &[hubbub_tests::people::SIGNED];
    typing_reaches_all_others_and_not_its_sender,
    typing_ends_after_six_seconds_without_a_renewal,
    a_message_ends_the_typing_of_its_author_on_any_transport,
    typing_ends_with_the_connection_that_said_so,
    the_typing_of_a_program_over_rest_ends_too,
);

/// A test that says so waits less than the 6 s after which typing ends by itself.
const AT_ONCE: Duration = Duration::from_secs(4);

async fn typing_reaches_all_others_and_not_its_sender(cluster: Cluster) {
    let url = format!("http://{}", cluster.address(0));
    let ann = new_guest(&url, Some("Ann")).await.expect("a guest token");
    let mut writer = Raw::connect_as(cluster.address(0), &ann.token).await;
    let mut others = Vec::new();
    for number in 0..cluster.len() {
        others.push(cluster.raw(number).await);
    }
    for raw in others.iter_mut().chain([&mut writer]) {
        raw.join("typing").await;
    }
    writer
        .write(json!({"type": "typing", "room": "typing", "on": true}).to_string())
        .await;
    for other in &mut others {
        let typing = other.next_of("typing").await;
        assert_eq!(
            (&typing["room"], &typing["on"]),
            (&json!("typing"), &json!(true))
        );
        assert_eq!(typing["user"]["name"], "Ann");
        assert!(typing.get("offset").is_none(), "not stored: {typing}");
    }
    let sent = writer
        .ask(json!({"type": "send", "room": "typing", "body": 1}))
        .await;
    assert_eq!(sent["offset"], 1, "the first stored event");
    // The message ends it, which is not told to the sender either.
    for other in &mut others {
        assert_eq!(other.next_of("typing").await["on"], false);
    }
    writer.ask(json!({"type": "ping"})).await;
    loop {
        let frame = writer.next().await;
        assert_ne!(frame["type"], "typing", "not to its sender");
        if frame["type"] == "message" {
            break;
        }
    }
}

/// Says that this user types; everybody who watches hears it.
async fn types(writer: &mut Raw, watchers: &mut [Raw]) {
    let typing = json!({"type": "typing", "room": "typing", "on": true});
    writer.write(typing.to_string()).await;
    hear(watchers, true).await;
}

/// Everybody hears this of Ann; how long the slowest took.
async fn hear(watchers: &mut [Raw], on: bool) -> Duration {
    let began = Instant::now();
    for watcher in watchers {
        let typing = watcher.next_of("typing").await;
        assert_eq!(typing["user"]["id"], "ann", "{typing}");
        assert_eq!(typing["on"], on, "{typing}");
    }
    began.elapsed()
}

/// Bob on every node.
async fn watchers(cluster: &Cluster) -> Vec<Raw> {
    let mut watchers = Vec::new();
    for number in 0..cluster.len() {
        let mut watcher = cluster.user(number, "bob").await;
        watcher.join("typing").await;
        watchers.push(watcher);
    }
    watchers
}

async fn ann(cluster: &Cluster) -> Raw {
    let mut ann = cluster.user(0, "ann").await;
    ann.join("typing").await;
    ann
}

async fn typing_ends_after_six_seconds_without_a_renewal(cluster: Cluster) {
    let (mut watchers, mut writer) = (watchers(&cluster).await, ann(&cluster).await);
    types(&mut writer, &mut watchers).await;
    let took = hear(&mut watchers, false).await;
    println!("typing ended after {took:.2?}");
    let right = Duration::from_millis(5_500)..Duration::from_secs(9);
    assert!(right.contains(&took), "{took:?}");
    // It begins anew, and nobody is told twice that it is over.
    types(&mut writer, &mut watchers).await;
    let stopped = json!({"type": "typing", "room": "typing", "on": false});
    writer.write(stopped.to_string()).await;
    let took = hear(&mut watchers, false).await;
    assert!(took < AT_ONCE, "{took:?}");
    writer.say("typing", "done").await;
    for watcher in &mut watchers {
        loop {
            let frame = watcher.next().await;
            assert_ne!(frame["type"], "typing", "told already");
            if frame["type"] == "message" {
                break;
            }
        }
    }
}

async fn a_message_ends_the_typing_of_its_author_on_any_transport(cluster: Cluster) {
    let (mut watchers, mut writer) = (watchers(&cluster).await, ann(&cluster).await);
    types(&mut writer, &mut watchers).await;
    // Somebody else's message does not.
    let mut carol = cluster.user(1, "carol").await;
    carol.join("typing").await;
    carol.say("typing", "hello").await;
    writer.say("typing", "over the socket").await;
    let took = hear(&mut watchers, false).await;
    assert!(took < AT_ONCE, "{took:?}");

    types(&mut writer, &mut watchers).await;
    let body = json!({"body": {"text": "over REST, at another node"}});
    let path = "/v1/rooms/typing/messages";
    let sent = rest(&cluster, 1, "POST", path, &body).await;
    assert_eq!(sent, 201);
    let took = hear(&mut watchers, false).await;
    assert!(took < AT_ONCE, "{took:?}");
}

/// A request of Ann's at a node; its status.
async fn rest(cluster: &Cluster, number: usize, method: &str, path: &str, body: &Value) -> u16 {
    let address = cluster.address(number);
    let bearer = format!("authorization: Bearer {}\r\n", token("ann"));
    let answer = request(address, method, path, &bearer, &body.to_string()).await;
    answer.status
}

async fn typing_ends_with_the_connection_that_said_so(cluster: Cluster) {
    let mut watchers = watchers(&cluster).await;
    let mut writer = ann(&cluster).await;
    types(&mut writer, &mut watchers).await;
    writer.ask(json!({"type": "leave", "room": "typing"})).await;
    let took = hear(&mut watchers, false).await;
    assert!(took < AT_ONCE, "after a leave: {took:?}");

    // The typing of a minute ago no longer counts for the pace.
    let mut writer = ann(&cluster).await;
    types(&mut writer, &mut watchers).await;
    drop(writer);
    let took = hear(&mut watchers, false).await;
    assert!(took < AT_ONCE, "after an abort: {took:?}");
}

/// Somebody who hears by an event stream types over REST, as the SDK does where WebSockets are blocked.
async fn the_typing_of_a_program_over_rest_ends_too(cluster: Cluster) {
    const TYPING: &str = "/v1/rooms/typing/typing";
    let mut watchers = watchers(&cluster).await;
    let bearer = format!("authorization: Bearer {}\r\n", token("ann"));
    let path = "/v1/rooms/typing/events";
    let stream = Events::open(cluster.address(0), path, &bearer).await;
    let on = json!({"on": true});
    assert_eq!(rest(&cluster, 0, "PUT", TYPING, &on).await, 204);
    hear(&mut watchers, true).await;
    drop(stream);
    let took = hear(&mut watchers, false).await;
    assert!(took < AT_ONCE, "after the end of the stream: {took:?}");
    // Without any connection, and at another node.
    assert_eq!(rest(&cluster, 1, "PUT", TYPING, &on).await, 204);
    hear(&mut watchers, true).await;
    let took = hear(&mut watchers, false).await;
    println!("typing over REST ended after {took:.2?}");
    assert!(took < Duration::from_secs(9), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typing_ends_with_the_node_of_the_typist() {
    let redis = Redis::start(Fsync::EverySecond).await;
    let mut cluster = Cluster::processes(redis, 2, &[SIGNED]).await;
    let mut watcher = cluster.user(1, "bob").await;
    watcher.join("typing").await;
    let mut watchers = [watcher];
    let mut writer = ann(&cluster).await;
    types(&mut writer, &mut watchers).await;
    cluster.process(0).kill9();
    let took = hear(&mut watchers, false).await;
    println!("typing ended {took:.2?} after its node was killed");
    assert!(took < Duration::from_secs(9), "{took:?}");
}
