//! C43: the least rights that SECURITY.md tells are enough, since a cluster runs with exactly those,
//! taken out of the page.

use std::collections::BTreeSet;
use std::path::Path;

use hubbub_tests::deadline::eventually;
use hubbub_tests::http::get;
use hubbub_tests::operator::{KEYED, look};
use hubbub_tests::postgres::Postgres;
use hubbub_tests::process::NodeProcess;
use hubbub_tests::raw::Raw;
use hubbub_tests::redis::{Fsync, Redis};
use redis::RedisResult;
use serde_json::json;

const PASSWORD: &str = "a-password-of-this-test";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests lie in the repository")
}

/// What stands between the fences of this kind in SECURITY.md, with the password filled in.
fn block(kind: &str) -> String {
    let page = std::fs::read_to_string(root().join("SECURITY.md")).expect("the page is there");
    let fence = format!("```{kind}\n");
    let (_, after) = page
        .split_once(&fence)
        .unwrap_or_else(|| panic!("no block {kind}"));
    let (block, _) = after.split_once("\n```").expect("the block ends");
    block.replace("CHANGE-ME", PASSWORD)
}

/// The words of the one command that makes the user.
fn acl() -> Vec<String> {
    let joined = block("redis").replace("\\\n", " ");
    joined.split_whitespace().map(str::to_owned).collect()
}

async fn redis_with_rights() -> Redis {
    let redis = Redis::start(Fsync::EverySecond).await;
    let words = acl();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let _: String = redis.command(&words).await;
    redis
}

async fn postgres_with_rights() -> Postgres {
    let postgres = Postgres::start().await;
    let sql = block("sql");
    let (before, after) = sql
        .split_once("\\connect hubbub\n")
        .expect("the page changes databases");
    for statement in before
        .split(";\n")
        .filter(|statement| !statement.trim().is_empty())
    {
        postgres.run("postgres", statement).await;
    }
    postgres.run("hubbub", after).await;
    postgres
}

#[tokio::test]
async fn c43_a_cluster_runs_with_exactly_the_rights_of_the_page() {
    let (redis, postgres) = (redis_with_rights().await, postgres_with_rights().await);
    let redis_url = format!("redis://hubbub:{PASSWORD}@127.0.0.1:{}", redis.port());
    let address = postgres.address();
    let archive_url = format!("postgres://hubbub:{PASSWORD}@{address}/hubbub");
    let settings = [
        ("redis.url", &*redis_url),
        ("archive.url", &*archive_url),
        ("ack.level", "archived"),
        KEYED,
    ];
    let one = NodeProcess::start("gw-1", &settings).await;
    let mut two = NodeProcess::start("gw-2", &settings).await;
    let (mut alice, mut bob) = (
        Raw::connect(one.address()).await,
        Raw::connect(two.address()).await,
    );
    alice.join("lobby").await;
    bob.join("lobby").await;
    everything(&mut alice, &mut bob).await;
    // Nodes answer each other through Redis.
    let nodes = look(one.ops(), "/admin/nodes").await;
    assert_eq!(nodes["nodes"].as_array().map(Vec::len), Some(2), "{nodes}");
    // The survivor takes back what the dead node had registered.
    two.kill9();
    let alone = async || {
        let members = alice.ask(json!({"type": "members", "room": "lobby"})).await;
        (members["count"] == 1).then_some(())
    };
    eventually(
        "the dead node's members are gone",
        std::time::Duration::from_secs(50),
        alone,
    )
    .await;
    let ready = get(one.ops(), "/readyz").await;
    assert_eq!(ready.status, 200, "{ready:?}");
    for log in [one.log(), two.log()] {
        for word in ["NOPERM", "permission", "no permissions", "does not allow"] {
            assert!(!log.contains(word), "{word}: {log}");
        }
    }
    let denied: Vec<redis::Value> = redis.command(&["ACL", "LOG"]).await;
    assert!(denied.is_empty(), "redis refused something: {denied:?}");
}

