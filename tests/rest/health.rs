//! `/readyz` by its parts: what is away, and whether the chat can do without.

use std::net::SocketAddr;
use std::time::Duration;

use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::eventually;
use hubbub_tests::http::{Answer, get};
use hubbub_tests::people::SIGNED;
use hubbub_tests::postgres::Postgres;
use serde_json::json;

const DEADLINE: Duration = Duration::from_secs(60);

fn line<'a>(answer: &'a Answer, part: &str) -> Option<&'a str> {
    let mut lines = answer.body.lines();
    lines.find_map(|line| line.strip_prefix(part)?.strip_prefix(": "))
}

#[tokio::test]
async fn each_part_has_a_line() {
    let cluster = Cluster::memory(1, &[]).await;
    let answer = get(cluster.ops(0), "/readyz").await;
    assert_eq!(answer.body, "ready\nbroker: ok\ntokens: ok\nsettings: ok\n");
    let cluster = Cluster::sqlite(1, &[SIGNED]).await;
    let answer = get(cluster.ops(0), "/readyz").await;
    let parts = "broker: ok\ntokens: ok\narchive: ok\nsettings: ok\n";
    assert_eq!(answer.body, format!("ready\n{parts}"));
}

/// Waits until the archive's line is `ok`, or is not.
async fn until_archive(ops: SocketAddr, is_ok: bool) -> Answer {
    let (answer, _) = eventually("the archive's line", DEADLINE, async || {
        let answer = get(ops, "/readyz").await;
        (line(&answer, "archive").map(|state| state == "ok") == Some(is_ok)).then_some(answer)
    })
    .await;
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_ready_once_the_archive_was_there() {
    let mut postgres = Postgres::start().await;
    let url = postgres.database().await;
    postgres.stop().await;
    let settings = [SIGNED, ("archive.url", url.as_str())];
    let cluster = Cluster::redis(1, &settings).await;
    let ops = cluster.ops(0);
    let (answer, _) = eventually("redis is there", DEADLINE, async || {
        let answer = get(ops, "/readyz").await;
        (line(&answer, "broker") == Some("ok")).then_some(answer)
    })
    .await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.body.starts_with("not ready: "), "{answer:?}");
    assert_ne!(line(&answer, "archive"), Some("ok"));

    postgres.restart().await;
    until_archive(ops, true).await;
    let ready = async || (get(ops, "/readyz").await.status == 200).then_some(());
    eventually("the node has joined", DEADLINE, ready).await;
    let mut alice = cluster.user(0, "alice").await;
    alice.join("room").await;
    alice.say("room", "while it is there").await;

    postgres.stop().await;
    assert_eq!(
        alice.say("room", "while it is away").await,
        2,
        "the chat goes on"
    );
    let answer = until_archive(ops, false).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.starts_with("degraded: "), "{answer:?}");

    postgres.restart().await;
    let late = json!({"type": "send", "room": "room", "body": 3, "ack": "archived"});
    eventually("events reach the archive again", DEADLINE, async || {
        let sent = alice.ask(late.clone()).await;
        (sent["ack"] == "archived").then_some(())
    })
    .await;
    let answer = until_archive(ops, true).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_file_is_taken_away_is_not_ready_and_stores_nothing() {
    let folder = tempfile::TempDir::new().expect("a temporary directory can be made");
    let file = folder.path().join("chat.db");
    let url = format!("sqlite://{}", file.display());
    let settings = [SIGNED, ("archive.url", url.as_str())];
    let node = hubbub_tests::process::NodeProcess::start("alone", &settings).await;
    let token = hubbub_tests::people::token("alice");
    let mut alice = hubbub_tests::raw::Raw::connect_as(node.address(), &token).await;
    alice.join("room").await;
    alice.say("room", "kept").await;
    let away = folder.path().join("away");
    std::fs::rename(&file, &away).expect("the file can be renamed");
    let send = json!({"type": "send", "room": "room", "body": 1});
    assert_eq!(alice.refused(send.clone()).await, "unavailable");
    let answer = get(node.ops(), "/readyz").await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.body.contains("was removed"), "{answer:?}");
    std::fs::rename(&away, &file).expect("the file can be put back");
    assert_eq!(alice.ask(send).await["offset"], 2);
    assert_eq!(get(node.ops(), "/readyz").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_node_whose_disk_is_full_is_not_ready() {
    let folder = tempfile::TempDir::new().expect("a temporary directory can be made");
    let disk = hubbub_tests::disk::SmallDisk::mount(folder.path(), 8 << 20);
    let url = format!("sqlite://{}/chat.db", folder.path().display());
    let settings = [SIGNED, ("archive.url", url.as_str())];
    let node = hubbub_tests::process::NodeProcess::start("alone", &settings).await;
    let token = hubbub_tests::people::token("alice");
    let mut alice = hubbub_tests::raw::Raw::connect_as(node.address(), &token).await;
    alice.join("room").await;
    disk.fill();
    let send = json!({"type": "send", "room": "room", "body": "x".repeat(10_000)});
    let refused = async || (alice.ask(send.clone()).await["code"] == "unavailable").then_some(());
    eventually("nothing can be stored", DEADLINE, refused).await;
    let not_ready = async || {
        let answer = get(node.ops(), "/readyz").await;
        (answer.status == 503).then_some(answer)
    };
    let (answer, _) = eventually("the node is not ready", DEADLINE, not_ready).await;
    assert!(answer.body.starts_with("not ready: "), "{answer:?}");
    assert!(answer.body.contains("disk is full"), "{answer:?}");
    // Reads in between do not hide it.
    let page = alice
        .ask(json!({"type": "history", "room": "room", "limit": 1}))
        .await;
    assert_eq!(page["type"], "history", "{page}");
    assert_eq!(get(node.ops(), "/readyz").await.status, 503);
    disk.free();
    let ready = async || (get(node.ops(), "/readyz").await.status == 200).then_some(());
    eventually("the node is ready without a send", DEADLINE, ready).await;
    assert_eq!(alice.ask(send).await["type"], "sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_node_whose_database_is_away_is_not_ready() {
    let mut postgres = Postgres::start().await;
    let url = postgres.database().await;
    let settings = [SIGNED, ("archive.url", url.as_str())];
    let cluster = Cluster::memory(1, &settings).await;
    let ops = cluster.ops(0);
    let ready = async || (get(ops, "/readyz").await.status == 200).then_some(());
    eventually("the node is ready", DEADLINE, ready).await;
    let mut alice = cluster.user(0, "alice").await;
    alice.join("room").await;
    alice.say("room", "kept").await;

    postgres.stop().await;
    let send = json!({"type": "send", "room": "room", "nonce": "n", "body": 1});
    let answer = alice.ask(send.clone()).await;
    assert_eq!(answer["type"], "error", "{answer}");
    let not_ready = async || {
        let answer = get(ops, "/readyz").await;
        (answer.status == 503).then_some(answer)
    };
    let (answer, _) = eventually("the node is not ready", DEADLINE, not_ready).await;
    assert!(answer.body.starts_with("not ready: "), "{answer:?}");

    postgres.restart().await;
    eventually("the node is ready without a send", DEADLINE, ready).await;
    let sent = async || (alice.ask(send.clone()).await["type"] == "sent").then_some(());
    eventually("the message is stored", DEADLINE, sent).await;
}
