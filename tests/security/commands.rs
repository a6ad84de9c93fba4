//! Commands that make no sense: an error with its code, and the connection goes on.

use hubbub_tests::cluster::Cluster;
use hubbub_tests::people::SIGNED;
use hubbub_tests::raw::{Heard, Raw};
use serde_json::{Value, json};

/// A joined connection on a node of its own; so many bad frames are allowed in the tests.
async fn lone() -> (Cluster, Raw) {
    let cluster = Cluster::memory(1, &[]).await;
    let raw = joined(&cluster).await;
    (cluster, raw)
}

async fn joined(cluster: &Cluster) -> Raw {
    let mut raw = cluster.raw(0).await;
    raw.join("lobby").await;
    raw
}

/// The error that a text gets.
async fn error(raw: &mut Raw, text: &str) -> Value {
    raw.write(text).await;
    raw.next_of("error").await
}

#[tokio::test]
async fn c24_hostile_json_is_a_bad_frame() {
    let (cluster, _raw) = lone().await;
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(r#"{{"type":"send","room":"lobby","body":{open}{close}}}"#)
    };
    let (too_deep, deep) = (nested(101), nested(10_000));
    let cases = [
        "",
        "hello",
        "[]",
        "null",
        "{",
        r#"{"room":"lobby"}"#,
        r#"{"type":"fly","room":"lobby"}"#,
        r#"{"type":7}"#,
        r#"{"type":"send","room":"lobby"}"#,
        r#"{"type":"send","room":"lobby","body":"\ud800"}"#,
        r#"{"type":"send","room":"lobby","body":1e999}"#,
        r#"{"type":"ping","id":{"a":1}}"#,
        r#"{"type":"join","room":"lobby","since":{"epoch":"e","offset":-1}}"#,
        r#"{"type":"join","room":"lobby","since":{"epoch":"e","offset":9007199254740992}}"#,
        r#"{"type":"join","room":"lobby","since":{"epoch":"e","offset":1e400}}"#,
        too_deep.as_str(),
        deep.as_str(),
    ];
    for case in cases {
        // A connection of its own for each: repeated bad frames end it.
        let mut raw = joined(&cluster).await;
        let answer = error(&mut raw, case).await;
        assert_eq!(answer["code"], "bad_frame", "{case:.80}: {answer}");
        let pong = raw.ask(json!({"type": "ping"})).await;
        assert_eq!(
            pong["type"], "pong",
            "the connection goes on after {case:.80}"
        );
    }
    let epoch = "e".repeat(10 * 1024);
    let mut raw = joined(&cluster).await;
    let join = json!({"type": "join", "room": "lobby", "since": {"epoch": epoch, "offset": 1}});
    assert_eq!(raw.ask(join).await["code"], "bad_frame");
}

#[tokio::test]
async fn c24_bad_frames_repeated_are_4500() {
    let (_cluster, mut raw) = lone().await;
    for _ in 0..200 {
        raw.write("nonsense").await;
    }
    assert_eq!(raw.close_code().await, 4500);
}

