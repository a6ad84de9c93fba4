//! B4 and B5: Redis does not answer for a while, or answers slowly.

use std::time::Duration;

use tokio::time::Instant;

use crate::injectors::{redis_freeze, redis_jitter};
use crate::row::Row;

/// Five times `limits.send_timeout`.
const ANSWER: Duration = Duration::from_secs(10);
/// Five times the goal of 3 s.
const NOTICED: Duration = Duration::from_secs(15);
/// Five times the goal of 0.7 s.
const PUBLISHED: Duration = Duration::from_millis(3_500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b04_redis_frozen() {
    let mut row = Row::start("B4", "SIGSTOP of Redis for 5 s (full: 5, 15 and 60 s)").await;
    row.fault().await;
    let times: &[u64] = row.scale.pick(&[5], &[5, 15, 60]);
    for (index, seconds) in times.iter().enumerate() {
        let frozen = Instant::now();
        let back = redis_freeze(&row.arena, Duration::from_secs(*seconds)).await;
        row.healed(back).await;
        row.expect_answers(frozen, back, ANSWER);
        if index == 0 {
            row.expect_not_ready(0, NOTICED).await;
            row.expect_ready(0, back, NOTICED).await;
        }
    }
    let is_short = times.len() == 1;
    let tally = row.finish().await;
    if is_short {
        assert_eq!(
            (tally.refused, tally.unknown),
            (0, 0),
            "every send was acked"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b05_redis_jitter() {
    let injected = "answers of Redis 0 to 0.3 s late, DEBUG SLEEP 0.3 each second";
    let mut row = Row::start("B5", injected).await;
    row.fault().await;
    let reconnects = row.arena.figure("redis_reconnects_total").await;
    let during = row.scale.seconds(6, 30);
    redis_jitter(&row.arena, during).await;
    row.healed(Instant::now()).await;
    let now = row.arena.figure("redis_reconnects_total").await;
    row.say("reconnects", now - reconnects);
    row.check(now <= reconnects, "a slow Redis causes no reconnect");
    for node in 0..3 {
        row.expect_steady(node);
    }
    let tally = row.finish().await;
    let p99 = tally.percentile(99);
    assert!(
        p99 <= PUBLISHED,
        "99 of 100 sends were acked within {p99:?}"
    );
}
