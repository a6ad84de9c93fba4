//! A client that does not read: told that it lags, then refilled in order; others feel nothing.

use std::time::Duration;

use hubbub_client::ClientConfig;
use hubbub_tests::cluster::Cluster;
use hubbub_tests::load::flood_with;
use hubbub_tests::oracle::{Heard, assert_kept};
use hubbub_tests::raw::{self, Raw};
use hubbub_tests::recorder::{Notes, Recorder};
use serde_json::{Value, json};

/// In all well above what the kernel's socket buffers hold.
const MESSAGES: usize = 2000;
const BODY: usize = 8 * 1024;
const DEADLINE: Duration = Duration::from_secs(60);

on_both_brokers!(
    with &[("limits.outbox_frames", "256"), ("limits.outbox_bytes", "1MiB")];
    a_slow_reader_is_told_and_then_gets_everything_in_order,
);

async fn a_slow_reader_is_told_and_then_gets_everything_in_order(cluster: Cluster) {
    let mut slow = Raw::connect_with_small_buffer(cluster.address(1)).await;
    slow.join("slow").await;
    let quick = cluster.record(1, "slow").await;
    // Few at once, so that whoever reads at all keeps up.
    let config = ClientConfig {
        outbox: 8,
        ..cluster.client(0)
    };
    let sender = Recorder::resuming("sender", config, "slow").await;
    let body = json!({ "text": "x".repeat(BODY) });
    let outcome = flood_with(sender.client(), "slow", "s", MESSAGES, &body).await;
    quick.wait_count(MESSAGES, DEADLINE).await;
    assert_eq!(quick.notes(), Notes::default(), "its neighbour is well");

    let (mut frames, mut lagged) = (Vec::new(), Vec::new());
    while frames.len() < MESSAGES {
        let raw::Heard::Text(text) = slow.hear().await else {
            panic!("the slow reader was cut off after {} frames", frames.len())
        };
        let frame: Value = serde_json::from_str(&text).expect("JSON");
        match frame["type"].as_str() {
            Some("message") => frames.push(text),
            Some("lagged") => {
                let (from, to) = (frame["from"].as_u64(), frame["to"].as_u64());
                assert_eq!(
                    from,
                    Some(frames.len() as u64 + 1),
                    "the first one not sent live"
                );
                assert!(to >= from, "{frame}");
                lagged.push(frame);
            }
            _ => {}
        }
    }
    assert!(!lagged.is_empty(), "it was told");
    let slow = Heard {
        client: "slow".to_owned(),
        frames,
    };
    assert_kept(&[quick.heard(), sender.heard(), slow], &outcome.acked, &[]);
    println!(
        "a slow reader lagged {} times and missed nothing",
        lagged.len()
    );
}
