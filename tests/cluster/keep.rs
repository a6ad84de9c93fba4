//! `keep` of a `[[room]]`: what is older is gone from the stream too, with an archive and without.

use std::time::Duration;

use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::eventually;
use hubbub_tests::http::post_as;
use hubbub_tests::people::{SIGNED, token};
use hubbub_tests::process::FILE;
use serde_json::{Value, json};

const ROOM: &str = "short-1";
const RULES: (&str, &str) = (FILE, "[[room]]\nmatch = \"short-*\"\nkeep = \"1m\"\n");
/// A tenth of a minute passes between two rounds.
const DEADLINE: Duration = Duration::from_secs(30);

/// Sends over REST, so that no node has the room open.
async fn say(cluster: &Cluster, text: &str) {
    let path = format!("/v1/rooms/{ROOM}/messages");
    let body = json!({"body": {"text": text}});
    let sent = post_as(cluster.address(0), &token("alice"), &path, &body).await;
    assert_eq!(sent.status, 201, "{sent:?}");
}

/// Makes the only event of the stream ten minutes older.
async fn age(cluster: &mut Cluster) {
    let redis = cluster.redis_mut();
    let keys: Vec<String> = redis.command(&["KEYS", "*:room:short-1:stream"]).await;
    let stream = keys[0].as_str();
    let entries: Vec<(String, Vec<String>)> = redis.command(&["XRANGE", stream, "-", "+"]).await;
    let [(id, fields)] = &entries[..] else {
        panic!("{entries:?}")
    };
    let frame: Value = serde_json::from_str(&fields[5]).expect("JSON");
    let ts = frame["ts"].as_u64().expect("a time");
    let old = format!("\"ts\":{}", ts - 600_000);
    let frame = fields[5].replace(&format!("\"ts\":{ts}"), &old);
    let _: u64 = redis.command(&["DEL", stream]).await;
    let add = [
        "XADD", stream, id, "e", &fields[1], "m", &fields[3], "f", &frame,
    ];
    let _: String = redis.command(&add).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_keeps_nothing_that_is_too_old() {
    let mut cluster = Cluster::redis(2, &[SIGNED, RULES]).await;
    say(&cluster, "old").await;
    age(&mut cluster).await;
    say(&cluster, "young").await;
    let mut alice = cluster.user(1, "alice").await;
    let is_gone = async || {
        let page = alice.ask(json!({"type": "history", "room": ROOM})).await;
        let events = page["events"].as_array().expect("events");
        (events.len() == 1).then(|| events[0]["offset"].clone())
    };
    let (left, _) = eventually("the old message is gone", DEADLINE, is_gone).await;
    assert_eq!(left, 2, "offsets keep their place");
    let joined = alice
        .ask(json!({"type": "join", "room": ROOM, "recent": 10}))
        .await;
    assert_eq!(joined["events"][0]["offset"], 2);
    let mut late = cluster.user(0, "late").await;
    let since = json!({"epoch": joined["epoch"], "offset": 0});
    let resumed = late
        .ask(json!({"type": "join", "room": ROOM, "since": since}))
        .await;
    assert_eq!(resumed["recovered"], false, "{resumed}");
    assert!(!resumed.to_string().contains("\"old\""), "{resumed}");
}
