//! The faults. A row injects one of them, the random mix many.
//!
//! Each function injects its fault, waits for the given time and ends the fault before it returns.

use std::time::Duration;

use hubbub_tests::proxy::{Direction, Fault, Kind};
use hubbub_tests::redis::{Fsync, Redis};
use tokio::time::{Instant, interval, sleep};

use crate::arena::Arena;

/// Redis is killed and comes back with the data of its file. Returns when it answers again.
pub(crate) async fn redis_crash(arena: &Arena, down: Duration) -> Instant {
    let mut redis = arena.redis().await;
    redis.kill9();
    sleep(down).await;
    redis.restart().await;
    Instant::now()
}

/// Redis is killed and comes back without data. Returns when it answers again.
pub(crate) async fn redis_emptied(arena: &Arena, down: Duration) -> Instant {
    let mut redis = arena.redis().await;
    redis.kill9();
    sleep(down).await;
    redis.forget();
    redis.restart().await;
    Instant::now()
}

/// Redis is paused and continues. Returns when it continues.
pub(crate) async fn redis_freeze(arena: &Arena, during: Duration) -> Instant {
    let redis = arena.redis().await;
    redis.pause();
    sleep(during).await;
    redis.resume();
    Instant::now()
}

/// Redis sleeps for 0.3 s each second, and its answers come up to 0.3 s later.
pub(crate) async fn redis_jitter(arena: &Arena, during: Duration) {
    let jitter = Fault::Jitter(Duration::from_millis(300));
    for link in &arena.links {
        link.set(Direction::ToClient, jitter);
    }
    each(Duration::from_secs(1), during, async || {
        let redis = arena.redis().await;
        redis.command::<()>(&["DEBUG", "SLEEP", "0.3"]).await;
    })
    .await;
    for link in &arena.links {
        link.set(Direction::ToClient, Fault::Pass);
    }
}

/// Redis ends all subscriptions repeatedly. Returns how many.
pub(crate) async fn subscriptions_killed(arena: &Arena, every: Duration, during: Duration) -> u64 {
    let mut killed = 0;
    each(every, during, async || {
        killed += arena.redis().await.kill_subscriptions().await;
    })
    .await;
    killed
}

/// Redis forgets all scripts repeatedly.
pub(crate) async fn scripts_flushed(arena: &Arena, every: Duration, during: Duration) {
    each(every, during, async || {
        let redis = arena.redis().await;
        redis.command::<()>(&["SCRIPT", "FLUSH"]).await;
        redis.command::<()>(&["FUNCTION", "FLUSH"]).await;
    })
    .await;
}

/// Redis has no memory left and may not evict. Returns when it has memory again.
pub(crate) async fn redis_full(arena: &Arena, during: Duration) -> Instant {
    let redis = arena.redis().await;
    let info: String = redis.command(&["INFO", "memory"]).await;
    let used = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"))
        .and_then(|used| used.trim().parse::<u64>().ok())
        .expect("redis says what it uses");
    let limit = (used / 2).to_string();
    redis
        .command::<()>(&["CONFIG", "SET", "maxmemory", &limit])
        .await;
    sleep(during).await;
    redis
        .command::<()>(&["CONFIG", "SET", "maxmemory", "0"])
        .await;
    Instant::now()
}

/// Redis becomes a replica of another one by a failover, and takes no writes. Returns when it is
/// the primary again.
pub(crate) async fn redis_demoted(arena: &Arena, during: Duration) -> Instant {
    let redis = arena.redis().await;
    let other = Redis::start(Fsync::EverySecond).await;
    let (here, there) = (redis.port().to_string(), other.port().to_string());
    other
        .command::<()>(&["REPLICAOF", "127.0.0.1", &here])
        .await;
    in_sync(&other).await;
    hand_over(&redis, &there).await;
    sleep(during).await;
    in_sync(&redis).await;
    hand_over(&other, &here).await;
    let healed = Instant::now();
    other.command::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    healed
}

const IN_SYNC: Duration = Duration::from_secs(30);

