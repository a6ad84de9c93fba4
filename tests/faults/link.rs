//! B7 and B9: one node's link to Redis is half-open, loses answers, hangs, is reset or refused. The
//! other nodes' links work.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::injectors::{link_held, link_refused, link_reset, link_stranded, link_swallows};
use crate::row::Row;

/// Five times the goal of 5 s.
const FOUND: Duration = Duration::from_secs(25);
const READY: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b07_half_open_link() {
    let mut row = Row::start("B7", "one node's connections to Redis held").await;
    row.fault().await;
    let during = row.scale.seconds(7, 30);
    let others = async {
        sleep(Duration::from_secs(3)).await;
        row.reach_head(|member| member.home != 0).await
    };
    let ((), others) = tokio::join!(link_held(&row.arena, 0, during), others);
    let back = Instant::now();
    row.healed(back).await;
    row.say_time("others_meanwhile", others);
    row.expect_not_ready(0, FOUND).await;
    row.expect_ready(0, back, READY).await;
    row.expect_steady(1);
    row.expect_steady(2);
    row.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b07_link_that_swallows_answers() {
    let mut row = Row::start("B7b", "answers of Redis to one node discarded, then reset").await;
    row.fault().await;
    let during = row.scale.seconds(4, 30);
    link_swallows(&row.arena, 0, during).await;
    row.healed(Instant::now()).await;
    row.expect_steady(1);
    row.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b07_link_that_hangs_for_ever() {
    let injected = "one node's connections to Redis hang for ever, new ones pass";
    let mut row = Row::start("B7c", injected).await;
    row.fault().await;
    let stranded = Instant::now();
    link_stranded(&row.arena, 0);
    // Nothing ends this fault. Packets in flight arrive first; the node must find out that all
    // later ones are missing.
    sleep(Duration::from_millis(500)).await;
    row.healed(stranded).await;
    row.expect_steady(1);
    row.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b09_reconnect_refused_first() {
    let injected = "one node's connections to Redis reset, and refused for 3 s (full: 10 s)";
    let mut row = Row::start("B9", injected).await;
    row.fault().await;
    let during = row.scale.seconds(3, 10);
    link_refused(&row.arena, 0, during).await;
    let back = Instant::now();
    row.healed(back).await;
    row.expect_not_ready(0, FOUND).await;
    row.expect_ready(0, back, READY).await;
    row.expect_steady(1);
    row.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b09_link_reset_again_and_again() {
    let mut row = Row::start("B9b", "one node's connections to Redis reset every 0.5 s").await;
    row.fault().await;
    let during = row.scale.seconds(4, 30);
    link_reset(&row.arena, 0, Duration::from_millis(500), during).await;
    row.healed(Instant::now()).await;
    row.expect_steady(1);
    row.finish().await;
}
