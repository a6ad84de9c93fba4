//! Connections that open, join and are cut off, at a fixed rate.

use super::members::{Event, IDLE, Members, turn};
use crate::clock;
use crate::plan::{Churn, LoadCounts};
use crate::tally::{counts, histogram};

/// Connections open at one time. If a node makes more than these wait, the wait counts as latency.
const MOST_OPEN: usize = 500;
/// Nanoseconds without any event after which the connections still in progress have failed.
const PROGRESS_TIMEOUT: u64 = 15_000_000_000;

/// Runs the churn. Each member connects repeatedly. `acks` counts from when a connection was due
/// until it had joined.
pub(super) fn run(members: &mut Members, churn: Churn) -> Result<LoadCounts, String> {
    let mut seen = LoadCounts::default();
    let mut latency = histogram();
    let places = members.list.len().min(MOST_OPEN);
    let mut free: Vec<usize> = (0..places).collect();
    let mut due_of = vec![0; members.list.len()];
    for key in 0..members.list.len() {
        members.list[key].disconnect(true);
        members.list[key].progress.offset = 0;
    }
    let due = |number: u64| churn.start + (number as f64 / churn.rate * 1e9) as u64;
    let (mut next, mut last_event) = (0, clock::now());
    while seen.acked + seen.refused < churn.count {
        let now = clock::now();
        while next < churn.count && due(next) <= now {
            let Some(key) = free.pop() else { break };
            due_of[key] = due(next);
            members.connect(key, None);
            next += 1;
            seen.sent += 1;
        }
        let wait = if next < churn.count && !free.is_empty() {
            clock::until(due(next)).min(IDLE)
        } else {
            IDLE
        };
        turn(members, wait)?;
        for event in std::mem::take(&mut members.events) {
            last_event = clock::now();
            match event {
                Event::Welcome(key) => members.join(key),
                Event::Joined { key, .. } => {
                    latency.saturating_record(last_event.saturating_sub(due_of[key]) / 1000);
                    members.list[key].disconnect(true);
                    members.list[key].progress.offset = 0;
                    free.push(key);
                    seen.acked += 1;
                }
                Event::Disconnected(key) => {
                    free.push(key);
                    seen.refused += 1;
                }
            }
        }
        if clock::now() > last_event.max(churn.start) + PROGRESS_TIMEOUT {
            seen.refused += seen.sent - seen.acked - seen.refused;
            break;
        }
    }
    seen.acks = counts(&latency);
    Ok(seen)
}
