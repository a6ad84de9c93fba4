//! C25 and C27: places in a room and nonces that make no sense, or are somebody else's.

use hubbub_tests::cluster::Cluster;
use hubbub_tests::people::SIGNED;
use serde_json::{Value, json};

fn since(room: &str, epoch: &str, offset: impl Into<Value>) -> Value {
    let offset = offset.into();
    json!({"type": "join", "room": room, "since": {"epoch": epoch, "offset": offset}})
}

#[tokio::test]
async fn c25_positions_that_make_no_sense_are_reset_or_refused() {
    let cluster = Cluster::memory(1, &[("limits.resume_events", "50")]).await;
    let mut writer = cluster.raw(0).await;
    let joined = writer.join("lobby").await;
    let epoch = joined["epoch"].as_str().expect("an epoch").to_owned();
    for number in 0..400 {
        writer.say("lobby", &number.to_string()).await;
    }
    writer.join("other").await;
    writer.say("other", "there").await;
    let page = 300;
    let long = "e".repeat(10 * 1024);
    for (case, join) in [
        ("above the head", since("lobby", &epoch, 401)),
        (
            "far above the head",
            since("lobby", &epoch, 9_007_199_254_740_991_u64),
        ),
        ("another room's", since("other", &epoch, 1)),
        ("an unknown life", since("lobby", "nowhere", 10)),
        ("older than may be resumed", since("lobby", &epoch, 1)),
    ] {
        let mut raw = cluster.raw(0).await;
        let joined = raw.ask(join).await;
        assert_eq!(joined["type"], "joined", "{case}: {joined}");
        assert_eq!(joined["recovered"], false, "{case}: {joined}");
        let events = joined["events"].as_array().expect("a page").len();
        assert!(events <= page, "{case}: {events}");
    }
    for (case, join) in [
        ("negative", since("lobby", &epoch, -1)),
        ("2^53", since("lobby", &epoch, 9_007_199_254_740_992_u64)),
        ("a fraction", since("lobby", &epoch, 1.5)),
        ("text", since("lobby", &epoch, "1")),
        ("10 KiB of epoch", since("lobby", &long, 1)),
        (
            "a page of everything",
            json!({"type": "history", "room": "lobby", "limit": -1}),
        ),
    ] {
        let mut raw = cluster.raw(0).await;
        raw.join("lobby").await;
        let refused = raw.ask(join).await;
        assert_eq!(refused["code"], "bad_frame", "{case}: {refused}");
    }
    let everything = json!({"type": "history", "room": "lobby", "limit": 1_000_000_000});
    let history = writer.ask(everything).await;
    let events = history["events"].as_array().map_or(0, Vec::len);
    assert!(events <= page, "never an unbounded read: {events}");
}

#[tokio::test]
async fn c27_a_nonce_belongs_to_its_sender() {
    let cluster = Cluster::memory(1, &[SIGNED]).await;
    let (mut alice, mut bob) = (cluster.user(0, "alice").await, cluster.user(0, "bob").await);
    alice.join("lobby").await;
    bob.join("lobby").await;
    let send = |body: &str| json!({"type": "send", "room": "lobby", "nonce": "n-1", "body": body});
    let first = alice.ask(send("mine")).await;
    let theirs = bob.ask(send("mine")).await;
    assert_eq!(
        theirs["duplicate"], false,
        "another user's is another one: {theirs}"
    );
    assert_ne!(theirs["offset"], first["offset"]);
    assert_eq!(alice.refused(send("other words")).await, "conflict");
    let again = alice.ask(send("mine")).await;
    assert_eq!(
        (&again["duplicate"], &again["offset"]),
        (&json!(true), &first["offset"])
    );
    for nonce in [json!("n".repeat(65)), json!(""), json!({}), json!(["n"])] {
        let send = json!({"type": "send", "room": "lobby", "nonce": nonce, "body": 1});
        assert_eq!(alice.refused(send).await, "bad_frame", "{nonce}");
    }
}