/// Every kind of command, so that every script runs.
async fn everything(alice: &mut Raw, bob: &mut Raw) {
    let send = |text: &str| json!({"type": "send", "room": "lobby", "nonce": text, "body": {"text": text}});
    let first = alice.ask(send("one")).await;
    assert_eq!(first["ack"], "archived", "{first}");
    assert_eq!(alice.ask(send("one")).await["duplicate"], true);
    let target = first["offset"].clone();
    for change in [
        json!({"type": "edit", "room": "lobby", "target": target, "body": {"text": "two"}}),
        json!({"type": "react", "room": "lobby", "target": target, "key": "x", "on": true}),
        json!({"type": "delete", "room": "lobby", "target": target}),
    ] {
        let changed = alice.ask(change).await;
        assert_eq!(changed["type"], "sent", "{changed}");
    }
    assert_eq!(bob.next_of("message").await["body"]["text"], "one");
    bob.next_of("deleted").await;
    alice
        .write(r#"{"type":"typing","room":"lobby","on":true}"#)
        .await;
    bob.next_of("typing").await;
    for (ask, answer) in [
        (json!({"type": "history", "room": "lobby"}), "history"),
        (json!({"type": "members", "room": "lobby"}), "members"),
        (json!({"type": "rooms"}), "rooms"),
        (
            json!({"type": "join", "room": "lobby", "recent": 10}),
            "joined",
        ),
        (json!({"type": "leave", "room": "lobby"}), "left"),
    ] {
        let answered = bob.ask(ask).await;
        assert_eq!(answered["type"], answer, "{answered}");
    }
    bob.join("lobby").await;
}

#[tokio::test]
async fn c43_the_rights_end_at_the_clusters_own_keys_and_tables() {
    let redis = redis_with_rights().await;
    let url = format!("redis://hubbub:{PASSWORD}@127.0.0.1:{}", redis.port());
    let client = redis::Client::open(url).expect("a good URL");
    let mut connection = client
        .get_multiplexed_async_connection()
        .await
        .expect("it may connect");
    for words in [
        &["GET", "other:key"][..],
        &["SET", "other:key", "1"],
        &["PUBLISH", "other:channel", "x"],
        &["SUBSCRIBE", "other:channel"],
        &["KEYS", "*"],
        &["SCAN", "0"],
        &["FLUSHALL"],
        &["CONFIG", "GET", "*"],
        &["ACL", "LIST"],
        &["EVAL", "return 1", "0"],
        &["CLIENT", "LIST"],
        &["SHUTDOWN"],
        &["DEBUG", "SLEEP", "0"],
    ] {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let answer: RedisResult<redis::Value> = command.query_async(&mut connection).await;
        let refused = answer.expect_err("it has no right to that").to_string();
        assert!(
            refused.contains("NOPERM") || refused.contains("ermission"),
            "{words:?}: {refused}"
        );
    }

    let postgres = postgres_with_rights().await;
    postgres
        .run("postgres", "CREATE TABLE theirs (secret TEXT)")
        .await;
    let address = postgres.address();
    let url = format!("postgres://hubbub:{PASSWORD}@{address}");
    let role = |database: &str, sql: &'static str| {
        let url = format!("{url}/{database}");
        async move {
            use sqlx::Connection;
            let mut connection = sqlx::PgConnection::connect(&url).await?;
            sqlx::raw_sql(sql).execute(&mut connection).await.map(drop)
        }
    };
    role("hubbub", "SELECT 1").await.expect("its own database");
    for (database, sql) in [
        ("hubbub", "CREATE TABLE public.mine (x INT)"),
        ("hubbub", "CREATE ROLE other"),
        ("hubbub", "CREATE DATABASE other"),
        ("hubbub", "CREATE SCHEMA other"),
        ("hubbub", "CREATE TEMPORARY TABLE other (x INT)"),
        ("hubbub", "COPY (SELECT 1) TO PROGRAM 'true'"),
        ("postgres", "SELECT secret FROM theirs"),
    ] {
        let refused = role(database, sql).await.expect_err(sql).to_string();
        assert!(
            ["permission denied", "must be superuser"]
                .iter()
                .any(|why| refused.contains(why)),
            "{sql}: {refused}"
        );
    }
}

/// The commands in the sources: those of scripts and those of the program.
fn used() -> BTreeSet<String> {
    let folder = root().join("crates/broker/src/redis");
    let mut found = BTreeSet::new();
    for folder in [folder.join("lua"), folder] {
        for entry in std::fs::read_dir(folder).expect("the sources are there") {
            let path = entry.expect("the folder can be read").path();
            let Ok(text) = std::fs::read_to_string(&path) else {
                continue;
            };
            for mark in ["redis.call('", "redis.pcall('", "cmd(\""] {
                for after in text.split(mark).skip(1) {
                    let name: String = after
                        .chars()
                        .take_while(char::is_ascii_alphabetic)
                        .collect();
                    found.insert(name.to_lowercase());
                }
            }
        }
    }
    // Through the crate's own functions.
    found.extend(["evalsha", "script|load", "subscribe", "unsubscribe"].map(str::to_owned));
    found
}

#[test]
fn c43_the_page_names_every_command_that_is_used() {
    let allowed: BTreeSet<String> = acl()
        .iter()
        .filter_map(|word| word.strip_prefix('+').map(str::to_owned))
        .collect();
    let missing: Vec<_> = used().difference(&allowed).cloned().collect();
    assert!(
        missing.is_empty(),
        "SECURITY.md allows no {missing:?}: add them to its redis block"
    );
    let unused: Vec<_> = allowed.difference(&used()).cloned().collect();
    println!("allowed, and not found in the sources: {unused:?}");
}