async fn in_sync(replica: &Redis) {
    hubbub_tests::deadline::eventually("the replica is in sync", IN_SYNC, async || {
        let info: String = replica.try_command(&["INFO", "replication"]).await.ok()?;
        info.contains("master_link_status:up").then_some(())
    })
    .await;
}

/// The primary gives its role to its replica without loss.
async fn hand_over(primary: &Redis, port: &str) {
    let words = ["FAILOVER", "TO", "127.0.0.1", port, "TIMEOUT", "10000"];
    // A replica is in sync a moment before its primary counts it as online.
    hubbub_tests::deadline::eventually("the primary gives way", IN_SYNC, async || {
        primary.try_command::<()>(&words).await.ok()
    })
    .await;
    hubbub_tests::deadline::eventually("the roles have changed", IN_SYNC, async || {
        let info: String = primary.try_command(&["INFO", "replication"]).await.ok()?;
        info.contains("role:slave").then_some(())
    })
    .await;
}

/// One node's connections to Redis are held.
pub(crate) async fn link_held(arena: &Arena, node: usize, during: Duration) {
    faulty(arena, node, Direction::Both, Fault::Hold, during).await;
}

/// The answers of Redis to one node are discarded, then its connections are reset.
pub(crate) async fn link_swallows(arena: &Arena, node: usize, during: Duration) {
    let link = &arena.links[node];
    link.set(Direction::ToClient, Fault::Drop);
    sleep(during).await;
    link.reset();
    link.set(Direction::ToClient, Fault::Pass);
}

async fn faulty(arena: &Arena, node: usize, way: Direction, fault: Fault, during: Duration) {
    let link = &arena.links[node];
    link.set(way, fault);
    sleep(during).await;
    link.set(way, Fault::Pass);
}

/// Only the node's subscription is held; commands pass.
pub(crate) async fn subscription_held(arena: &Arena, node: usize, during: Duration) {
    let link = &arena.links[node];
    link.set_kind(Kind::Subscription, Direction::Both, Fault::Hold);
    sleep(during).await;
    link.set_kind(Kind::Subscription, Direction::Both, Fault::Pass);
}

/// One node's connections to Redis are reset repeatedly.
pub(crate) async fn link_reset(arena: &Arena, node: usize, every: Duration, during: Duration) {
    each(every, during, async || arena.links[node].reset()).await;
}

/// One node's connections to Redis are reset, and new ones are refused.
pub(crate) async fn link_refused(arena: &Arena, node: usize, during: Duration) {
    let link = &arena.links[node];
    link.refuse(true);
    link.reset();
    sleep(during).await;
    link.refuse(false);
}

/// One node's connections to Redis hang for ever; new ones pass.
pub(crate) fn link_stranded(arena: &Arena, node: usize) {
    arena.links[node].strand();
}

/// One node is killed and not started again.
pub(crate) async fn node_killed(arena: &Arena, node: usize) -> Instant {
    arena.node(node).await.kill9();
    Instant::now()
}

/// One node is killed and started again after a while.
pub(crate) async fn node_replaced(arena: &Arena, node: usize, down: Duration) {
    let mut process = arena.node(node).await;
    process.kill9();
    sleep(down).await;
    process.restart();
    process.ready().await;
}

/// One node is asked to end, and is started again after its end.
pub(crate) async fn node_redeployed(arena: &Arena, node: usize) {
    let mut process = arena.node(node).await;
    process.sigterm();
    let (status, _) = process.wait_exit(Duration::from_secs(150)).await;
    assert!(
        status.success(),
        "a drained node exits with success: {status}"
    );
    process.restart();
    process.ready().await;
}

/// One node is paused and continues. Returns when it continues.
pub(crate) async fn node_frozen(arena: &Arena, node: usize, during: Duration) -> Instant {
    let process = arena.node(node).await;
    process.pause();
    sleep(during).await;
    process.resume();
    Instant::now()
}

/// Does something at regular intervals.
async fn each(every: Duration, during: Duration, mut harm: impl AsyncFnMut()) {
    let end = Instant::now() + during;
    let mut clock = interval(every);
    while Instant::now() < end {
        clock.tick().await;
        harm().await;
    }
}
