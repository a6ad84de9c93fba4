//! What outlives the broker: a node with a file goes on after a restart, and a Redis that has lost
//! everything does not take the archive with it.

use hubbub_tests::people::{SIGNED, token};
use hubbub_tests::postgres::Postgres;
use hubbub_tests::process::NodeProcess;
use hubbub_tests::raw::Raw;
use hubbub_tests::redis::{Fsync, Redis};
use serde_json::{Value, json};

async fn join_since(raw: &mut Raw, room: &str, epoch: &Value, offset: u64) -> Value {
    let since = json!({"epoch": epoch, "offset": offset});
    raw.ask(json!({"type": "join", "room": room, "since": since}))
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_a_file_goes_on_after_kill_9() {
    let archive = ("archive.url", "sqlite://chat.db");
    let mut node = NodeProcess::start("alone", &[SIGNED, archive]).await;
    let mut alice = Raw::connect_as(node.address(), &token("alice")).await;
    let joined = alice.join("room").await;
    let send = |nonce: &str| json!({"type": "send", "room": "room", "nonce": nonce, "body": nonce});
    for n in 0..20 {
        assert_eq!(alice.ask(send(&format!("n{n}"))).await["offset"], n + 1);
    }
    node.kill9();
    node.restart();
    node.ready().await;
    let mut alice = Raw::connect_as(node.address(), &token("alice")).await;
    let again = join_since(&mut alice, "room", &joined["epoch"], 5).await;
    assert_eq!(
        (&again["epoch"], &again["offset"]),
        (&joined["epoch"], &json!(20)),
        "{again}"
    );
    assert_eq!(again["recovered"], true);
    assert_eq!(again["events"].as_array().map(Vec::len), Some(15));
    let retry = alice.ask(send("n19")).await;
    assert_eq!(
        (&retry["offset"], &retry["duplicate"]),
        (&json!(20), &json!(true)),
        "{retry}"
    );
    assert_eq!(alice.ask(send("new")).await["offset"], 21);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_redis_begins_above_the_archive() {
    let postgres = Postgres::shared().await;
    let url = postgres.database().await;
    let mut redis = Redis::start(Fsync::EverySecond).await;
    let settings = [SIGNED, ("archive.url", url.as_str())];
    let redis_url = redis.url();
    let mut all = settings.to_vec();
    all.push(("redis.url", &redis_url));
    let mut node = NodeProcess::start("gw", &all).await;
    let mut alice = Raw::connect_as(node.address(), &token("alice")).await;
    let first = alice.join("room").await;
    for n in 0..30 {
        let send = json!({"type": "send", "room": "room", "body": n, "ack": "archived"});
        assert_eq!(alice.ask(send).await["ack"], "archived");
    }
    node.kill9();
    redis.kill9();
    redis.forget();
    redis.restart().await;
    node.restart();
    node.ready().await;
    let mut alice = Raw::connect_as(node.address(), &token("alice")).await;
    let joined = join_since(&mut alice, "room", &first["epoch"], 30).await;
    assert_eq!(joined["recovered"], false, "{joined}");
    assert_ne!(joined["epoch"], first["epoch"]);
    assert_eq!(joined["offset"], 30, "above what the archive has");
    assert_eq!(alice.say("room", "next").await, 31);
    let history = alice.history("room").await;
    assert_eq!(history.len(), 31, "history goes on over the lives");
    let page = json!({"type": "history", "room": "room", "before": 31, "limit": 1});
    assert_eq!(alice.ask(page).await["events"][0]["offset"], 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_file_begins_another_epoch() {
    let archive = ("archive.url", "sqlite://chat.db");
    let at_once = [("drain.ready_delay", "0s"), ("drain.spread", "0s")];
    let settings = [&[SIGNED, archive][..], &at_once].concat();
    let mut node = NodeProcess::start("alone", &settings).await;
    let file = node.dir().path().join("chat.db");
    let copy = node.dir().path().join("copy.db");
    let mut alice = Raw::connect_as(node.address(), &token("alice")).await;
    let joined = alice.join("room").await;
    alice.say("room", "kept").await;
    node.sigterm();
    node.wait_exit(hubbub_tests::raw::FRAME).await;
    std::fs::copy(&file, &copy).expect("the file can be copied");
    node.restart();
    node.ready().await;
    let mut alice = Raw::connect_as(node.address(), &token("alice")).await;
    let again = join_since(&mut alice, "room", &joined["epoch"], 1).await;
    assert_eq!(
        (&again["epoch"], &again["recovered"]),
        (&joined["epoch"], &json!(true)),
        "{again}"
    );
    let lost = alice.say("room", "lost").await;
    node.kill9();
    std::fs::copy(&copy, &file).expect("the copy can be put back");
    drop(std::fs::remove_file(file.with_extension("db-wal")));
    node.restart();
    node.ready().await;
    let mut alice = Raw::connect_as(node.address(), &token("alice")).await;
    let again = join_since(&mut alice, "room", &joined["epoch"], lost).await;
    assert_eq!(again["recovered"], false, "{again}");
    assert_ne!(again["epoch"], joined["epoch"]);
    assert!(alice.say("room", "next").await > lost);
}
