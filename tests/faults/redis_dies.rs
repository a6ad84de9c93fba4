//! B1 to B3: Redis dies and comes back with all, none or some of its data.

use std::time::Duration;

use hubbub_tests::deadline::{eventually, within};
use hubbub_tests::ledger::Ledger;
use hubbub_tests::oracle::Ack;
use hubbub_tests::raw::Raw;
use hubbub_tests::recorder::{Notes, Recorder};
use hubbub_tests::redis::Fsync;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::arena::Arena;
use crate::injectors::{redis_crash, redis_emptied};
use crate::row::Row;
use crate::workload::TO_HEAD;

const DOWN: Duration = Duration::from_secs(2);
/// Five times the goal of 2 s.
const NOTICED: Duration = Duration::from_secs(10);
/// Five times `limits.send_timeout`.
const ANSWER: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b01_redis_crash() {
    let mut row = Row::start("B1", "kill -9 of Redis, back after 2 s on its file").await;
    row.fault().await;
    let back = redis_crash(&row.arena, DOWN).await;
    row.healed(back).await;
    row.expect_not_ready(0, NOTICED).await;
    row.expect_ready(0, back, NOTICED).await;
    row.expect_answers(row.fault_at, back, ANSWER);
    let tally = row.finish().await;
    assert_eq!(
        (tally.refused, tally.unknown),
        (0, 0),
        "every send was acked"
    );
}

/// Checks the answers that a bare sender gets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b01_without_redis_a_send_is_unavailable_and_never_local() {
    const ROOM: &str = "alone";
    let arena = Arena::start(Fsync::Always, &[]).await;
    let listener = Recorder::raw("listener", arena.doors[0], ROOM).await;
    let mut sender = Raw::connect(arena.doors[0]).await;
    sender.join(ROOM).await;
    let send = |nonce: &str| json!({"type": "send", "room": ROOM, "nonce": nonce, "body": nonce});
    assert_eq!(sender.ask(send("before")).await["offset"], 1);
    listener.wait_count(1, ANSWER).await;

    arena.redis().await.kill9();
    let (mut slowest, mut codes) = (Duration::ZERO, Vec::new());
    for number in 0..3 {
        let asked = Instant::now();
        let reply = sender.ask(send(&format!("during-{number}"))).await;
        slowest = slowest.max(asked.elapsed());
        assert_eq!(reply["type"], "error", "{reply}");
        codes.push(reply["code"].as_str().unwrap_or_default().to_owned());
    }
    assert!(slowest < ANSWER, "answered after {slowest:?}");
    // Redis may have stored the first send before it died. It cannot have stored the others.
    assert!(
        ["unavailable", "unknown"].contains(&codes[0].as_str()),
        "{codes:?}"
    );
    assert_eq!(codes[1..], ["unavailable", "unavailable"]);
    assert_eq!(listener.count(), 1, "nothing was delivered without Redis");

    arena.redis().await.restart().await;
    let retried = async {
        loop {
            let reply = sender.ask(send("during-0")).await;
            if reply["type"] == "sent" {
                return reply;
            }
        }
    };
    let reply: Value = within("a retry is acked", ANSWER, retried).await;
    assert_eq!(
        reply["offset"], 2,
        "stored once, after the earlier event: {reply}"
    );
    assert_eq!(sender.ask(send("after")).await["offset"], 3);
    listener.wait_count(3, ANSWER).await;
    println!("without redis: sends answered {codes:?}, the slowest after {slowest:.2?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b02_redis_restarts_empty() {
    let injected = "kill -9 of Redis, back after 2 s with nothing";
    let mut row = Row::start("B2", injected).await;
    row.allowed.resets = true;
    row.fault().await;
    let back = redis_emptied(&row.arena, DOWN).await;
    everyone_is_told(&mut row, back).await;
    row.healed(back).await;
    row.finish().await;
}

/// Checks that every client learns about the new epoch of its room.
async fn everyone_is_told(row: &mut Row, back: Instant) {
    for member in &row.load.members {
        let is_told = |notes: &Notes| notes.resets > 0;
        member
            .recorder
            .wait_notes("a reset", TO_HEAD, is_told)
            .await;
    }
    row.say_time("told", back.elapsed());
    let resets = row.arena.figure("resets_total").await;
    row.check(resets > 0.0, "the metrics count the resets");
}

/// Uses quiet rooms, so that nodes have not read them yet when the first send is acked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b02_what_is_acked_at_once_by_an_empty_redis_is_heard() {
    const ROOM: &str = "quiet";
    let arena = Arena::start(Fsync::Always, &[]).await;
    let ledger = Ledger::default();
    let mut listeners = Vec::new();
    for (number, door) in arena.doors.iter().enumerate() {
        let name = format!("listener-{number}");
        listeners.push(Recorder::raw_into(&ledger, &name, *door, ROOM).await);
    }
    let mut sender = Raw::connect(arena.doors[0]).await;
    sender.join(ROOM).await;
    let page = ledger.client("sender");
    let mut top = 0;
    for round in 0..3 {
        for number in 0..5 {
            let nonce = format!("n{round}-{number}");
            let send = json!({"type": "send", "room": ROOM, "nonce": nonce, "body": 1});
            let send = async || {
                let reply = sender.ask(send.clone()).await;
                (reply["type"] == "sent").then_some(reply)
            };
            let (sent, _) = eventually("a send is acked", ANSWER, send).await;
            top = sent["offset"].as_u64().unwrap_or_default();
            page.write(|ledger, me| {
                ledger.sent(
                    me,
                    &Ack {
                        room: ROOM,
                        epoch: sent["epoch"].as_str().unwrap_or_default(),
                        offset: top,
                        nonce: Some(&nonce),
                        message: sent["message"].as_str(),
                        in_turn: true,
                    },
                );
            });
        }
        // Events that Redis loses before any node has read them are lost.
        for listener in &listeners {
            listener.wait_offset(top, TO_HEAD).await;
        }
        if round < 2 {
            redis_emptied(&arena, Duration::ZERO).await;
        }
    }
    for listener in &listeners {
        listener.wait_offset(top, TO_HEAD).await;
        let notes = listener.notes();
        assert_eq!(notes.disconnects, Vec::<String>::new());
        assert!(notes.resets > 0, "{notes:?}");
    }
    let report = ledger.open().report();
    assert!(report.is_kept(), "{report}");
    assert_eq!(report.total.skipped_in_known_life, 0, "{report}");
    println!("acked by an empty redis before a node has read it, and received:\n{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b03_redis_restored_from_an_older_copy() {
    let injected = "kill -9 of Redis, back with a copy of its file that is some seconds old";
    let mut row = Row::start("B3", injected).await;
    row.allowed.resets = true;
    sleep(row.scale.before / 2).await;
    let copy = row.arena.redis().await.copy();
    row.fault().await;
    let back = {
        let mut redis = row.arena.redis().await;
        redis.kill9();
        redis.put_back(&copy);
        redis.restart().await;
        Instant::now()
    };
    everyone_is_told(&mut row, back).await;
    row.healed(back).await;
    row.finish().await;
}
