//! Edits, deletions and reactions: heard in order by all, and folded into history; from the stream
//! alone, and from the archive where the stream is short.

use std::time::Duration;

use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::eventually;
use hubbub_tests::raw::Raw;
use serde_json::{Value, json};

on_both_brokers!(
    with &[hubbub_tests::people::SIGNED];
    changes_are_heard_in_order_and_folded,
    a_deleted_message_is_gone_everywhere,
    an_edited_body_is_gone_everywhere,
    only_the_author_edits_and_moderators_delete,
    what_is_not_there_cannot_be_changed,
    a_retry_of_a_change_is_a_duplicate,
);
on_both_archives!(
    with &[hubbub_tests::people::SIGNED, ("history.stream_len", "5")];
    changes_are_heard_in_order_and_folded,
    a_deleted_message_is_gone_everywhere,
    an_edited_body_is_gone_everywhere,
    only_the_author_edits_and_moderators_delete,
    what_is_not_there_cannot_be_changed,
    a_retry_of_a_change_is_a_duplicate,
);

const DEADLINE: Duration = Duration::from_secs(10);

fn edit(room: &str, target: u64, text: &str) -> Value {
    json!({"type": "edit", "room": room, "target": target, "body": {"text": text}})
}

fn delete(room: &str, target: u64) -> Value {
    json!({"type": "delete", "room": room, "target": target})
}

fn react(room: &str, target: u64, key: &str, on: bool) -> Value {
    json!({"type": "react", "room": room, "target": target, "key": key, "on": on})
}

fn offsets_in(page: &Value) -> Vec<u64> {
    let events = page["events"].as_array().expect("events");
    let offset = |event: &Value| event["offset"].as_u64().expect("an offset");
    events.iter().map(offset).collect()
}

/// Resumes `room` from the beginning of `epoch`, once this node has heard everything up to `head`. An
/// ack does not say that: it may overtake the event at the node that published it.
async fn resume_up_to(raw: &mut Raw, room: &str, epoch: &Value, head: u64) -> Value {
    let since = json!({"epoch": epoch, "offset": 0});
    let join = json!({"type": "join", "room": room, "since": since});
    let resume = async || {
        let joined = raw.ask(join.clone()).await;
        assert_eq!(joined["recovered"], true, "{joined}");
        (joined["offset"] == head).then_some(joined)
    };
    let (joined, _) = eventually("the node hears the room", DEADLINE, resume).await;
    joined
}

async fn changes_are_heard_in_order_and_folded(cluster: Cluster) {
    let room = "changes";
    let (mut alice, mut bob) = (cluster.user(0, "alice").await, cluster.user(1, "bob").await);
    alice.join(room).await;
    bob.join(room).await;
    let target = alice.say(room, "helo @bob").await;
    // More than a short stream holds: the archive has to know what became of the first.
    for n in 0..20 {
        alice.say(room, &format!("filler {n}")).await;
    }
    assert_eq!(
        alice.ask(edit(room, target, "hello @carol")).await["offset"],
        22
    );
    assert_eq!(bob.ask(react(room, target, "👍", true)).await["offset"], 23);
    assert_eq!(
        alice.ask(react(room, target, "👍", true)).await["offset"],
        24
    );
    assert_eq!(bob.ask(react(room, target, "🎉", true)).await["offset"], 25);
    assert_eq!(
        bob.ask(react(room, target, "🎉", false)).await["offset"],
        26
    );
    let edited = bob.next_of("edited").await;
    assert_eq!(
        (&edited["target"], &edited["by"]["id"]),
        (&target.into(), &"alice".into())
    );
    assert_eq!(edited["body"], json!({"text": "hello @carol"}));
    assert_eq!(edited["mentions"], json!(["carol"]));
    let reacted = alice.next_of("reacted").await;
    assert_eq!(
        (&reacted["key"], &reacted["on"]),
        (&json!("👍"), &json!(true))
    );

    let mut carol = cluster.user(2, "carol").await;
    let events = carol.history(room).await;
    assert_eq!(events.len(), 21, "messages only");
    let first = &events[0];
    assert_eq!(first["offset"], target);
    assert_eq!(first["body"], json!({"text": "hello @carol"}));
    assert_eq!(first["mentions"], json!(["carol"]));
    assert_eq!(
        (&first["edited"]["offset"], &first["edited"]["by"]["id"]),
        (&json!(22), &json!("alice"))
    );
    assert_eq!(
        first["reactions"],
        json!([{"key": "👍", "count": 2, "users": ["bob", "alice"]}])
    );
    let around = json!({"type": "history", "room": room, "around": 11, "limit": 4});
    let around = carol.ask(around).await;
    let offsets: Vec<u64> = offsets_in(&around);
    assert_eq!(
        (offsets, &around["more"]),
        (vec![9, 10, 11, 12], &json!(true))
    );
    let after = json!({"type": "history", "room": room, "after": 18, "limit": 10});
    let after = carol.ask(after).await;
    let offsets: Vec<u64> = offsets_in(&after);
    assert_eq!((offsets, &after["more"]), (vec![19, 20, 21], &json!(false)));
}

