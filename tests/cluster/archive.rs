//! What the archive adds: acks that wait for it, resumes and history from beyond the stream, and a
//! room that goes on where it was after its stream is gone.

use std::time::Duration;

use hubbub_tests::cluster::Cluster;
use hubbub_tests::load::flood;
use hubbub_tests::oracle::{Heard, assert_kept};
use serde_json::json;

on_both_archives!(
    with &[
        hubbub_tests::people::SIGNED,
        ("history.stream_len", "100"),
        ("limits.resume_page", "50"),
        ("limits.resume_events", "1000"),
    ];
    an_ack_may_wait_for_the_archive,
    history_goes_on_beyond_the_stream_without_a_seam,
    a_resume_goes_on_beyond_the_stream,
);

const DEADLINE: Duration = Duration::from_secs(60);

async fn an_ack_may_wait_for_the_archive(cluster: Cluster) {
    let mut alice = cluster.user(0, "alice").await;
    alice.join("acks").await;
    for level in ["stream", "archived"] {
        let send = json!({"type": "send", "room": "acks", "body": 1, "ack": level});
        let sent = alice.ask(send).await;
        assert_eq!(sent["ack"], level, "{sent}");
    }
    let send = json!({"type": "send", "room": "acks", "body": 1, "ack": "replicated"});
    let sent = alice.ask(send).await;
    assert_eq!(sent["ack"], "stream", "there is no replica: {sent}");
}

async fn history_goes_on_beyond_the_stream_without_a_seam(cluster: Cluster) {
    let recorder = cluster.record(0, "long").await;
    let outcome = flood(recorder.client(), "long", "s", 700).await;
    recorder.wait_count(700, DEADLINE).await;
    let reader = cluster.record(1, "long").await;
    let paged = Heard::in_pages(reader.client(), "long").await;
    let summary = assert_kept(&[recorder.heard(), paged], &outcome.acked, &[]);
    assert_eq!(summary.events, 700);
}

async fn a_resume_goes_on_beyond_the_stream(cluster: Cluster) {
    let recorder = cluster.record(0, "resume").await;
    flood(recorder.client(), "resume", "s", 700).await;
    recorder.wait_count(700, DEADLINE).await;
    let mut late = cluster.user(1, "late").await;
    let epoch = late.join("resume").await["epoch"].clone();
    let since = json!({"epoch": epoch, "offset": 10});
    let joined = late
        .ask(json!({"type": "join", "room": "resume", "since": since}))
        .await;
    assert_eq!(joined["recovered"], true, "{joined:.200}");
    let mut last = 10;
    for event in joined["events"].as_array().expect("events") {
        last += 1;
        assert_eq!(event["offset"], last);
    }
    while last < 700 {
        last += 1;
        assert_eq!(late.next_of("message").await["offset"], last);
    }
    flood(recorder.client(), "resume", "more", 400).await;
    let mut later = cluster.user(2, "later").await;
    let joined = later
        .ask(json!({"type": "join", "room": "resume", "since": {"epoch": epoch, "offset": 10}}))
        .await;
    assert_eq!(joined["recovered"], false, "beyond limits.resume_events");
}
