//! B45 and B46: Redis comes back with less than the archive has, once or repeatedly. Afterwards
//! history has everything that a healthy Redis acked, and no place is acked twice.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use hubbub_tests::deadline::eventually;
use hubbub_tests::http;
use hubbub_tests::people::{SIGNED, token};
use hubbub_tests::postgres::Postgres;
use hubbub_tests::process::{NodeProcess, Setting, run};
use hubbub_tests::raw::Raw;
use hubbub_tests::redis::{Fsync, Redis};
use serde_json::{Value, json};
use tokio::sync::MutexGuard;

use crate::arena::turn;
use crate::scale::Scale;

const DEADLINE: Duration = Duration::from_secs(60);
const NODES: usize = 2;
const ROOMS: [&str; 3] = ["one", "two", "three"];
/// The settings without rate limits.
const FAST: [Setting<'_>; 3] = [
    SIGNED,
    ("limits.sends_per_second", "0"),
    ("limits.user_sends_per_second", "0"),
];

/// Two nodes and one Redis, with or without an archive.
struct Cluster {
    redis: Redis,
    postgres: Option<String>,
    nodes: Vec<NodeProcess>,
    /// Place → text of the message acked there, for all rooms.
    acked: BTreeMap<(String, String, u64), String>,
    number: usize,
    _turn: MutexGuard<'static, ()>,
}

impl Cluster {
    async fn start(archive: Option<&Postgres>) -> Self {
        let turn = turn().await;
        let redis = Redis::start(Fsync::EverySecond).await;
        let postgres = match archive {
            Some(postgres) => Some(postgres.database().await),
            None => None,
        };
        let mut nodes = Vec::new();
        for number in 0..NODES {
            let url = redis.url();
            let mut settings = vec![("redis.url", url.as_str())];
            settings.extend(postgres.as_deref().map(|url| ("archive.url", url)));
            settings.extend(FAST);
            nodes.push(NodeProcess::spawn(&format!("gw-{number}"), &settings));
        }
        for node in &mut nodes {
            node.ready().await;
        }
        Self {
            redis,
            postgres,
            nodes,
            acked: BTreeMap::new(),
            number: 0,
            _turn: turn,
        }
    }

    fn door(&self, number: usize) -> SocketAddr {
        self.nodes[number % NODES].address()
    }

    /// Sends `count` messages to each room over REST, through all nodes in turn, until each is
    /// acked. Returns their texts.
    async fn send(&mut self, count: u64) -> BTreeSet<String> {
        let mut texts = BTreeSet::new();
        for _ in 0..count {
            for room in ROOMS {
                let text = format!("text-{}", self.number);
                self.number += 1;
                let door = self.door(self.number);
                let sent = self.post(door, room, &text).await;
                let place = |name: &str| sent[name].as_str().unwrap_or_default().to_owned();
                let offset = sent["offset"].as_u64().expect("an offset");
                let key = (room.to_owned(), place("epoch"), offset);
                let before = self.acked.insert(key, text.clone());
                assert_eq!(before, None, "acked twice: {sent}");
                texts.insert(text);
            }
        }
        texts
    }

    async fn post(&self, door: SocketAddr, room: &str, text: &str) -> Value {
        let path = format!("/v1/rooms/{room}/messages");
        let body = json!({"body": {"text": text}, "nonce": text});
        let bearer = token("alice");
        let sent = async || {
            let answer = http::post_as(door, &bearer, &path, &body).await;
            (answer.status < 300).then(|| answer.json())
        };
        eventually("a send is acked", DEADLINE, sent).await.0
    }

    /// Waits until the archive has as many events as were acked.
    async fn archived(&self) {
        let Some(url) = &self.postgres else { return };
        let settings = [("archive.url", url.as_str())];
        let complete = async || {
            let report = run(&settings, &["archive", "verify"]).stdout;
            let report = String::from_utf8_lossy(&report);
            (events_in(&report)? >= self.acked.len()).then_some(())
        };
        eventually("the archive has all acked events", DEADLINE, complete).await;
    }

    /// All texts of a room's history, page by page.
    async fn history(&self, room: &str) -> Vec<String> {
        let (mut texts, mut after) = (Vec::new(), 0);
        loop {
            let path = format!("/v1/rooms/{room}/messages?after={after}&limit=300");
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
                self.door(0),
                token("alice")
            );
            let answer = http::exchange(self.door(0), request.as_bytes()).await;
            let page = answer.expect("history answers").json();
            for event in page["events"].as_array().expect("events") {
                after = event["offset"].as_u64().expect("an offset");
                texts.push(
                    event["body"]["text"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned(),
                );
            }
            if page["more"] != true {
                return texts;
            }
        }
    }