async fn a_deleted_message_is_gone_everywhere(cluster: Cluster) {
    let room = "gone";
    let mut alice = cluster.user(0, "alice").await;
    let joined = alice.join(room).await;
    let target = alice.say(room, "canary one").await;
    alice.ask(edit(room, target, "canary two")).await;
    alice.say(room, "stays").await;
    let deleted = alice.ask(delete(room, target)).await;
    assert_eq!(deleted["offset"], 4, "{deleted}");
    assert_eq!(
        alice.refused(edit(room, target, "canary three")).await,
        "not_found"
    );
    assert_eq!(
        alice.refused(react(room, target, "x", true)).await,
        "not_found"
    );
    assert_eq!(alice.refused(delete(room, target)).await, "not_found");
    for number in 0..3 {
        let mut late = cluster.user(number, "late").await;
        let resumed = resume_up_to(&mut late, room, &joined["epoch"], 4).await;
        let events = resumed["events"].as_array().expect("events");
        let offsets: Vec<u64> = offsets_in(&resumed);
        assert_eq!(offsets, [1, 2, 3, 4], "it keeps its place");
        assert_eq!(
            (&events[0]["type"], &events[0]["deleted"]),
            (&json!("message"), &json!(true))
        );
        assert_eq!(
            (&events[1]["type"], &events[1]["deleted"]),
            (&json!("edited"), &json!(true))
        );
        let history = late.history(room).await;
        assert_eq!(history.len(), 2);
        assert_eq!(history[0]["deleted"], true);
        assert!(
            !format!("{resumed} {history:?}").contains("canary"),
            "{resumed}"
        );
    }
}

/// A resuming client gets the newest body in the message's own place, and earlier edits without theirs.
async fn an_edited_body_is_gone_everywhere(cluster: Cluster) {
    let room = "edited";
    let mut alice = cluster.user(0, "alice").await;
    let mut bob = cluster.user(1, "bob").await;
    let joined = alice.join(room).await;
    bob.join(room).await;
    let target = alice.say(room, "canary one @bob").await;
    alice.ask(edit(room, target, "canary two")).await;
    assert_eq!(alice.ask(edit(room, target, "clean")).await["offset"], 3);
    for text in ["canary two", "clean"] {
        let heard = bob.next_of("edited").await;
        assert_eq!(heard["body"]["text"], text, "who is there hears all");
    }
    for number in 0..3 {
        let mut late = cluster.user(number, "late").await;
        let resumed = resume_up_to(&mut late, room, &joined["epoch"], 3).await;
        assert_eq!(offsets_in(&resumed), [1, 2, 3]);
        let mut newest = cluster.user(number, "newest").await;
        let recent = json!({"type": "join", "room": room, "recent": 10});
        let recent = newest.ask(recent).await;
        assert_eq!(recent["events"], resumed["events"], "one form everywhere");
        let history = late.history(room).await;
        let message = &resumed["events"][0];
        assert_eq!(message["body"], json!({"text": "clean"}));
        assert_eq!(message["edited"]["offset"], 3);
        assert_eq!(message["mentions"], Value::Null);
        assert_eq!(
            (&history[0]["body"], &history[0]["edited"]),
            (&message["body"], &message["edited"])
        );
        let superseded = &resumed["events"][1];
        assert_eq!(
            (
                &superseded["type"],
                &superseded["deleted"],
                superseded.get("body")
            ),
            (&json!("edited"), &json!(true), None)
        );
        assert!(
            !format!("{resumed} {history:?}").contains("canary"),
            "{resumed}"
        );
    }
}

async fn only_the_author_edits_and_moderators_delete(cluster: Cluster) {
    let room = "rights";
    let mut alice = cluster.user(0, "alice").await;
    let mut bob = cluster.user(1, "bob").await;
    let moderate = json!({"rooms": {"*": "rwm"}});
    let mut mod_ = cluster.user_with(2, "mod", &moderate).await;
    for raw in [&mut alice, &mut bob, &mut mod_] {
        raw.join(room).await;
    }
    let target = alice.say(room, "mine").await;
    assert_eq!(bob.refused(edit(room, target, "yours")).await, "forbidden");
    assert_eq!(bob.refused(delete(room, target)).await, "forbidden");
    assert_eq!(mod_.refused(edit(room, target, "yours")).await, "forbidden");
    assert_eq!(mod_.ask(delete(room, target)).await["type"], "sent");
    let reader = json!({"rooms": {"*": "r"}});
    let mut reader = cluster.user_with(0, "reader", &reader).await;
    reader.join(room).await;
    let target = alice.say(room, "again").await;
    assert_eq!(
        reader.refused(react(room, target, "x", true)).await,
        "forbidden"
    );
}

async fn what_is_not_there_cannot_be_changed(cluster: Cluster) {
    let room = "absent";
    let mut alice = cluster.user(0, "alice").await;
    assert_eq!(alice.refused(edit(room, 1, "x")).await, "not_joined");
    alice.join(room).await;
    let target = alice.say(room, "x").await;
    let reaction = alice.ask(react(room, target, "x", true)).await["offset"]
        .as_u64()
        .expect("an offset");
    for absent in [0, 99, reaction] {
        assert_eq!(
            alice.refused(edit(room, absent, "x")).await,
            "not_found",
            "{absent}"
        );
        assert_eq!(
            alice.refused(delete(room, absent)).await,
            "not_found",
            "{absent}"
        );
    }
    let long = "x".repeat(17 * 1024);
    assert_eq!(alice.refused(edit(room, target, &long)).await, "too_large");
}

async fn a_retry_of_a_change_is_a_duplicate(cluster: Cluster) {
    let room = "retry";
    let mut alice = cluster.user(0, "alice").await;
    alice.join(room).await;
    let target = alice.say(room, "x").await;
    let mut again = cluster.user(1, "alice").await;
    again.join(room).await;
    let mut delete = delete(room, target);
    delete["nonce"] = "d".into();
    let first = alice.ask(delete.clone()).await;
    // The message is gone by now, but it is the same request.
    let second = again.ask(delete).await;
    assert_eq!(
        (&second["offset"], &second["duplicate"]),
        (&first["offset"], &json!(true)),
        "{second}"
    );
}