#[tokio::test]
async fn c24_odd_json_goes_out_as_it_came() {
    let (_cluster, mut raw) = lone().await;
    let deepest = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let cases = [
        (r#"{"a":1,"a":2}"#, r#"{"a":1,"a":2}"#),
        (
            r#""nul \u0000 and \ud83d\ude00""#,
            r#""nul \u0000 and \ud83d\ude00""#,
        ),
        ("[ 1, 2.50, null ]", "[1,2.50,null]"),
        ("null", "null"),
        (deepest.as_str(), deepest.as_str()),
    ];
    for (body, stored) in cases {
        raw.write(format!(
            r#"{{"type":"send","room":"lobby","body":{body},"colour":"red"}}"#
        ))
        .await;
        loop {
            let Heard::Text(text) = raw.hear().await else {
                panic!("the connection ended")
            };
            if text.starts_with(r#"{"type":"message""#) {
                assert!(text.contains(&format!(r#""body":{stored}"#)), "{text}");
                break;
            }
            assert!(!text.contains(r#""type":"error""#), "{text}");
        }
    }
}

#[tokio::test]
async fn c24_many_elements_are_fine_and_too_many_bytes_are_not() {
    let (_cluster, mut raw) = lone().await;
    let send = |body: Value| json!({"type": "send", "room": "lobby", "body": body});
    let many = Value::from(vec![1; 8_000]);
    assert_eq!(raw.ask(send(many)).await["type"], "sent");
    let exact = "x".repeat(16 * 1024 - 2);
    assert_eq!(raw.ask(send(json!(exact))).await["type"], "sent");
    let above = "x".repeat(16 * 1024 - 1);
    assert_eq!(raw.ask(send(json!(above))).await["code"], "too_large");
}

#[tokio::test]
async fn c26_bad_rooms_are_bad_rooms_everywhere() {
    let (cluster, _raw) = lone().await;
    let long = "r".repeat(129);
    let rooms = [
        "", &long, "a\r\nb", "nul\0", "{a}", "*", "a?", "[a]", "a b", "..%2f", "a/b", "Ä", "а",
    ];
    for room in rooms {
        for kind in ["join", "send", "leave", "history", "members"] {
            let mut raw = joined(&cluster).await;
            let command = json!({"type": kind, "room": room, "body": 1});
            let answer = raw.ask(command).await;
            assert_eq!(answer["code"], "bad_room", "{kind} {room:?}: {answer}");
        }
    }
    let mut raw = cluster.raw(0).await;
    for good in ["a", &"r".repeat(128), "A-z_0.9:x", "..", "__proto__"] {
        assert_eq!(raw.join(good).await["room"], good);
    }
}

#[tokio::test]
async fn c28_nothing_is_to_be_had_of_a_foreign_room() {
    let cluster = Cluster::memory(1, &[SIGNED]).await;
    let mut alice = cluster.user(0, "alice").await;
    alice.join("team").await;
    let offset = alice.say("team", "among us").await;
    let narrow = json!({"rooms": {"lobby": "rw"}});
    let mut eve = cluster.user_with(0, "eve", &narrow).await;
    let since = json!({"epoch": "x", "offset": 0});
    for room in ["team", "absent"] {
        for command in [
            json!({"type": "join", "room": room}),
            json!({"type": "join", "room": room, "recent": 10}),
            json!({"type": "join", "room": room, "since": since}),
            json!({"type": "history", "room": room}),
            json!({"type": "members", "room": room}),
            json!({"type": "send", "room": room, "body": 1}),
            json!({"type": "edit", "room": room, "target": offset, "body": 1}),
            json!({"type": "delete", "room": room, "target": offset}),
            json!({"type": "react", "room": room, "target": offset, "key": "x"}),
        ] {
            let refused = eve.ask(command.clone()).await;
            assert_eq!(
                (&refused["code"], &refused["message"]),
                (&json!("forbidden"), &json!("not allowed, or no such room")),
                "{command}"
            );
        }
    }
    // The sender is who the token says, whatever the frame does.
    eve.join("lobby").await;
    alice.join("lobby").await;
    let forged =
        json!({"type": "send", "room": "lobby", "body": 1, "from": {"id": "alice", "name": "A"}});
    assert_eq!(eve.ask(forged).await["type"], "sent");
    let heard = loop {
        let heard = alice.next_of("message").await;
        if heard["room"] == "lobby" {
            break heard;
        }
    };
    assert_eq!(heard["from"]["id"], "eve");
}

#[tokio::test]
async fn c27_nonces_have_their_rule() {
    let (_cluster, mut raw) = lone().await;
    let send = |nonce: Value| json!({"type": "send", "room": "lobby", "nonce": nonce, "body": 1});
    for bad in [json!(""), json!("n".repeat(65)), json!("a\nb"), json!(7)] {
        assert_eq!(
            raw.ask(send(bad.clone())).await["code"],
            "bad_frame",
            "{bad}"
        );
    }
    assert_eq!(raw.ask(send(json!("n".repeat(64)))).await["type"], "sent");
    let without = json!({"type": "send", "room": "lobby", "body": 1});
    let (one, two) = (raw.ask(without.clone()).await, raw.ask(without).await);
    assert_ne!(
        one["offset"], two["offset"],
        "without a nonce each send is a new one"
    );
}

#[tokio::test]
async fn commands_of_no_member_and_too_many_rooms_are_refused() {
    let cluster = Cluster::memory(1, &[("limits.rooms_per_connection", "3")]).await;
    let mut raw = cluster.raw(0).await;
    let send = json!({"type": "send", "room": "lobby", "body": 1});
    assert_eq!(raw.ask(send).await["code"], "not_joined");
    for room in ["a", "b", "c"] {
        raw.join(room).await;
    }
    let join = |room: &str| json!({"type": "join", "room": room});
    assert_eq!(raw.ask(join("d")).await["code"], "too_many_rooms");
    // A resync of one that is joined is no new room, and leaving makes place.
    assert_eq!(raw.ask(join("a")).await["type"], "joined");
    raw.ask(json!({"type": "leave", "room": "b"})).await;
    assert_eq!(raw.ask(join("d")).await["type"], "joined");
}

#[tokio::test]
async fn sends_above_the_rate_are_told_when_to_come_back() {
    let settings = [
        ("limits.sends_per_second", "5"),
        ("limits.sends_burst", "10"),
    ];
    let cluster = Cluster::memory(1, &settings).await;
    let mut raw = joined(&cluster).await;
    let (mut sent, mut refused) = (0, 0);
    for _ in 0..20 {
        let reply = raw
            .ask(json!({"type": "send", "room": "lobby", "body": 1}))
            .await;
        match reply["code"].as_str() {
            None => sent += 1,
            Some("rate_limited") => {
                refused += 1;
                assert!(
                    reply["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0),
                    "{reply}"
                );
            }
            Some(other) => panic!("{other}"),
        }
    }
    assert!((10..=15).contains(&sent), "{sent} sent, {refused} refused");
}
