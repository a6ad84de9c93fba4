//! Pages of older events: the same bytes as live, newest page first, each oldest first.

use std::time::Duration;

use hubbub_tests::cluster::Cluster;
use hubbub_tests::load::flood;
use hubbub_tests::oracle::{Heard, assert_kept};
use serde_json::json;

on_both_brokers!(pages_lead_back_to_the_beginning, odd_limits_are_clamped,);

const DEADLINE: Duration = Duration::from_secs(30);

async fn pages_lead_back_to_the_beginning(cluster: Cluster) {
    let recorder = cluster.record(0, "history").await;
    let outcome = flood(recorder.client(), "history", "s", 120).await;
    recorder.wait_count(120, DEADLINE).await;
    let reader = cluster.record(1, "history").await;
    let paged = Heard::in_pages(reader.client(), "history").await;
    let summary = assert_kept(&[recorder.heard(), paged], &outcome.acked, &[]);
    assert_eq!(summary.events, 120);
}

async fn odd_limits_are_clamped(cluster: Cluster) {
    let recorder = cluster.record(0, "clamp").await;
    flood(recorder.client(), "clamp", "s", 400).await;
    let mut raw = cluster.raw(1).await;
    raw.join("clamp").await;
    let huge = json!({"type": "history", "room": "clamp", "limit": 1_000_000_000});
    let page = raw.ask(huge).await;
    assert_eq!(
        page["events"].as_array().map(Vec::len),
        Some(300),
        "one page at most"
    );
    assert_eq!(page["more"], true);
    let before_all = json!({"type": "history", "room": "clamp", "before": 1, "limit": 5});
    let page = raw.ask(before_all).await;
    assert_eq!(
        (&page["events"], &page["more"]),
        (&json!([]), &json!(false))
    );
    let above =
        json!({"type": "history", "room": "clamp", "before": 9_000_000_000_u64, "limit": 1});
    assert_eq!(raw.ask(above).await["events"][0]["offset"], 400);
}
