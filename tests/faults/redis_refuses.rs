//! B11 to B14 and B16: Redis answers, but refuses writes, or has forgotten something.

use std::time::Duration;

use hubbub_tests::disk::SmallDisk;
use hubbub_tests::process::NodeProcess;
use hubbub_tests::recorder::Notes;
use hubbub_tests::redis::{Fsync, Redis};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::arena::{Arena, turn};
use crate::injectors::{redis_demoted, redis_full, scripts_flushed};
use crate::row::Row;
use crate::scale::Scale;
use crate::workload::TO_HEAD;

/// Five times the goal of 3 s.
const NOTICED: Duration = Duration::from_secs(15);
/// Five times the goal of 2 s.
const BACK: Duration = Duration::from_secs(10);

/// Checks that sends are refused while the fault lasts, and acked soon after.
async fn refused_and_back(row: &mut Row, back: Instant) {
    row.healed(back).await;
    row.expect_not_ready(0, NOTICED).await;
    row.expect_ready(0, back, BACK).await;
    row.expect_answers(row.fault_at, back, BACK);
}

/// Sends are refused while it lasts, but no node leaves the balancer: every other one meets the same
/// Redis, and it can be read.
async fn refused_but_ready(row: &mut Row, back: Instant) {
    row.healed(back).await;
    row.expect_degraded(0, NOTICED).await;
    row.expect_answers(row.fault_at, back, BACK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b11_redis_full_memory() {
    let mut row = Row::start("B11", "maxmemory below what is used, noeviction").await;
    row.fault().await;
    let back = redis_full(&row.arena, row.scale.seconds(7, 15)).await;
    refused_but_ready(&mut row, back).await;
    row.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b12_redis_full_disk() {
    let turn = turn().await;
    let scale = Scale::of_run();
    let dir = TempDir::new().expect("a temporary directory can be made");
    let place = dir.path().join("disk");
    std::fs::create_dir(&place).expect("a new directory");
    let disk = SmallDisk::mount(&place, scale.pick(16 << 20, 48 << 20));
    let redis = Redis::start_in(Fsync::EverySecond, place, dir).await;
    let arena = Arena::over(turn, redis, |launch, _| launch).await;
    let mut row = Row::start_in("B12", "the disk under Redis' file is full", arena, scale).await;
    row.fault().await;
    disk.fill();
    sleep(row.scale.seconds(7, 15)).await;
    disk.free();
    refused_but_ready(&mut row, Instant::now()).await;
    row.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b13_an_evicting_redis_is_refused() {
    let _turn = turn().await;
    let redis = Redis::start(Fsync::EverySecond).await;
    redis
        .command::<()>(&["CONFIG", "SET", "maxmemory", "100mb"])
        .await;
    redis
        .command::<()>(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"])
        .await;
    let url = redis.url();
    let mut careful = NodeProcess::spawn("gw-careful", &[("redis.url", &url)]);
    let (status, _) = careful.wait_exit(BACK).await;
    let says = careful.log();
    assert!(!status.success(), "{says}");
    assert!(
        says.contains("maxmemory-policy"),
        "the error says what to change: {says}"
    );
    let settings = [
        ("redis.url", url.as_str()),
        ("redis.allow_eviction", "true"),
    ];
    NodeProcess::start("gw-bold", &settings).await;
    println!(
        "row B13 injected=\"maxmemory-policy allkeys-lru at the start\" lost=0 duplicated=0 out_of_order=0 to_head=- refused_start=yes"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b13_an_evicted_key_is_a_new_life() {
    let mut row = Row::start("B13", "DEL of every room's meta key, as by eviction").await;
    row.allowed.resets = true;
    row.fault().await;
    let redis = row.arena.redis().await;
    let keys: Vec<String> = redis.command(&["KEYS", "hubbub:*:meta"]).await;
    let words: Vec<&str> = ["DEL"]
        .into_iter()
        .chain(keys.iter().map(String::as_str))
        .collect();
    let gone: usize = redis.command(&words).await;
    drop(redis);
    let back = Instant::now();
    row.say("keys", gone);
    row.check(gone >= row.scale.rooms, "keys were deleted");
    for member in &row.load.members {
        let is_told = |notes: &Notes| notes.resets > 0;
        member
            .recorder
            .wait_notes("a reset", TO_HEAD, is_told)
            .await;
    }
    row.healed(back).await;
    row.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b14_scripts_flushed() {
    let mut row = Row::start(
        "B14",
        "SCRIPT FLUSH and FUNCTION FLUSH every 0.5 s (full: 1 s)",
    )
    .await;
    row.fault().await;
    let every = row
        .scale
        .pick(Duration::from_millis(500), Duration::from_secs(1));
    let during = row.scale.seconds(4, 30);
    scripts_flushed(&row.arena, every, during).await;
    row.healed(Instant::now()).await;
    for node in 0..3 {
        row.expect_steady(node);
    }
    let answers = row.load.answers.iter().flat_map(|answers| answers.all());
    let codes: Vec<String> = answers
        .map(|answer| answer.code)
        .filter(|code| code != "sent")
        .collect();
    row.check(
        codes.is_empty(),
        format!("no client gets an error: {codes:?}"),
    );
    let tally = row.finish().await;
    assert_eq!(
        (tally.refused, tally.unknown),
        (0, 0),
        "every send was acked"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b16_redis_demoted() {
    let injected = "Redis made a replica of another one by FAILOVER, and primary again";
    let mut row = Row::start("B16", injected).await;
    row.fault().await;
    let back = redis_demoted(&row.arena, row.scale.seconds(7, 20)).await;
    refused_and_back(&mut row, back).await;
    row.finish().await;
}
