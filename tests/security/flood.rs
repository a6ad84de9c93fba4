//! C45: random bytes, random frames and mutated commands in numbers. Nothing breaks, nothing leaks, neighbours hardly notice.

use std::time::{Duration, Instant};

use hubbub_tests::deadline::eventually;
use hubbub_tests::http::get;
use hubbub_tests::metrics::Metrics;
use hubbub_tests::process::NodeProcess;
use hubbub_tests::procfs;
use hubbub_tests::raw::Raw;
use hubbub_tests::wire::{Frame, Wire, op};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// As the row says.
const FRAMES: usize = 1_000_000;
const ATTACKERS: usize = 4;

const DEADLINE: Duration = Duration::from_secs(30);

/// Real commands, from which the mutated ones are made.
const CAPTURES: [&str; 11] = [
    r#"{"type":"join","id":1,"room":"lobby","since":{"epoch":"k3f9","offset":41}}"#,
    r#"{"type":"send","id":3,"room":"lobby","nonce":"c-81","body":{"text":"hi"}}"#,
    r#"{"type":"edit","id":4,"room":"lobby","target":58,"body":{"text":"hello"}}"#,
    r#"{"type":"react","id":6,"room":"lobby","target":58,"key":"x","on":true}"#,
    r#"{"type":"history","id":7,"room":"lobby","before":40,"limit":50}"#,
    r#"{"type":"typing","room":"lobby","on":true}"#,
    r#"{"type":"members","id":8,"room":"lobby"}"#,
    r#"{"type":"refresh","id":10,"token":"a.b.c"}"#,
    r#"{"type":"read","room":"lobby","offset":58}"#,
    r#"{"type":"hello","token":"a.b.c"}"#,
    r#"{"type":"leave","id":2,"room":"lobby"}"#,
];

/// One of the four kinds; the generator makes them the same for the same seed.
fn noise(random: &mut fastrand::Rng) -> Vec<u8> {
    match random.u8(0..60) {
        0 => garbage(random),
        1 => {
            let frame = Frame {
                first: random.u8(..),
                masked: random.bool(),
                claim: (random.u8(0..8) == 0).then(|| random.u64(..)),
                payload: garbage(random),
            };
            frame.bytes()
        }
        2..=15 => Frame::new(op::TEXT, value(random, 0).to_string()).bytes(),
        _ => Frame::new(op::TEXT, broken_command(random)).bytes(),
    }
}

fn garbage(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = vec![0; random.usize(0..200)];
    random.fill(&mut bytes);
    bytes
}

/// A capture with some of its bytes changed, doubled or gone; seldom no UTF-8 any more.
fn broken_command(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = CAPTURES[random.usize(..CAPTURES.len())].as_bytes().to_vec();
    for _ in 0..random.usize(0..4) {
        let at = random.usize(..bytes.len());
        match random.u8(0..80) {
            0 => bytes[at] = random.u8(128..),
            1 => bytes.truncate(at.max(1)),
            2..=26 => bytes[at] = random.u8(32..127),
            27..=52 if bytes.len() > 1 => drop(bytes.remove(at)),
            _ => bytes.insert(at, random.u8(32..127)),
        }
    }
    bytes
}

fn value(random: &mut fastrand::Rng, depth: u8) -> serde_json::Value {
    match random.u8(0..if depth > 4 { 4 } else { 6 }) {
        0 => json!(null),
        1 => json!(random.i64(..)),
        2 => json!(random.bool()),
        3 => {
            let text: String = (0..5).map(|_| random.char(..)).collect();
            json!(text)
        }
        4 => (0..random.u8(0..4))
            .map(|_| value(random, depth + 1))
            .collect(),
        _ => {
            let names = ["type", "room", "id", "body", "since", "x"];
            let mut object = serde_json::Map::new();
            for _ in 0..random.u8(0..4) {
                object.insert(
                    names[random.usize(..names.len())].to_owned(),
                    value(random, depth + 1),
                );
            }
            object.into()
        }
    }
}

/// Writes so many frames, on a new connection whenever the node has had enough of one.
async fn attack(address: std::net::SocketAddr, seed: u64, count: usize) -> usize {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut sent, mut connections) = (0, 0);
    while sent < count {
        connections += 1;
        let mut wire = Wire::open_silent(address).await;
        // As many as one connection may be heard before it is closed, written at once.
        let batch = random.usize(20..60);
        let bytes: Vec<u8> = (0..batch).flat_map(|_| noise(&mut random)).collect();
        wire.write(&bytes).await;
        // Mostly it has been closed by then.
        drop(timeout(Duration::from_millis(20), wire.wait_end()).await);
        sent += batch;
    }
    connections
}

async fn round_trips(raw: &mut Raw, count: usize) -> Duration {
    let mut took = Vec::new();
    for _ in 0..count {
        let start = Instant::now();
        assert_eq!(raw.ask(json!({"type": "ping"})).await["type"], "pong");
        took.push(start.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    took.sort();
    took[count * 99 / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c45_random_and_mutated_frames_break_nothing() {
    let settings = [("archive.url", ""), ("limits.accepts_per_second", "0")];
    let mut node = NodeProcess::start("gw-flood", &settings).await;
    let address = node.address();
    let mut neighbour = Raw::connect(address).await;
    neighbour.join("lobby").await;
    let calm = round_trips(&mut neighbour, 100).await;
    // The first wave fills caches and pools.
    attack(address, 1, 5_000).await;
    let before = procfs::rss(node.pid()).expect("it runs");
    let (start, cpu) = (Instant::now(), procfs::cpu(node.pid()).expect("it runs"));
    let mut attackers = JoinSet::new();
    for seed in 0..ATTACKERS {
        attackers.spawn(attack(address, 2 + seed as u64, FRAMES / ATTACKERS));
    }
    let busy = round_trips(&mut neighbour, 300).await;
    let connections: usize = attackers.join_all().await.into_iter().sum();
    let cores = (procfs::cpu(node.pid()).expect("it runs") - cpu).as_secs_f64()
        / start.elapsed().as_secs_f64();
    assert_eq!(node.exited(), None, "{}", node.log());
    eventually("the attackers are gone", DEADLINE, async || {
        let metrics = Metrics::read(node.ops()).await;
        (metrics.get("connections") == 1.0).then_some(())
    })
    .await;
    let metrics = Metrics::read(node.ops()).await;
    assert_eq!(metrics.get("panics_total"), 0.0, "{}", node.log());
    assert_eq!(get(node.ops(), "/readyz").await.status, 200);
    let grown = procfs::rss(node.pid())
        .expect("it runs")
        .saturating_sub(before);
    println!(
        "{FRAMES} frames over {connections} connections in {:.1?}: {cores:.2} cores, {} KiB more, \
         a neighbour's p99 {calm:.2?} before and {busy:.2?} meanwhile",
        start.elapsed(),
        grown / 1024
    );
    assert!(grown < 64 << 20, "{grown} bytes more");
    assert!(busy < Duration::from_secs(2), "{busy:?}");
    assert!(!node.log().contains("panicked"), "{}", node.log());
}
