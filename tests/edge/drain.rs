//! SIGTERM: not ready at once, clients moved, exit 0, nothing acked lost.

use std::time::{Duration, Instant};

use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::eventually;
use hubbub_tests::http;
use hubbub_tests::load::pace;
use hubbub_tests::oracle::assert_kept;
use hubbub_tests::process::NodeProcess;
use hubbub_tests::raw::{Raw, upgrade_request};
use hubbub_tests::redis::{Fsync, Redis};
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Error;

const SETTINGS: [hubbub_tests::process::Setting<'_>; 3] = [
    ("drain.ready_delay", "1s"),
    ("drain.spread", "1s"),
    ("drain.deadline", "10s"),
];
/// Five times ready delay and spread.
const DEADLINE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_client_is_told_to_reconnect_and_closed_with_1012() {
    let mut node = NodeProcess::start("gw-drain", &SETTINGS).await;
    let mut raw = Raw::connect(node.address()).await;
    raw.join("lobby").await;
    let start = Instant::now();
    node.sigterm();
    let (status, took) = eventually("not ready", DEADLINE, async || {
        let answer = http::try_get(node.ops(), "/readyz").await?;
        (answer.status != 200).then_some(answer.status)
    })
    .await;
    println!("not ready ({status}) {took:.2?} after SIGTERM");
    assert!(
        took < Duration::from_secs(1),
        "before the first client is moved: {took:?}"
    );
    let reconnect = raw.next_of("reconnect").await;
    assert_eq!(reconnect["reason"], "draining");
    assert!(reconnect["after_ms"].is_u64(), "{reconnect}");
    assert_eq!(raw.close_code().await, 1012);
    let moved = start.elapsed();
    drop(raw);
    assert!(
        moved >= Duration::from_millis(900),
        "after the ready delay: {moved:?}"
    );
    let (status, _) = node.wait_exit(DEADLINE).await;
    assert_eq!(status.code(), Some(0), "{}", node.log());
    println!(
        "moved after {moved:.2?}, exit after {:.2?}",
        start.elapsed()
    );
}

/// Row C34: who comes while the others are moved is told to come back, here or elsewhere.
#[tokio::test]
async fn c34_nobody_new_is_let_in_while_clients_are_moved() {
    let settings = [
        ("drain.ready_delay", "200ms"),
        ("drain.spread", "5s"),
        ("drain.deadline", "10s"),
    ];
    let mut node = NodeProcess::start("gw-full", &settings).await;
    let mut raws = Vec::new();
    for _ in 0..10 {
        let mut raw = Raw::connect(node.address()).await;
        raw.join("lobby").await;
        raws.push(raw);
    }
    node.sigterm();
    let (wait, _) = eventually(
        "new ones are refused",
        DEADLINE,
        async || match Raw::try_open(upgrade_request(node.address())).await {
            Err(Error::Http(response)) if response.status() == 503 => {
                response.headers().get("retry-after").cloned()
            }
            _ => None,
        },
    )
    .await;
    let wait = wait.to_str().ok().and_then(|text| text.parse::<u64>().ok());
    assert!(
        wait.is_some_and(|wait| (1..=10).contains(&wait)),
        "{wait:?}"
    );
    drop(raws);
    let (status, _) = node.wait_exit(DEADLINE).await;
    assert_eq!(status.code(), Some(0), "{}", node.log());
}

#[tokio::test]
async fn a_node_without_clients_ends_after_the_ready_delay() {
    let settings = [("drain.ready_delay", "1s"), ("drain.spread", "20s")];
    let mut node = NodeProcess::start("gw-empty", &settings).await;
    node.sigterm();
    let (status, took) = node.wait_exit(DEADLINE).await;
    assert_eq!(status.code(), Some(0), "{}", node.log());
    println!("a node without clients ended after {took:.2?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_under_load_loses_nothing() {
    let redis = Redis::start(Fsync::EverySecond).await;
    let mut cluster = Cluster::processes(redis, 2, &SETTINGS).await;
    let (moving, staying) = (
        cluster.record(0, "drain").await,
        cluster.record(1, "drain").await,
    );
    let during = Duration::from_secs(5);
    let drain = async {
        sleep(Duration::from_secs(1)).await;
        cluster.process(0).sigterm();
        cluster.process(0).wait_exit(DEADLINE).await
    };
    let (one, two, (status, took)) = tokio::join!(
        pace(moving.client(), "drain", "moving", 100, during),
        pace(staying.client(), "drain", "staying", 100, during),
        drain,
    );
    assert_eq!(status.code(), Some(0));
    let outcome = hubbub_tests::load::Outcome::of_all([one, two]);
    assert!(
        outcome.unknown.is_empty() && outcome.refused.is_empty(),
        "{outcome:?}"
    );
    let top = outcome
        .acked
        .iter()
        .map(|acked| acked.offset)
        .max()
        .unwrap_or(0);
    for recorder in [&moving, &staying] {
        recorder.wait_offset(top, DEADLINE).await;
    }
    let summary = assert_kept(&[moving.heard(), staying.heard()], &outcome.acked, &[]);
    assert!(!moving.notes().disconnects.is_empty(), "it was moved");
    assert_eq!(staying.notes().disconnects, [] as [String; 0]);
    println!(
        "drained under 200 msg/s: exit 0 after {took:.2?}, {} events identical, slowest send {:.2?}",
        summary.events, outcome.slowest
    );
}
