//! A resume longer than a page: whole, in order, and before anything live.

use std::time::Duration;

use hubbub_tests::cluster::Cluster;
use hubbub_tests::load::flood;
use hubbub_tests::oracle::{Heard, assert_kept};
use hubbub_tests::raw::{self, Raw};
use hubbub_tests::recorder::events_of;
use serde_json::{Value, json};

const PAGE: usize = 50;
const DEADLINE: Duration = Duration::from_secs(60);

on_both_brokers!(
    with &[("limits.resume_page", "50"), ("limits.resume_events", "2000")];
    a_resume_over_many_pages_is_complete_while_others_send,
    a_resume_beyond_the_limit_is_said,
);

/// Joins since an offset and reads until the room's `top` has come.
async fn resume(mut raw: Raw, room: &str, epoch: &str, offset: u64, top: u64) -> Vec<String> {
    let since = json!({"epoch": epoch, "offset": offset});
    let join = json!({"type": "join", "id": "resume", "room": room, "since": since});
    raw.write(join.to_string()).await;
    let mut events = Vec::new();
    loop {
        let raw::Heard::Text(text) = raw.hear().await else {
            panic!("the connection ended")
        };
        let frame: Value = serde_json::from_str(&text).expect("JSON");
        match frame["type"].as_str() {
            Some("joined") => {
                assert_eq!(frame["recovered"], true, "{text:.200}");
                assert_eq!(events, [] as [String; 0], "no event before the answer");
                events = events_of(&text);
                assert!(
                    (1..=PAGE).contains(&events.len()),
                    "{} events",
                    events.len()
                );
            }
            Some("message") => events.push(text),
            Some("error") => panic!("{text}"),
            _ => continue,
        }
        let last: Value = events.last().map_or(Value::Null, |event| {
            serde_json::from_str(event).expect("JSON")
        });
        if last["offset"] == top {
            return events;
        }
    }
}

async fn a_resume_over_many_pages_is_complete_while_others_send(cluster: Cluster) {
    const BEFORE: usize = 1000;
    const DURING: usize = 500;
    let recorder = cluster.record(0, "pages").await;
    let mut outcome = flood(recorder.client(), "pages", "before", BEFORE).await;
    let epoch = outcome.acked[0].epoch.clone();
    let top = (BEFORE + DURING) as u64;
    let (one, two) = (cluster.raw(1).await, cluster.raw(2).await);
    let (during, one, two) = tokio::join!(
        flood(recorder.client(), "pages", "during", DURING),
        resume(one, "pages", &epoch, 0, top),
        resume(two, "pages", &epoch, 0, top),
    );
    outcome.acked.extend(during.acked);
    recorder.wait_count(BEFORE + DURING, DEADLINE).await;
    let heard = |client: &str, frames| Heard {
        client: client.to_owned(),
        frames,
    };
    let logs = [recorder.heard(), heard("one", one), heard("two", two)];
    let summary = assert_kept(&logs, &outcome.acked, &[]);
    assert_eq!(summary.events, BEFORE + DURING);
}

async fn a_resume_beyond_the_limit_is_said(cluster: Cluster) {
    let recorder = cluster.record(0, "beyond").await;
    let outcome = flood(recorder.client(), "beyond", "s", 2100).await;
    let epoch = outcome.acked[0].epoch.clone();
    let mut raw = cluster.raw(1).await;
    let join = |offset: u64| {
        let since = json!({"epoch": epoch, "offset": offset});
        json!({"type": "join", "room": "beyond", "since": since})
    };
    let too_old = raw.ask(join(10)).await;
    assert_eq!(
        too_old["recovered"], false,
        "more than limits.resume_events behind"
    );
    let events = too_old["events"].as_array().expect("a list of events");
    assert_eq!(events.len(), PAGE, "the newest page");
    assert_eq!(events[PAGE - 1]["offset"], 2100);
    let mut other = cluster.raw(2).await;
    assert_eq!(other.ask(join(200)).await["recovered"], true);
}
