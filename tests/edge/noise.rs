//! Row C45: random bytes, random frames and broken commands on many sockets at once.

use std::time::{Duration, Instant};

use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::eventually;
use hubbub_tests::metrics::Metrics;
use hubbub_tests::raw::Raw;
use hubbub_tests::wire::{Frame, Wire, op};
use serde_json::json;
use tokio::task::JoinSet;

/// Frames in all, as the row says.
const FRAMES: usize = 1_000_000;
const FRAMES_EACH: usize = 50;
const AT_ONCE: usize = 16;
/// What real clients say.
const CAPTURES: [&str; 7] = [
    r#"{"type":"join","id":1,"room":"lobby","since":{"epoch":"k3f9","offset":41}}"#,
    r#"{"type":"send","id":3,"room":"lobby","nonce":"c-81","body":{"text":"hi"}}"#,
    r#"{"type":"react","id":6,"room":"lobby","target":58,"key":"👍","on":true}"#,
    r#"{"type":"history","id":7,"room":"lobby","before":40,"limit":50}"#,
    r#"{"type":"read","room":"lobby","offset":58}"#,
    r#"{"type":"hello","token":"a.b.c"}"#,
    r#"{"type":"leave","id":2,"room":"lobby"}"#,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_harms_nobody() {
    let settings = [
        ("limits.connections_per_address", "0"),
        ("limits.accepts_per_second", "0"),
        ("limits.connections_per_user", "0"),
    ];
    let cluster = Cluster::memory(1, &settings).await;
    let mut neighbour = cluster.raw(0).await;
    let quiet = pings(&mut neighbour, 200).await;

    let address = cluster.address(0);
    let mut noise = JoinSet::new();
    let mut loud = Vec::new();
    for seed in 0..(FRAMES / FRAMES_EACH) as u64 {
        noise.spawn(async move { make_noise(Wire::open_silent(address).await, seed).await });
        while noise.len() >= AT_ONCE {
            noise
                .join_next()
                .await
                .expect("one is there")
                .expect("no panic");
            loud.extend(pings(&mut neighbour, 1).await);
        }
    }
    while let Some(done) = noise.join_next().await {
        done.expect("no panic");
    }
    let (quiet, loud) = (p99(quiet), p99(loud));
    println!("{FRAMES} frames of noise: a neighbour's ping p99 {quiet:?} without, {loud:?} with");

    eventually(
        "the noisy ones are gone",
        Duration::from_secs(30),
        async || {
            let metrics = Metrics::read(cluster.ops(0)).await;
            (metrics.get("connections") == 1.0).then_some(())
        },
    )
    .await;
    assert_eq!(Metrics::read(cluster.ops(0)).await.get("panics_total"), 0.0);
    neighbour.join("lobby").await;
}

/// How long each of so many pings took.
async fn pings(raw: &mut Raw, count: usize) -> Vec<Duration> {
    let mut took = Vec::new();
    for _ in 0..count {
        let start = Instant::now();
        assert_eq!(raw.ask(json!({"type": "ping"})).await["type"], "pong");
        took.push(start.elapsed());
    }
    took
}

fn p99(mut took: Vec<Duration>) -> Duration {
    took.sort();
    took[(took.len() - 1) * 99 / 100]
}

async fn make_noise(mut wire: Wire, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..FRAMES_EACH {
        let bytes = match random.u8(..8) {
            0 => (0..random.usize(..200)).map(|_| random.u8(..)).collect(),
            1 => odd_frame(&mut random).bytes(),
            _ => Frame::new(op::TEXT, broken_command(&mut random)).bytes(),
        };
        wire.write(&bytes).await;
    }
}

fn odd_frame(random: &mut fastrand::Rng) -> Frame {
    let payload: Vec<u8> = (0..random.usize(..200)).map(|_| random.u8(..)).collect();
    Frame {
        masked: random.u8(..10) > 0,
        claim: (random.u8(..10) == 0).then(|| random.u64(..)),
        ..Frame::new(random.u8(..16), payload)
    }
}

/// A capture with some of its bytes changed, doubled or gone; often no UTF-8 any more.
fn broken_command(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = random.choice(CAPTURES).expect("some").as_bytes().to_vec();
    for _ in 0..random.usize(..4) {
        if bytes.len() < 2 {
            break;
        }
        let place = random.usize(..bytes.len());
        match random.u8(..4) {
            0 => bytes[place] = random.u8(..),
            1 => bytes.insert(place, bytes[place]),
            2 => drop(bytes.remove(place)),
            _ => bytes.truncate(place.max(1)),
        }
    }
    bytes
}
