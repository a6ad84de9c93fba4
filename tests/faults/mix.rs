//! B43: random faults from a seed (`HUBBUB_FAULTS_SEED`, `HUBBUB_FAULTS_MINUTES`).

use std::str::FromStr;
use std::time::Duration;

use futures_util::future::join_all;
use hubbub_tests::redis::Fsync;
use tokio::time::{Instant, sleep};

use crate::arena::Arena;
use crate::nemesis::plan;
use crate::row::Row;
use crate::scale::Scale;

/// Five times the cap of a client's back-off. Clients that have found several nodes dead in a row
/// wait longer before they try again.
const BACK: Duration = Duration::from_secs(100);
/// The seed that runs with all other rows.
const USUAL_SEED: u64 = 1;
const USUAL_MINUTES: f64 = 0.25;

const SETTINGS: [(&str, &str); 4] = [
    ("drain.ready_delay", "1s"),
    ("drain.spread", "3s"),
    ("drain.deadline", "10s"),
    // By default the streams shrink with the `maxmemory` of Redis, which one of the faults lowers, and at
    // the end all that was said is read back from them.
    ("history.cluster_bytes", "1GiB"),
];

fn from_env<T: FromStr>(name: &str, usual: T) -> T {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text:?}")),
        Err(_) => usual,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b43_random_mix() {
    let seed = from_env("HUBBUB_FAULTS_SEED", USUAL_SEED);
    let minutes = from_env("HUBBUB_FAULTS_MINUTES", USUAL_MINUTES);
    let total = Duration::from_secs_f64(minutes * 60.0);
    let scale = Scale::of_run().lasting(total);
    let arena = Arena::start(Fsync::Always, &SETTINGS).await;
    let injected = format!("a random mix, seed {seed}, {minutes} min");
    let mut row = Row::start_in("B43", &injected, arena, scale).await;
    let plan = plan(seed);
    row.fault().await;
    println!("the plan of seed {seed}:");
    let end = Instant::now() + total;
    let mut rounds = 0;
    while Instant::now() < end {
        let round = &plan[rounds % plan.len()];
        println!("  {:>3} {round}", rounds + 1);
        for node in round.harms.iter().filter_map(|harm| harm.cuts()) {
            row.harm(node);
        }
        let arena = &row.arena;
        join_all(round.harms.iter().map(|harm| harm.inflict(arena))).await;
        let head = row.healed_within(Instant::now(), BACK).await;
        println!("      all at the head {head:.2?} after it");
        sleep(round.calm).await;
        rounds += 1;
    }
    row.say("rounds", rounds);
    row.finish().await;
}
