//! C76: one message gets thousands of reactions, and its page is read again and again.

use std::time::{Duration, Instant};

use hubbub_tests::cluster::Cluster;
use hubbub_tests::people::SIGNED;
use hubbub_tests::raw::Raw;
use serde_json::{Value, json};

const USERS: usize = 4;
/// Reactions of each user, the last of which turns it on.
const TOGGLES: usize = 1_501;
/// Microseconds: a command that takes longer holds up everybody else in Redis. Reading all reactions
/// in one script takes about 60,000.
const SLOW: &str = "20000";
/// Pages that one user reads. Each reads some 6 MB of reactions: 16 MiB may be read at once, and then 4 MiB
/// a second.
const READS: usize = 6;
/// What they take at least at that pace; about 5 s.
const PACED: Duration = Duration::from_secs(2);

async fn toggle(mut raw: Raw) {
    raw.join("room").await;
    for number in 0..TOGGLES {
        let react = json!({
            "type": "react", "room": "room", "target": 1, "key": "+1", "on": number % 2 == 0
        });
        let answer = raw.ask(react).await;
        assert_eq!(answer["type"], "sent", "{answer}");
    }
}

fn history() -> Value {
    json!({"type": "history", "room": "room", "limit": 1, "before": 2})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c76_thousands_of_reactions_hold_nobody_up() {
    let cluster = Cluster::redis(1, &[SIGNED]).await;
    let mut alice = cluster.user(0, "alice").await;
    alice.join("room").await;
    assert_eq!(alice.say("room", "hello").await, 1);
    let mut users = Vec::new();
    for number in 0..USERS {
        let raw = cluster.user(0, &format!("user-{number}")).await;
        users.push(tokio::spawn(toggle(raw)));
    }
    for user in users {
        user.await.expect("every reaction is stored");
    }
    let redis = cluster.redis_ref();
    redis
        .command::<()>(&["CONFIG", "SET", "slowlog-log-slower-than", SLOW])
        .await;
    redis.command::<()>(&["SLOWLOG", "RESET"]).await;
    let mut mallory = cluster.user(0, "mallory").await;
    let start = Instant::now();
    for _ in 0..READS {
        let answer = mallory.ask(history()).await;
        let reactions = &answer["events"][0]["reactions"];
        assert_eq!(reactions[0]["count"], USERS, "{answer}");
    }
    let took = start.elapsed();
    println!("{READS} pages took {took:.1?}");
    assert!(took > PACED, "reading is charged: {took:?}");
    let slow: usize = redis.command(&["SLOWLOG", "LEN"]).await;
    // Where one script reads all of them, each page has one that is slow; a busy machine makes few so.
    assert!(slow < READS, "{slow} commands hold up the others");
}
