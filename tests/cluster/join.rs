//! Where a join starts: now, recently, after a position, and what cannot be honoured.

use hubbub_tests::cluster::Cluster;
use hubbub_tests::raw::Raw;
use serde_json::{Value, json};

on_both_brokers!(
    an_empty_room_has_an_epoch_and_offset_zero,
    since_brings_what_came_after_it_on_any_node,
    recent_brings_the_newest_and_neither_brings_none,
    what_cannot_be_honoured_is_said,
    leaving_stops_delivery,
);

/// Sends `count` messages and gives their offsets; the sender is joined.
async fn fill(raw: &mut Raw, room: &str, count: u64) -> Vec<Value> {
    let mut sent = Vec::new();
    for number in 0..count {
        let command = json!({"type": "send", "room": room, "body": {"number": number}});
        let reply = raw.ask(command).await;
        assert_eq!(reply["type"], "sent", "{reply}");
        sent.push(reply);
    }
    sent
}

fn offsets(joined: &Value) -> Vec<u64> {
    let events = joined["events"].as_array().expect("a list of events");
    events
        .iter()
        .filter_map(|event| event["offset"].as_u64())
        .collect()
}

fn since(room: &str, epoch: &Value, offset: u64) -> Value {
    json!({"type": "join", "room": room, "since": {"epoch": epoch, "offset": offset}})
}

async fn an_empty_room_has_an_epoch_and_offset_zero(cluster: Cluster) {
    let mut raw = cluster.raw(0).await;
    let joined = raw.join("empty").await;
    assert_eq!(joined["offset"], 0);
    assert!(
        joined["epoch"]
            .as_str()
            .is_some_and(|epoch| !epoch.is_empty()),
        "{joined}"
    );
    assert_eq!(
        (&joined["recovered"], &joined["events"]),
        (&json!(true), &json!([]))
    );
    assert_eq!(
        (&joined["rights"], &joined["members"]),
        (&json!("rw"), &json!(1))
    );
    // Whoever comes next on another node finds the same life.
    let mut other = cluster.raw(1).await;
    assert_eq!(other.join("empty").await["epoch"], joined["epoch"]);
}

async fn since_brings_what_came_after_it_on_any_node(cluster: Cluster) {
    let mut writer = cluster.raw(0).await;
    writer.join("since").await;
    let sent = fill(&mut writer, "since", 10).await;
    let epoch = &sent[0]["epoch"];
    for number in 0..cluster.len() {
        let mut reader = cluster.raw(number).await;
        let joined = reader.ask(since("since", epoch, 4)).await;
        assert_eq!(
            (&joined["recovered"], &joined["offset"]),
            (&json!(true), &json!(10))
        );
        assert_eq!(offsets(&joined), [5, 6, 7, 8, 9, 10]);
        let mut all = reader.ask(since("since", epoch, 0)).await;
        assert_eq!(offsets(&all), (1..=10).collect::<Vec<_>>());
        let first = all["events"][0].take();
        assert_eq!(first["message"], sent[0]["message"]);
        assert_eq!(
            (&first["type"], &first["body"]),
            (&json!("message"), &json!({"number": 0}))
        );
        let mut at_head = since("since", epoch, 10);
        at_head["since"]["message"] = sent[9]["message"].clone();
        let nothing = reader.ask(at_head).await;
        assert_eq!(
            (offsets(&nothing), &nothing["recovered"]),
            (vec![], &json!(true))
        );
    }
}

async fn recent_brings_the_newest_and_neither_brings_none(cluster: Cluster) {
    let mut writer = cluster.raw(0).await;
    writer.join("recent").await;
    fill(&mut writer, "recent", 8).await;
    let mut reader = cluster.raw(1).await;
    let recent = |count: u64| json!({"type": "join", "room": "recent", "recent": count});
    let joined = reader.ask(recent(3)).await;
    assert_eq!(
        (offsets(&joined), &joined["recovered"]),
        (vec![6, 7, 8], &json!(true))
    );
    assert_eq!(
        offsets(&reader.ask(recent(50)).await),
        (1..=8).collect::<Vec<_>>()
    );
    assert_eq!(offsets(&reader.ask(recent(0)).await), [] as [u64; 0]);
    let now = reader.join("recent").await;
    assert_eq!((offsets(&now), &now["offset"]), (vec![], &json!(8)));
}

async fn what_cannot_be_honoured_is_said(cluster: Cluster) {
    let mut writer = cluster.raw(0).await;
    writer.join("stale").await;
    let sent = fill(&mut writer, "stale", 5).await;
    let epoch = &sent[0]["epoch"];
    let mut forked = since("stale", epoch, 3);
    forked["since"]["message"] = json!("SOMETHING-ELSE");
    let cases = [
        ("a stale epoch", since("stale", &json!("gone"), 3)),
        ("an offset above the head", since("stale", epoch, 6)),
        (
            "an offset far above the head",
            since("stale", epoch, (1 << 53) - 1),
        ),
        ("another message at that offset", forked),
    ];
    let mut reader = cluster.raw(1).await;
    for (case, command) in cases {
        let joined = reader.ask(command).await;
        assert_eq!(joined["recovered"], false, "{case}: {joined}");
        assert_eq!(joined["epoch"], *epoch, "{case}");
        assert_eq!(offsets(&joined), [1, 2, 3, 4, 5], "{case}: the newest page");
    }
    // After each of them the member is at the head and hears what is next, once.
    fill(&mut writer, "stale", 1).await;
    assert_eq!(reader.next_of("message").await["offset"], 6);
}

async fn leaving_stops_delivery(cluster: Cluster) {
    let mut writer = cluster.raw(0).await;
    let mut reader = cluster.raw(1).await;
    for raw in [&mut writer, &mut reader] {
        raw.join("one").await;
        raw.join("two").await;
    }
    fill(&mut writer, "one", 1).await;
    assert_eq!(reader.next_of("message").await["room"], "one");
    let left = reader.ask(json!({"type": "leave", "room": "one"})).await;
    assert_eq!(
        (&left["type"], &left["room"]),
        (&json!("left"), &json!("one"))
    );
    fill(&mut writer, "one", 3).await;
    fill(&mut writer, "two", 1).await;
    let next = reader.next_of("message").await;
    assert_eq!(
        next["room"], "two",
        "nothing of the room that was left: {next}"
    );
    let send = json!({"type": "send", "room": "one", "body": 1});
    assert_eq!(reader.ask(send).await["code"], "not_joined");
}
