//! `hubbub archive` on archives that are whole, that are not, and that are not there.

use std::process::Output;
use std::time::Duration;

use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::eventually;
use hubbub_tests::local::{self, LocalNode};
use hubbub_tests::people::{SIGNED, token};
use hubbub_tests::port::free_port;
use hubbub_tests::postgres::Postgres;
use hubbub_tests::process::{Setting, command, run};
use hubbub_tests::raw::Raw;
use hubbub_tests::redis::{Fsync, Redis};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(60);

fn verify(settings: &[Setting<'_>]) -> (Option<i32>, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = run(settings, &["archive", "verify"]);
    let text = String::from_utf8_lossy(&stdout) + String::from_utf8_lossy(&stderr);
    (status.code(), text.into_owned())
}

fn assert_verdict(settings: &[Setting<'_>], code: i32, words: &[&str]) {
    let (found, text) = verify(settings);
    assert_eq!(found, Some(code), "{text}");
    for word in words {
        assert!(text.contains(word), "{word} in\n{text}");
    }
}

/// Says ten things in a room, changes two, and waits until all are in the archive.
async fn talk(raw: &mut Raw, room: &str) {
    raw.join(room).await;
    for number in 1..=10 {
        raw.say(room, &format!("message {number}")).await;
    }
    let edit = json!({"type": "edit", "room": room, "target": 4, "body": {"text": "changed"}});
    let delete = json!({"type": "delete", "room": room, "target": 5, "ack": "archived"});
    assert_eq!(raw.ask(edit).await["type"], "sent");
    assert_eq!(raw.ask(delete).await["type"], "sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_checked_while_a_node_writes_it() {
    let folder = TempDir::new().expect("a temporary directory can be made");
    let path = folder.path().join("chat.db");
    let url = format!("sqlite://{}", path.display());
    let archive = [("archive.url", url.as_str())];
    let cluster = Cluster::memory(1, &[SIGNED, archive[0]]).await;
    let mut alice = cluster.user(0, "alice").await;
    talk(&mut alice, "lobby").await;
    talk(&mut alice, "other").await;
    let words = ["2 rooms with 24 events", "whole:", "redis.url is not set"];
    assert_verdict(&archive, 0, &words);

    let options = SqliteConnectOptions::new()
        .filename(&path)
        .foreign_keys(false);
    let harm = async |sql: &str| {
        let mut connection = options.connect().await.expect("the file can be opened");
        let sql = AssertSqlSafe(sql.to_owned());
        let done = sqlx::raw_sql(sql).execute(&mut connection).await;
        done.expect("the file can be harmed");
    };
    let of_other = "room_id = (SELECT id FROM rooms WHERE room = 'other')";
    harm(&format!(
        "DELETE FROM events WHERE number IN (2, 3, 7) AND {of_other}"
    ))
    .await;
    let words = [
        "other",
        "offsets 2-3, 7 missing in life",
        "NOT WHOLE: 1 rooms",
    ];
    assert_verdict(&archive, 1, &words);
    harm(&format!(
        "INSERT INTO events SELECT NULL, room_id, number, 'twice', message || 'x', kind, sender, \
            nonce, target, ts, deleted, NULL, NULL, frame FROM events \
            WHERE number = 9 AND {of_other}; \
         INSERT INTO lives SELECT room_id, 'twice', NULL, 0, 0 FROM lives WHERE {of_other}"
    ))
    .await;
    let words = ["1 there twice, the first at offset 9", "NOT WHOLE: 1 rooms"];
    assert_verdict(&archive, 1, &words);
}

/// A node over Redis and PostgreSQL of its own, and what both are called.
struct Stage {
    redis: Redis,
    postgres: std::sync::Arc<Postgres>,
    database: String,
    url: String,
    _node: LocalNode,
    alice: Raw,
}

impl Stage {
    async fn new() -> Self {
        let redis = Redis::start(Fsync::EverySecond).await;
        let postgres = Postgres::shared().await;
        let url = postgres.database().await;
        let settings = [
            SIGNED,
            ("archive.url", url.as_str()),
            ("redis.url", &redis.url()),
        ];
        let node = LocalNode::start(local::settings(0, &settings)).await;
        let alice = Raw::connect_as(node.address(), &token("alice")).await;
        let database = url.rsplit('/').next().expect("a database").to_owned();
        Self {
            redis,
            postgres,
            database,
            url,
            _node: node,
            alice,
        }
    }

    fn check(&self, code: i32, words: &[&str]) {
        let redis = self.redis.url();
        let settings = [("archive.url", self.url.as_str()), ("redis.url", &redis)];
        assert_verdict(&settings, code, words);
    }

    async fn harm(&self, sql: &str) {
        self.postgres.run(&self.database, sql).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_archive_and_the_streams_are_compared() {
    let mut stage = Stage::new().await;
    talk(&mut stage.alice, "lobby").await;
    talk(&mut stage.alice, "other").await;
    let nodes = ["ZRANGE", "hubbub:nodes", "0", "-1"];
    let before: Vec<String> = stage.redis.command(&nodes).await;
    stage.check(
        0,
        &[
            "2 rooms with 24 events",
            "2 streams in Redis, 24 events compared",
            "whole:",
        ],
    );
    let after: Vec<String> = stage.redis.command(&nodes).await;
    assert_eq!(before, after, "who only looks is no node");

    // The newest event: what is left has no hole, but the stream knows better.
    let of_other = "room_id = (SELECT id FROM rooms WHERE room = 'other')";
    stage
        .harm(&format!(
            "DELETE FROM events WHERE number = 12 AND {of_other}"
        ))
        .await;
    stage.check(
        1,
        &[
            "offsets 12 in the stream, not in the archive",
            "NOT WHOLE: 1 rooms",
        ],
    );
    stage
        .harm(&format!(
            "UPDATE events SET message = 'X' WHERE number = 8 AND {of_other}"
        ))
        .await;
    stage.check(1, &["offsets 8 another event than in the stream"]);
    // What retention has taken away is not missing.
    stage
        .harm(&format!(
            "UPDATE events SET message = message || 'x' WHERE FALSE; \
             DELETE FROM events WHERE {of_other}; UPDATE lives SET expired = 12 WHERE {of_other}"
        ))
        .await;
    stage.check(0, &["2 rooms with 12 events", "whole:"]);
    // A room that the archive has lost as a whole.
    stage.harm("TRUNCATE rooms CASCADE").await;
    stage.check(1, &["offsets 1-12 in the stream", "NOT WHOLE: 2 rooms"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_wrong_while_people_talk() {
    let mut stage = Stage::new().await;
    talk(&mut stage.alice, "busy").await;
    let redis = stage.redis.url();
    let settings = [("archive.url", stage.url.clone()), ("redis.url", redis)];
    let looks = tokio::task::spawn_blocking(move || {
        let settings: Vec<Setting<'_>> = settings
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
            .collect();
        (0..5).map(|_| verify(&settings)).collect::<Vec<_>>()
    });
    while !looks.is_finished() {
        stage.alice.say("busy", "more").await;
    }
    for (code, text) in looks.await.expect("the checks end") {
        assert_eq!(code, Some(0), "{text}");
    }
}

#[tokio::test]
async fn what_cannot_be_checked_is_exit_code_2() {
    let dead = format!("127.0.0.1:{}", free_port());
    let postgres = format!("postgres://hubbub@{dead}/x");
    let redis = format!("redis://{dead}");
    let server = Postgres::shared().await;
    let there = server.database().await;
    let cases: [(&[Setting<'_>], &str); 6] = [
        (&[("archive.url", "")], "there is no archive"),
        (
            &[("archive.url", "sqlite://nowhere.db")],
            "no file nowhere.db",
        ),
        (&[("archive.url", &postgres)], "not available"),
        (&[("archive.url", "mysql://h/db")], "archive.url"),
        (
            &[("archive.url", &there), ("redis.url", &redis)],
            "redis.url",
        ),
        (&[("archive.ulr", "x")], "archive.url"),
    ];
    for (settings, words) in cases {
        assert_verdict(settings, 2, &[words]);
    }
    // An archive without a room is whole.
    assert_verdict(&[("archive.url", &there)], 0, &["0 rooms", "whole:"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_is_exported_as_it_stands() {
    let mut stage = Stage::new().await;
    talk(&mut stage.alice, "lobby").await;
    let mut heard = Vec::new();
    eventually("all was heard", DEADLINE, async || {
        let frame = stage.alice.next().await;
        if frame["offset"].is_u64() && frame["room"] == "lobby" && frame["type"] != "sent" {
            heard.push(frame);
        }
        (heard.len() == 12).then_some(())
    })
    .await;
    let settings = [("archive.url", stage.url.as_str())];
    let output = run(&settings, &["archive", "export", "lobby"]);
    assert!(output.status.success(), "{output:?}");
    assert!(
        output.stderr.is_empty(),
        "no progress where nobody looks: {output:?}"
    );
    let text = String::from_utf8(output.stdout).expect("JSON is text");
    assert_eq!(text.lines().count(), 12);
    for (line, frame) in text.lines().zip(&heard) {
        let exported: Value = serde_json::from_str(line).expect("a line is JSON");
        if frame["offset"] == 5 {
            assert_eq!(exported["deleted"], true, "{line}");
        } else if frame["offset"] == 4 {
            assert_eq!(exported["body"]["text"], "changed", "{line}");
            assert!(exported["edited"].is_object(), "{line}");
        } else {
            assert_eq!(line, frame.to_string());
        }
    }
    let flag = ["archive", "export", "lobby", "--archive-url", &stage.url];
    assert_eq!(String::from_utf8_lossy(&run(&[], &flag).stdout), text);
    for (room, words) in [("nowhere", "no room nowhere"), ("a b", "ROOM")] {
        let output = run(&settings, &["archive", "export", room]);
        assert_eq!(output.status.code(), Some(2));
        assert!(
            String::from_utf8_lossy(&output.stderr).contains(words),
            "{output:?}"
        );
        assert!(output.stdout.is_empty());
    }
}

#[tokio::test]
async fn a_reader_may_stop_reading() {
    let folder = TempDir::new().expect("a temporary directory can be made");
    let url = format!("sqlite://{}", folder.path().join("chat.db").display());
    let settings = [SIGNED, ("archive.url", url.as_str())];
    let cluster = Cluster::memory(1, &settings).await;
    let mut alice = cluster.user(0, "alice").await;
    alice.join("long").await;
    for _ in 0..40 {
        alice.say("long", &"x".repeat(10_000)).await;
    }
    let mut export = command(&folder, &settings[1..], &["archive", "export", "long"]);
    let mut child = export
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the binary can be started");
    // Nobody reads: the pipe breaks as soon as something is written.
    drop(child.stdout.take());
    let status = child.wait().expect("it ends");
    assert!(status.success(), "{status:?}");
}
