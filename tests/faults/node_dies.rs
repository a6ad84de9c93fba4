//! B20, B21, B23, B24, B27, B48 and B49: a node is killed, drained or paused, dies between storing
//! and acking, or panics in a session or a background task.

use std::time::Duration;

use hubbub_tests::deadline::eventually;
use hubbub_tests::http;
use hubbub_tests::raw::Raw;
use hubbub_tests::recorder::Recorder;
use hubbub_tests::redis::Fsync;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::arena::Arena;
use crate::injectors::{node_frozen, node_killed};
use crate::presence::{Audience, Change, enter, present};
use crate::row::Row;
use crate::scale::Scale;
use crate::workload::TO_HEAD;

/// Five times the goal of 5 s for a client to be back.
const RESUMED: Duration = Duration::from_secs(25);
/// Five times the time for which a background task is shown after its panic.
const WELL: Duration = Duration::from_secs(55);
const FAILPOINTS: &str = "HUBBUB_FAILPOINTS";
const PANIC_IN_TASK: &str = "panic-in-task";

/// Three nodes, of which the first one has this failpoint.
async fn with_failpoint(name: &'static str) -> Arena {
    Arena::start_with(Fsync::Always, move |mut launch, number| {
        if number == 0 {
            launch.env.push((FAILPOINTS.to_owned(), name.to_owned()));
        }
        launch
    })
    .await
}

/// How long after the fault each resuming client of the node was back, sorted.
async fn times_back(row: &Row, node: usize) -> Vec<Duration> {
    let mut times = Vec::new();
    for member in &row.load.members {
        if member.home == node && !member.is_bare {
            let back = async || member.recorder.joined_after(row.fault_at);
            let what = format!("{} is back", member.recorder.name());
            let (joined, _) = eventually(&what, RESUMED, back).await;
            times.push(joined - row.fault_at);
        }
    }
    times.sort();
    times
}

