//! Compares history with a plain list. Random rooms have trimmed streams, archives that are behind,
//! messages that are edited, deleted, reacted to and expired, and changes of the epoch. They are
//! read in all four directions with all page sizes. `HUBBUB_HISTORY_SEED` repeats a run; each run
//! prints its seed.

mod model;
mod stage;

use hubbub_tests::deadline::within;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::runtime::Runtime;

use self::stage::{Play, Stage};

/// The number of random rooms for each pair of stores.
const CASES: u32 = 12;
/// The longest that one room may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// One step in a room's history. The numbers choose among the possible targets.
#[derive(Debug, Clone)]
enum Step {
    Send(usize),
    Edit(usize),
    Delete(usize),
    React(usize, u8, bool),
    /// The stream loses this part of what it may lose, in percent.
    Trim(u64),
    /// The archive stops writing from here on (`true`), or catches up.
    Hold(bool),
    /// Events older than this part of the room, in percent, expire.
    Expire(u64),
    /// A new epoch begins this many offsets above.
    Fork(u64),
    /// A page is read from this part of the room, in percent.
    Read(Way, u64, usize),
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Newest,
    Before,
    After,
    Around,
}

fn step() -> impl Strategy<Value = Step> {
    let way = prop_oneof![
        Just(Way::Newest),
        Just(Way::Before),
        Just(Way::After),
        Just(Way::Around)
    ];
    let size = prop_oneof![1..=8_usize, 1..=300_usize];
    prop_oneof![
        4 => (1..=40_usize).prop_map(Step::Send),
        3 => any::<usize>().prop_map(Step::Edit),
        3 => any::<usize>().prop_map(Step::Delete),
        3 => (any::<usize>(), 0..4_u8, prop::bool::weighted(0.7))
            .prop_map(|(pick, who, on)| Step::React(pick, who, on)),
        2 => (0..=100_u64).prop_map(Step::Trim),
        1 => any::<bool>().prop_map(Step::Hold),
        1 => (0..=60_u64).prop_map(Step::Expire),
        1 => (0..=5_u64).prop_map(Step::Fork),
        8 => (way, 0..=110_u64, size).prop_map(|(way, at, size)| Step::Read(way, at, size)),
    ]
}

/// Runs random rooms. A failure names the shortest failing room that was found, and the seed.
fn prove(open: impl AsyncFnOnce() -> Stage) {
    let seed = std::env::var("HUBBUB_HISTORY_SEED").ok();
    let seed = seed.map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap());
    eprintln!("HUBBUB_HISTORY_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: CASES,
        max_shrink_iters: 100,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let runtime = Runtime::new().unwrap();
    let stage = runtime.block_on(open());
    let rooms = prop::collection::vec(step(), 10..60);
    let played = runner.run(&rooms, |steps| {
        let play = async {
            let mut play = Play::new(&stage);
            for step in &steps {
                play.step(step).await?;
            }
            play.finish().await
        };
        runtime.block_on(within("a room", PATIENCE, play))
    });
    runtime.block_on(stage.close());
    if let Err(error) = played {
        panic!("seed {seed}: {error}");
    }
}

#[test]
fn history_is_right_in_memory() {
    prove(async || Stage::memory(None).await);
}

#[test]
fn history_is_right_in_memory_and_sqlite() {
    prove(async || Stage::sqlite().await);
}

#[test]
fn history_is_right_in_redis() {
    prove(async || Stage::redis(None).await);
}

#[test]
fn history_is_right_in_redis_and_postgres() {
    prove(async || Stage::postgres().await);
}