    async fn all_history(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for room in ROOMS {
            let texts = self.history(room).await;
            let once: BTreeSet<String> = texts.iter().cloned().collect();
            assert_eq!(once.len(), texts.len(), "{room}: each message once");
            all.extend(once);
        }
        all
    }

    /// Waits until history has all of these texts. Returns how many other acked ones it lacks.
    async fn expect_history(&self, texts: &BTreeSet<String>) -> usize {
        let complete = async || {
            let history = self.all_history().await;
            texts.is_subset(&history).then_some(history)
        };
        let (history, took) = eventually("history has all acked events", DEADLINE, complete).await;
        let lost = self.acked.values().filter(|text| !history.contains(*text));
        let lost = lost.count();
        println!(
            "acked {} lost by redis {lost} in history {} complete after {:.1} s",
            self.acked.len(),
            history.len(),
            took.as_secs_f64()
        );
        lost
    }

    async fn verify(&self) {
        let Some(url) = &self.postgres else { return };
        let redis = self.redis.url();
        let verify = async || {
            let settings = [("archive.url", url.as_str()), ("redis.url", redis.as_str())];
            let verified = run(&settings, &["archive", "verify"]);
            verified.status.success().then_some(verified.stdout)
        };
        let (report, _) = eventually("the archive is complete", DEADLINE, verify).await;
        println!("{}", String::from_utf8_lossy(&report));
    }
}

/// Parses "3 rooms with 105 events in the archive".
fn events_in(report: &str) -> Option<usize> {
    let (before, _) = report.split_once(" events in the archive")?;
    before.rsplit(' ').next()?.parse().ok()
}

/// K1: all processes die, Redis comes back with less than the archive has, and clients send at
/// once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b45_redis_is_older_than_the_archive() {
    let postgres = Postgres::shared().await;
    for round in 0..Scale::of_run().pick(2, 10) {
        let mut cluster = Cluster::start(Some(&postgres)).await;
        let mut kept = cluster.send(20).await;
        cluster.archived().await;
        let copy = cluster.redis.copy();
        kept.extend(cluster.send(1 + 7 * round as u64).await);
        cluster.archived().await;
        let is_alive = round % 2 == 1;
        if !is_alive {
            cluster.nodes.iter_mut().for_each(NodeProcess::kill9);
        }
        cluster.redis.kill9();
        cluster.redis.put_back(&copy);
        cluster.redis.restart().await;
        if !is_alive {
            for node in &mut cluster.nodes {
                node.restart();
                node.ready().await;
            }
        }
        kept.extend(cluster.send(100).await);
        cluster.archived().await;
        assert_eq!(cluster.expect_history(&kept).await, 0, "round {round}");
        cluster.verify().await;
    }
}

/// K2: Redis shows an older state repeatedly, on a connection that stays open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b46_redis_goes_back_and_forth() {
    let postgres = Postgres::shared().await;
    for archive in [None, Some(&*postgres)] {
        let mut cluster = Cluster::start(archive).await;
        let mut listener = Raw::connect_as(cluster.door(0), &token("bob")).await;
        listener.join(ROOMS[0]).await;
        let mut kept = cluster.send(5).await;
        copy_all_keys(&cluster.redis).await;
        for switch in 0..5 {
            let here = cluster.send(3 + switch).await;
            if archive.is_some() {
                cluster.archived().await;
                kept.extend(here);
            }
            cluster.redis.command::<()>(&["SWAPDB", "0", "1"]).await;
        }
        let last = cluster.send(5).await;
        kept.extend(last);
        if archive.is_none() {
            // Events in the other database are no longer in this Redis.
            kept = cluster.all_history().await;
        }
        cluster.archived().await;
        cluster.expect_history(&kept).await;
        cluster.verify().await;
        let reset = listener.next_of("reset").await;
        assert_eq!(reset["room"], ROOMS[0], "{reset}");
        let newest = format!("text-{}", cluster.number - ROOMS.len());
        let heard =
            async { while listener.next_of("message").await["body"]["text"] != newest.as_str() {} };
        let heard = tokio::time::timeout(DEADLINE, heard).await;
        heard.expect("a member receives messages sent after all switches");
    }
}

/// Copies the content of the first database to the second.
async fn copy_all_keys(redis: &Redis) {
    let keys: Vec<String> = redis.command(&["KEYS", "*"]).await;
    for key in keys {
        redis.command::<()>(&["COPY", &key, &key, "DB", "1"]).await;
    }
}
