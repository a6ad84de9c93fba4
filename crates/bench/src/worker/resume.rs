//! The clients of a killed node reconnect to the others and ask for the messages they missed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;

use super::members::{Event, IDLE, Members, turn};
use crate::clock;
use crate::plan::LoadCounts;
use crate::tally::{counts, histogram};

/// Nanoseconds within which all clients must be back.
const PROGRESS_TIMEOUT: u64 = 60_000_000_000;
/// The first try comes at a random time within this, in nanoseconds, as with the real clients; then
/// it doubles.
const FIRST_PAUSE: u64 = 1_000_000_000;
const LONGEST_PAUSE: u64 = 8_000_000_000;

/// Waits until `ended` connections have ended and all of them are back. `acks` counts from the end
/// to the `joined`, `duplicates` the clients that could not resume, `refused` the failed tries.
pub(super) fn run(
    members: &mut Members,
    ended: usize,
    nodes: &[SocketAddr],
) -> Result<LoadCounts, String> {
    let mut seen = LoadCounts::default();
    let mut latency = histogram();
    let mut lost_at = vec![0; members.list.len()];
    let mut pause = vec![FIRST_PAUSE; members.list.len()];
    let mut again: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let deadline = clock::now() + PROGRESS_TIMEOUT;
    while seen.acked < ended as u64 && clock::now() < deadline {
        turn(members, IDLE)?;
        let now = clock::now();
        for event in std::mem::take(&mut members.events) {
            match event {
                Event::Disconnected(key) => {
                    if lost_at[key] == 0 {
                        lost_at[key] = now;
                        seen.ended += 1;
                    } else {
                        seen.refused += 1;
                    }
                    again.push(Reverse((now + fastrand::u64(..pause[key]), key)));
                    pause[key] = (pause[key] * 2).min(LONGEST_PAUSE);
                }
                Event::Welcome(key) => members.join(key),
                Event::Joined { key, recovered } => {
                    seen.acked += 1;
                    seen.duplicates += u64::from(!recovered);
                    latency.saturating_record((now - lost_at[key]) / 1000);
                }
            }
        }
        while let Some(&Reverse((due, key))) = again.peek()
            && due <= now
        {
            again.pop();
            seen.sent += 1;
            members.connect(key, Some(nodes[key % nodes.len()]));
        }
    }
    seen.expected = ended as u64;
    seen.acks = counts(&latency);
    Ok(seen)
}
