//! B35 to B39: PostgreSQL is away or stuck, an archiver is killed repeatedly, the archive is too
//! far behind, and an embedded archive is killed with its node.

use std::time::Duration;

use hubbub_tests::deadline::eventually;
use hubbub_tests::disk::SmallDisk;
use hubbub_tests::load::flood;
use hubbub_tests::metrics::Metrics;
use hubbub_tests::oracle::assert_kept;
use hubbub_tests::people::{SIGNED, token};
use hubbub_tests::postgres::Postgres;
use hubbub_tests::process::{NodeProcess, run};
use hubbub_tests::raw::Raw;
use hubbub_tests::recorder::Recorder;
use hubbub_tests::redis::{Fsync, Redis};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::arena::{NODES, turn};
use crate::injectors::node_replaced;
use crate::row::Row;

/// Five times the goal, which is 20 ms more than without the fault; the machine is shared.
const PUBLISHED: Duration = Duration::from_secs(2);
const DEADLINE: Duration = Duration::from_secs(60);

async fn start(name: &str, injected: &str, postgres: &Postgres) -> Row {
    let url = postgres.database().await;
    let settings = [("archive.url", url.as_str())];
    let mut row = Row::start_with(name, injected, Fsync::Always, &settings).await;
    row.archive = Some(url.clone());
    row
}

