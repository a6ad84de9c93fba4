//! An archive that answers and refuses: the chat goes on, operators see it, nothing is flooded.

use std::time::{Duration, Instant};

use hubbub_tests::deadline::eventually;
use hubbub_tests::http::get;
use hubbub_tests::metrics::Metrics;
use hubbub_tests::people::{SIGNED, token};
use hubbub_tests::postgres::Postgres;
use hubbub_tests::process::NodeProcess;
use hubbub_tests::raw::Raw;
use hubbub_tests::redis::{Fsync, Redis};
use serde_json::json;

const DEADLINE: Duration = Duration::from_secs(60);
/// Waits until it is told that the archive has the next message.
async fn archived(alice: &mut Raw) {
    let send = json!({"type": "send", "room": "room", "body": "more", "ack": "archived"});
    eventually("events reach the archive", DEADLINE, async || {
        (alice.ask(send.clone()).await["ack"] == "archived").then_some(())
    })
    .await;
}

/// A node with an archive in a database of this name.
async fn node(redis: &Redis, url: &str) -> (NodeProcess, Raw) {
    let redis = redis.url();
    let settings = [
        SIGNED,
        ("redis.url", redis.as_str()),
        ("archive.url", url),
        ("limits.user_sends_per_second", "0"),
    ];
    let node = NodeProcess::start("gw-0", &settings).await;
    let mut alice = Raw::connect_as(node.address(), &token("alice")).await;
    alice.join("room").await;
    archived(&mut alice).await;
    (node, alice)
}

/// How the archive refuses is seen in the metrics and told once in the log.
async fn is_told(node: &NodeProcess, alice: &mut Raw) {
    let lines = |node: &NodeProcess| {
        let log = node.log();
        log.lines().filter(|line| line.contains("archive")).count()
    };
    let errors = async || Metrics::read(node.ops()).await.get("archive_errors_total");
    let (before, began, errors_before) = (lines(node), Instant::now(), errors().await);
    alice.say("room", "while it refuses").await;
    let behind = async || {
        let metrics = Metrics::read(node.ops()).await;
        let lag = metrics.get("archive_lag_seconds");
        (lag > 3.0).then_some(lag)
    };
    let (lag, _) = eventually("the lag tells the truth", DEADLINE, behind).await;
    let past = began.elapsed().as_secs_f64();
    let errors = errors().await - errors_before;
    assert!(errors >= 1.0, "{errors} errors");
    assert!(errors < 5.0 * past + 5.0, "{errors} tries in {past} s");
    assert!(lag <= past + 2.0, "{lag} s of lag after {past} s");
    let said = lines(node) - before;
    assert!(said <= 8, "{said} lines in {past} s: {}", node.log());
    let answer = get(node.ops(), "/readyz").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.starts_with("degraded: "), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_that_refuses_is_tried_slowly_and_told_once() {
    let (redis, postgres) = (
        Redis::start(Fsync::EverySecond).await,
        Postgres::start().await,
    );
    let url = postgres.database().await;
    let (_, database) = url.rsplit_once('/').expect("a URL of a database");
    let (node, mut alice) = node(&redis, &url).await;
    for (harm, heal) in [
        (
            "ALTER TABLE events RENAME TO other",
            "ALTER TABLE other RENAME TO events",
        ),
        (
            "ALTER TABLE events ADD CONSTRAINT never CHECK (kind < 0) NOT VALID",
            "ALTER TABLE events DROP CONSTRAINT never",
        ),
    ] {
        postgres.run(database, harm).await;
        is_told(&node, &mut alice).await;
        postgres.run(database, heal).await;
        archived(&mut alice).await;
        let healed = async || {
            let metrics = Metrics::read(node.ops()).await;
            let ready = get(node.ops(), "/readyz").await;
            let is_ready = ready.body.starts_with("ready");
            (is_ready && metrics.get("archive_lag_seconds") < 3.0).then_some(())
        };
        eventually("the node is ready again", DEADLINE, healed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_database_gets_its_tables_under_running_nodes() {
    let (redis, postgres) = (
        Redis::start(Fsync::EverySecond).await,
        Postgres::start().await,
    );
    let url = postgres.database().await;
    let (_, database) = url.rsplit_once('/').expect("a URL of a database");
    let (node, mut alice) = node(&redis, &url).await;
    let drop = format!("DROP DATABASE {database} WITH (FORCE)");
    postgres.run("postgres", &drop).await;
    alice.say("room", "while there is none").await;
    let create = format!("CREATE DATABASE {database}");
    postgres.run("postgres", &create).await;
    archived(&mut alice).await;
    let page = alice
        .ask(json!({"type": "history", "room": "room", "limit": 100}))
        .await;
    let texts = page["events"].as_array().expect("events");
    assert!(
        texts
            .iter()
            .any(|event| event["body"]["text"] == "while there is none"),
        "{page}"
    );
    assert_eq!(get(node.ops(), "/readyz").await.status, 200);
}