fn percentile_99(times: &[Duration]) -> Duration {
    let last = times.len().saturating_sub(1);
    times[(times.len() * 99 / 100).min(last)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b20_node_killed() {
    let mut row = Row::start("B20", "kill -9 of one of three nodes").await;
    row.harm(0);
    let audience = Audience::start(&row.arena, &[1, 2]).await;
    let door = row.arena.doors[0];
    let ghosts = [
        enter(&row.arena, door, "Bob").await,
        enter(&row.arena, door, "Cy").await,
    ];
    audience.wait("Cy", Change::Joined, 1).await;
    row.fault().await;
    let killed = node_killed(&row.arena, 0).await;
    row.healed(killed).await;
    let times = times_back(&row, 0).await;
    row.say_time("back_p99", percentile_99(&times));
    for name in ["Bob", "Cy"] {
        audience.wait(name, Change::Left, 1).await;
    }
    row.say_time("ghosts_gone", row.fault_at.elapsed());
    for name in ["Bob", "Cy"] {
        audience.assert_counts(&row.arena, name, 1, 1).await;
    }
    assert_eq!(present(&row.arena, 1).await, [] as [String; 0]);
    drop(ghosts);
    for node in [1, 2] {
        row.expect_steady(node);
    }
    let tally = row.finish().await;
    assert_eq!(
        (tally.refused, tally.unknown),
        (0, 0),
        "every send was acked"
    );
}

const DRAIN: [(&str, &str); 3] = [
    ("drain.ready_delay", "1s"),
    ("drain.spread", "3s"),
    ("drain.deadline", "10s"),
];
/// Five times the deadline of the default settings.
const ENDED: Duration = Duration::from_secs(150);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b21_node_drained() {
    let scale = Scale::of_run();
    let settings = scale.pick(&DRAIN[..], &[]);
    let injected = "SIGTERM to one of three nodes";
    let mut row = Row::start_with("B21", injected, Fsync::Always, settings).await;
    row.harm(0);
    row.fault().await;
    row.arena.node(0).await.sigterm();
    let ops = row.arena.ops[0];
    let leaving = async || {
        let answer = http::try_get(ops, "/readyz").await?;
        (answer.status == 404).then_some(())
    };
    let ((), said) = eventually("the node reports that it drains", TO_HEAD, leaving).await;
    row.say_time("not_ready", said);
    let door = row.arena.doors[0];
    let (status, took) = {
        let mut node = row.arena.node(0).await;
        node.wait_exit(ENDED).await
    };
    row.check(
        status.success(),
        format!("the node exits with success: {status}"),
    );
    row.check(
        TcpStream::connect(door).await.is_err(),
        "new connections are refused",
    );
    row.say_time("exit", took);
    row.healed(Instant::now()).await;
    times_back(&row, 0).await;
    let mut codes = Vec::new();
    for member in &row.load.members {
        if member.home == 0 && member.is_bare {
            codes.extend(member.recorder.notes().disconnects);
        }
    }
    let is_polite = codes.iter().all(|code| code.starts_with("Some((1012"));
    row.check(
        is_polite && !codes.is_empty(),
        format!("closed by 1012: {codes:?}"),
    );
    for node in [1, 2] {
        row.expect_steady(node);
    }
    let tally = row.finish().await;
    assert_eq!(
        (tally.refused, tally.unknown),
        (0, 0),
        "every send was acked"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b21_a_second_signal_ends_it_at_once() {
    let arena = Arena::start(Fsync::EverySecond, &[]).await;
    let _client = arena_client(&arena).await;
    let mut node = arena.node(0).await;
    node.sigterm();
    let ops = node.ops();
    let leaving = async || {
        let answer = http::try_get(ops, "/readyz").await?;
        (answer.status == 404).then_some(())
    };
    eventually("the node reports that it drains", TO_HEAD, leaving).await;
    node.sigterm();
    // The ready delay alone is 5 s.
    let (_, took) = node.wait_exit(Duration::from_secs(4)).await;
    println!("a second SIGTERM ended a draining node after {took:.2?}");
}

async fn arena_client(arena: &Arena) -> Raw {
    let mut raw = Raw::connect(arena.doors[0]).await;
    raw.join("drained").await;
    raw
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b23_node_frozen() {
    let injected = "SIGSTOP of one node for 9 s (full: 20 s), longer than its lease";
    let mut row = Row::start("B23", injected).await;
    let audience = Audience::start(&row.arena, &[1, 2]).await;
    let _frozen = enter(&row.arena, row.arena.doors[0], "Bob").await;
    audience.wait("Bob", Change::Joined, 1).await;
    row.fault().await;
    let during = row.scale.seconds(9, 20);
    let left = async {
        audience.wait("Bob", Change::Left, 1).await;
        row.fault_at.elapsed()
    };
    let (back, left) = tokio::join!(node_frozen(&row.arena, 0, during), left);
    row.healed(back).await;
    row.say_time("left", left);
    let back = audience.wait("Bob", Change::Joined, 2).await;
    row.say_time("rejoined", back);
    audience.assert_counts(&row.arena, "Bob", 2, 1).await;
    for node in [1, 2] {
        row.expect_steady(node);
    }
    row.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b24_crash_between_commit_and_ack() {
    const NONCE: &str = "abort-after-publish";
    let scale = Scale::of_run();
    let arena = with_failpoint(NONCE).await;
    let injected = "one node aborts after the script has stored a send and before its ack";
    let mut row = Row::start_in("B24", injected, arena, scale).await;
    row.harm(0);
    let config = row.arena.client(0);
    let witness = Recorder::resuming_into(&row.load.ledger, "victim", config, "room-0").await;
    row.fault().await;
    let room = hubbub_protocol::RoomId::new("room-0").expect("the room ID is valid");
    let body = json!(NONCE);
    let receipt = witness.client().begin_send(&room, &body, Some(NONCE)).await;
    let sent = receipt.expect("the send begins").wait().await;
    let sent = sent.expect("another node acks it");
    row.say_time("acked_again", row.fault_at.elapsed());
    row.check(sent.duplicate, "the retry found the first one");
    witness.page().write(|ledger, me| {
        let ack = hubbub_tests::oracle::Ack {
            room: room.as_str(),
            epoch: sent.epoch.as_str(),
            offset: sent.offset,
            nonce: Some(NONCE),
            message: sent.message.as_deref(),
            in_turn: true,
        };
        ledger.sent(me, &ack);
    });
    let dead = row.arena.node(0).await.exited();
    row.check(
        dead.is_some_and(|status| !status.success()),
        "the failpoint ended the node",
    );
    row.healed(Instant::now()).await;
    witness.leave().await;
    let tally = row.finish().await;
    assert_eq!(
        (tally.refused, tally.unknown),
        (0, 0),
        "every send was acked"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b27_task_panic() {
    const NONCE: &str = "panic-in-session";
    let scale = Scale::of_run();
    let arena = with_failpoint(NONCE).await;
    let mut row = Row::start_in("B27", "one session's task panics", arena, scale).await;
    let mut victim = Raw::connect(row.arena.doors[0]).await;
    victim.join("room-0").await;
    row.fault().await;
    let before = row.arena.metrics(0).await.get("panics_total");
    let send = json!({"type": "send", "room": "room-0", "nonce": NONCE, "body": 1});
    victim.write(send.to_string()).await;
    let code = victim.close_code().await;
    row.check(
        code == 1011,
        format!("its client gets close code 1011, not {code}"),
    );
    let panics = row.arena.metrics(0).await.get("panics_total") - before;
    row.check(panics == 1.0, format!("the panic is counted: {panics}"));
    row.healed(Instant::now()).await;
    for node in 0..3 {
        row.expect_steady(node);
    }
    let tally = row.finish().await;
    assert_eq!(
        (tally.refused, tally.unknown),
        (0, 0),
        "other sessions keep running"
    );
}

/// Has the background task of node 0 panic.
async fn panic_in(row: &Row, task: &str) {
    let mut sender = Raw::connect(row.arena.doors[0]).await;
    sender.join("room-0").await;
    let nonce = format!("{PANIC_IN_TASK}:{task}");
    let send = json!({"type": "send", "room": "room-0", "nonce": nonce, "body": task});
    sender.write(send.to_string()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b48_background_tasks_panic() {
    const TASKS: [&str; 5] = ["delivery", "resync", "presence", "outbox_budget", "expiry"];
    let injected = "each background task of a node that can begin again panics once";
    let mut row = Row::start_in(
        "B48",
        injected,
        with_failpoint(PANIC_IN_TASK).await,
        Scale::of_run(),
    )
    .await;
    row.fault().await;
    let ops = row.arena.ops[0];
    for task in TASKS {
        panic_in(&row, task).await;
        let problem = format!("the background task '{task}' has panicked and begins again");
        let told = async || {
            let answer = http::try_get(ops, "/readyz").await?;
            let is_told = answer.body.starts_with("degraded: ") && answer.body.contains(&problem);
            (answer.status == 200 && is_told).then_some(())
        };
        eventually("the problem is shown", RESUMED, told).await;
        let metric = format!("background_task_panics_total{{task=\"{task}\"}}");
        let panics = row.arena.metrics(0).await.get(&metric);
        row.check(
            panics >= 1.0,
            format!("{task}: {panics} panics are counted"),
        );
    }
    row.healed(Instant::now()).await;
    let well = async || {
        let answer = http::try_get(ops, "/readyz").await?;
        answer.body.starts_with("ready").then_some(())
    };
    eventually("the node is ready again", WELL, well).await;
    for node in 0..3 {
        row.expect_steady(node);
    }
    let tally = row.finish().await;
    assert_eq!(
        (tally.refused, tally.unknown),
        (0, 0),
        "every send was acked"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b49_background_task_cannot_begin_again() {
    let injected = "the task that renews a node's lease panics";
    let mut row = Row::start_in(
        "B49",
        injected,
        with_failpoint(PANIC_IN_TASK).await,
        Scale::of_run(),
    )
    .await;
    row.harm(0);
    row.fault().await;
    panic_in(&row, "lease").await;
    let ended = async || row.arena.node(0).await.exited();
    let (status, _) = eventually("the node ends", RESUMED, ended).await;
    row.check(
        status.code() == Some(1),
        format!("the node ends with exit code 1, not with {status}"),
    );
    row.healed(Instant::now()).await;
    row.finish().await;
}
