//! Connections that open, join and are cut off, at a fixed rate.

use super::crowd::{Crowd, Event, IDLE, turn};
use crate::clock;
use crate::plan::{Churn, Seen};
use crate::tally::{counts, histogram};

/// Connections open at one time. If a node makes more than these wait, the wait counts as latency.
const VISITORS: usize = 500;
/// Nanoseconds without any event after which the connections still in progress have failed.
const PATIENCE: u64 = 15_000_000_000;

/// Runs the churn. Each member connects repeatedly. `acks` counts from when a connection was due
/// until it had joined.
pub(super) fn run(crowd: &mut Crowd, churn: Churn) -> Result<Seen, String> {
    let mut seen = Seen::default();
    let mut latency = histogram();
    let places = crowd.members.len().min(VISITORS);
    let mut free: Vec<usize> = (0..places).collect();
    let mut due_of = vec![0; crowd.members.len()];
    for key in 0..crowd.members.len() {
        crowd.members[key].leave(true);
        crowd.members[key].heard.offset = 0;
    }
    let due = |number: u64| churn.start + (number as f64 / churn.rate * 1e9) as u64;
    let (mut next, mut heard) = (0, clock::now());
    while seen.acked + seen.refused < churn.count {
        let now = clock::now();
        while next < churn.count && due(next) <= now {
            let Some(key) = free.pop() else { break };
            due_of[key] = due(next);
            crowd.connect(key, None);
            next += 1;
            seen.sent += 1;
        }
        let wait = if next < churn.count && !free.is_empty() {
            clock::until(due(next)).min(IDLE)
        } else {
            IDLE
        };
        turn(crowd, wait)?;
        for event in std::mem::take(&mut crowd.events) {
            heard = clock::now();
            match event {
                Event::Welcome(key) => crowd.join(key),
                Event::Joined { key, .. } => {
                    latency.saturating_record(heard.saturating_sub(due_of[key]) / 1000);
                    crowd.members[key].leave(true);
                    crowd.members[key].heard.offset = 0;
                    free.push(key);
                    seen.acked += 1;
                }
                Event::Gone(key) => {
                    free.push(key);
                    seen.refused += 1;
                }
            }
        }
        if clock::now() > heard.max(churn.start) + PATIENCE {
            seen.refused += seen.sent - seen.acked - seen.refused;
            break;
        }
    }
    seen.acks = counts(&latency);
    Ok(seen)
}