/// Checks that clients noticed nothing and that the archive catches up.
async fn the_chat_went_on(mut row: Row) {
    row.healed(Instant::now()).await;
    for node in 0..NODES {
        row.expect_steady(node);
    }
    let tally = row.finish().await;
    assert_eq!(
        (tally.refused, tally.unknown),
        (0, 0),
        "every send was acked"
    );
    assert!(tally.percentile(99) <= PUBLISHED, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b35_postgres_away() {
    let mut postgres = Postgres::start().await;
    let injected = "PostgreSQL stopped at once for 5 s (full: 30 s)";
    let mut row = start("B35", injected, &postgres).await;
    row.fault().await;
    postgres.stop().await;
    sleep(row.scale.seconds(5, 30)).await;
    postgres.restart().await;
    the_chat_went_on(row).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b36_postgres_stuck() {
    let postgres = Postgres::start().await;
    let injected = "PostgreSQL's events locked for 5 s (full: 10 s)";
    let mut row = start("B36", injected, &postgres).await;
    let url = row.archive.clone().expect("the row has an archive");
    let database = url.rsplit('/').next().expect("a database").to_owned();
    row.fault().await;
    let seconds = row.scale.pick(5, 10);
    let lock = format!(
        "BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep({seconds}); COMMIT"
    );
    postgres.run(&database, &lock).await;
    the_chat_went_on(row).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b38_archiver_killed() {
    let postgres = Postgres::start().await;
    let injected = "kill -9 of one node after the other, 4 times (full: 20)";
    let mut row = start("B38", injected, &postgres).await;
    row.allowed.moves = true;
    row.fault().await;
    for round in 0..row.scale.pick(4, 20) {
        let down = Duration::from_millis(fastrand::u64(0..300));
        node_replaced(&row.arena, round % NODES, down).await;
    }
    // A client that has lost several connections in a row waits up to 20 s before the next try.
    row.healed_within(Instant::now(), DEADLINE).await;
    row.finish().await;
}

/// Events beyond the bound are lost to the archive, and the archive reports it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b37_archive_too_far_behind() {
    let _turn = turn().await;
    let mut postgres = Postgres::start().await;
    let redis = Redis::start(Fsync::EverySecond).await;
    let (url, redis_url) = (postgres.database().await, redis.url());
    let settings = [
        SIGNED,
        ("archive.url", url.as_str()),
        ("redis.url", redis_url.as_str()),
        ("history.stream_len", "100"),
        ("history.archive_backlog", "500"),
    ];
    let node = NodeProcess::start("gw", &settings).await;
    let recorder = Recorder::raw("gw", node.address(), "far").await;
    postgres.stop().await;
    let config = hubbub_client::ClientConfig::new([format!("http://{}", node.address())]);
    let sender = Recorder::resuming("sender", config, "far").await;
    flood(sender.client(), "far", "s", 3_000).await;
    recorder.wait_count(3_000, DEADLINE).await;
    postgres.restart().await;
    let holes = async || {
        let holes = Metrics::read(node.ops()).await.sum("archive_holes_total");
        (holes > 0.0).then_some(holes)
    };
    let (holes, took) = eventually("the archive reports the hole", DEADLINE, holes).await;
    let verify = async || {
        let verified = run(&settings[1..3], &["archive", "verify"]);
        verified.status.success().then_some(verified.stdout)
    };
    let (report, _) = eventually("the rest of the archive is complete", DEADLINE, verify).await;
    println!(
        "row B37 holes={holes} reported after {:.1} s\n{}",
        took.as_secs_f64(),
        String::from_utf8_lossy(&report)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b39_embedded_killed() {
    let _turn = turn().await;
    let rounds = crate::scale::Scale::of_run().pick(4, 20);
    let mut node = NodeProcess::start("alone", &[("archive.url", "sqlite://chat.db")]).await;
    let config = || hubbub_client::ClientConfig::new([format!("http://{}", node.address())]);
    let recorder = Recorder::resuming("client", config(), "room").await;
    let sender = Recorder::resuming("sender", config(), "room").await;
    let mut acked = Vec::new();
    for round in 0..rounds {
        let name = format!("r{round}");
        let sending = flood(sender.client(), "room", &name, 500);
        let killing = async {
            sleep(Duration::from_millis(fastrand::u64(50..600))).await;
            node.kill9();
            node.restart();
            node.ready().await;
        };
        let (outcome, ()) = tokio::join!(sending, killing);
        acked.extend(outcome.acked);
    }
    let top = acked.iter().map(|acked| acked.offset).max().unwrap_or(0);
    recorder.wait_offset(top, DEADLINE).await;
    sender.wait_offset(top, DEADLINE).await;
    assert_eq!(
        recorder.notes().resets + sender.notes().resets,
        0,
        "one epoch"
    );
    assert_eq!(recorder.notes().unrecovered, 0, "every resume was complete");
    let summary = assert_kept(&[recorder.heard()], &acked, &[]);
    println!(
        "row B39 rounds={rounds} acked={} events={}",
        summary.acked, summary.events
    );
    node.kill9();
    let file = format!("sqlite://{}", node.dir().path().join("chat.db").display());
    let verified = run(&[("archive.url", &file)], &["archive", "verify"]);
    assert!(verified.status.success(), "{verified:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b39_embedded_disk_full() {
    let _turn = turn().await;
    let folder = TempDir::new().expect("a temporary directory can be made");
    let disk = SmallDisk::mount(folder.path(), 8 << 20);
    let file = format!("sqlite://{}", folder.path().join("chat.db").display());
    let node = NodeProcess::start("alone", &[SIGNED, ("archive.url", &file)]).await;
    let mut alice = Raw::connect_as(node.address(), &token("alice")).await;
    let joined = alice.join("room").await;
    let mut acked = alice.say("room", "before").await;
    disk.fill();
    let send = json!({"type": "send", "room": "room", "body": {"text": "x".repeat(8_000)}});
    let refused = async || {
        let answer = alice.ask(send.clone()).await;
        match answer["type"].as_str() {
            Some("sent") => {
                acked = answer["offset"].as_u64().expect("an offset");
                None
            }
            _ => Some(answer),
        }
    };
    let (refused, _) = eventually("the disk is full", DEADLINE, refused).await;
    assert_eq!(refused["code"], "unavailable", "{refused}");
    assert_eq!(alice.ask(json!({"type": "ping"})).await["type"], "pong");
    assert!(
        !alice.history("room").await.is_empty(),
        "stored events can be read"
    );
    disk.free();
    let works = async || {
        let answer = alice
            .ask(json!({"type": "send", "room": "room", "body": 1}))
            .await;
        (answer["type"] == "sent").then_some(answer)
    };
    let (sent, _) = eventually("sends are acked again", DEADLINE, works).await;
    assert_eq!(
        (&sent["epoch"], &sent["offset"]),
        (&joined["epoch"], &json!(acked + 1)),
        "the next offset, in the same epoch"
    );
}
