//! Keeps the bytes of all streams within the cluster's budget, and those of the rooms that one user or
//! one address has begun within an eighth of it.
//!
//! The publish script bounds each stream by itself and notes its size in its partition. One node, the
//! owner of the first partition, adds the sizes up, and has the largest streams of whoever has too many
//! bytes give up their oldest events. Two such nodes for a moment are harmless.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use hubbub_outage::Outage;
use hubbub_protocol::RoomId;
use redis::aio::MultiplexedConnection;
use tokio::time::sleep;
use tracing::{info, warn};

use super::archive::owner;
use super::keys::{Keys, PARTITIONS};
use super::lease::Lease;
use super::link::Link;
use super::scripts::Scripts;
use super::space::Space;
use crate::{BrokerError, BrokerMetrics};

/// Between two looks; a second more for each [`ROOMS_A_SECOND`], so that the cost stays a small part.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
const ROOMS_A_SECOND: usize = 10_000;
const PATIENCE: Duration = Duration::from_secs(2);
/// Of a Redis with a limit the streams may take so many percent.
const REDIS_PERCENT: u64 = 60;
/// The rooms that one user or one address has begun may take one part in so many.
const SHARE: u64 = 8;
/// Rooms that are measured anew at each look, one after the other: a stream also shrinks by itself.
const MEASURED: usize = 100;
/// Scripts under way at once.
const AT_ONCE: usize = 16;

/// A room's stream as its partition notes it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Noted {
    room: RoomId,
    bytes: u64,
    /// Digests of the user and the address that began the room; `None`: nobody pays for it.
    payers: Option<(String, String)>,
    /// It takes no messages, since it could not give up enough.
    is_crowded: bool,
}

impl Noted {
    /// Reads `BYTES USER ADDRESS`, and ` crowded` perhaps.
    fn read(room: &str, note: &str) -> Option<Self> {
        let mut parts = note.split(' ');
        let bytes = parts.next()?.parse().ok()?;
        let payers = (parts.next()?.to_owned(), parts.next()?.to_owned());
        Some(Self {
            room: RoomId::new(room).ok()?,
            bytes,
            payers: (payers.0 != "-").then_some(payers),
            is_crowded: parts.next().is_some(),
        })
    }
}

/// The size down to which the largest of these have to go, so that all together are within `budget`;
/// `None`: they are. A sixteenth stays free, so that it does not begin anew with the next event.
fn level(mut sizes: Vec<u64>, budget: u64) -> Option<u64> {
    if sizes.iter().sum::<u64>() <= budget {
        return None;
    }
    let mut left = budget / 16 * 15;
    sizes.sort_unstable();
    let mut larger = sizes.len() as u64;
    for size in sizes {
        if size > left / larger {
            return Some(left / larger);
        }
        left -= size;
        larger -= 1;
    }
    None
}

/// Which streams have to shrink, by their index, and to which size.
fn plan(streams: &[Noted], budget: u64) -> HashMap<usize, u64> {
    let mut sizes: Vec<u64> = streams.iter().map(|noted| noted.bytes).collect();
    let mut of_payer: HashMap<(bool, &str), Vec<usize>> = HashMap::new();
    for (index, noted) in streams.iter().enumerate() {
        if let Some((user, address)) = &noted.payers {
            of_payer
                .entry((false, user.as_str()))
                .or_default()
                .push(index);
            of_payer
                .entry((true, address.as_str()))
                .or_default()
                .push(index);
        }
    }
    let everything: (Vec<usize>, u64) = ((0..streams.len()).collect(), budget);
    let of_payer = of_payer.into_values().map(|all| (all, budget / SHARE));
    for (indexes, budget) in of_payer.chain([everything]) {
        let Some(level) = level(indexes.iter().map(|index| sizes[*index]).collect(), budget) else {
            continue;
        };
        for index in indexes {
            sizes[index] = sizes[index].min(level);
        }
    }
    let shrinking = streams.iter().zip(sizes).enumerate();
    shrinking
        .filter(|(_, (noted, size))| *size < noted.bytes)
        .map(|(index, (_, size))| (index, size))
        .collect()
}

/// The task that keeps the budgets.
pub(super) struct BudgetKeeper {
    pub(super) link: Link,
    pub(super) keys: Keys,
    pub(super) scripts: Arc<Scripts>,
    pub(super) lease: Lease,
    pub(super) space: Space,
    pub(super) metrics: BrokerMetrics,
    /// `history.cluster_bytes`; 0: a part of Redis' limit.
    pub(super) cluster_bytes: u64,
    pub(super) has_archive: bool,
}

impl BudgetKeeper {
    /// Runs for as long as the node.
    pub(super) async fn run(self) {
        let outage = Outage::new();
        let mut last: Option<RoomId> = None;
        let mut rooms = 0;
        loop {
            let more = u32::try_from(rooms / ROOMS_A_SECOND).unwrap_or(u32::MAX);
            sleep(LOOK_INTERVAL.saturating_mul(more.saturating_add(1))).await;
            let is_keeper =
                owner(0, &self.lease.living()).is_some_and(|owner| **owner == *self.lease.name());
            if !is_keeper {
                self.metrics.set_streams(0, None);
                continue;
            }
            match self.look(&mut last).await {
                Ok(found) => {
                    rooms = found;
                    if let Some(over) = outage.end() {
                        info!(failures = over.failures, lasted = ?over.lasted, "streams are measured again");
                    }
                }
                Err(error) => {
                    if let Some(now) = outage.fail(&error) {
                        warn!(%error, failures = now.failures, lasted = ?now.lasted,
                            "the sizes of streams cannot be looked at");
                    }
                }
            }
        }
    }

    /// Adds up, and has streams shrink. Returns how many rooms there are.
    async fn look(&self, last: &mut Option<RoomId>) -> Result<usize, BrokerError> {
        let mut streams = self.read().await?;
        let budget = self.budget();
        let sum = streams.iter().map(|noted| noted.bytes).sum();
        self.metrics.set_streams(sum, budget);
        let mut planned = budget
            .map(|budget| plan(&streams, budget))
            .unwrap_or_default();
        if let Some(budget) = budget.filter(|_| !planned.is_empty()) {
            // Notes may be older than what the streams have given up by themselves.
            let indexes: Vec<usize> = planned.keys().copied().collect();
            let measured = indexes.iter().map(|index| (&streams[*index].room, None));
            let sizes = self.shed_all(measured.collect()).await?;
            for (index, size) in indexes.into_iter().zip(sizes) {
                streams[index].bytes = size;
            }
            planned = plan(&streams, budget);
            self.metrics.shed_streams.inc_by(planned.len() as u64);
        }
        let shrinking = planned
            .iter()
            .map(|(index, most)| (&streams[*index].room, Some(*most)));
        self.shed_all(shrinking.collect()).await?;
        let crowded = streams.iter().enumerate();
        let crowded =
            crowded.filter(|(index, noted)| noted.is_crowded && !planned.contains_key(index));
        let fitting = crowded.map(|(_, noted)| (&noted.room, Some(u64::MAX)));
        let next = next_rooms(&streams, last.as_ref());
        let measured = next.iter().map(|room| (*room, None));
        self.shed_all(fitting.chain(measured).collect()).await?;
        *last = next.last().map(|room| (*room).clone());
        Ok(streams.len())
    }

    /// The bytes that all streams may have; `None`: as many as there are.
    fn budget(&self) -> Option<u64> {
        match self.cluster_bytes {
            0 => Some(self.space.limit()? / 100 * REDIS_PERCENT),
            bytes => Some(bytes),
        }
    }

    async fn read(&self) -> Result<Vec<Noted>, BrokerError> {
        let ask = async |mut connection: MultiplexedConnection| {
            let mut pipe = redis::pipe();
            for partition in 0..PARTITIONS {
                pipe.hgetall(self.keys.sizes(partition));
            }
            pipe.query_async::<Vec<Vec<(String, String)>>>(&mut connection)
                .await
        };
        let partitions = self.link.call(Instant::now() + PATIENCE, ask).await?;
        let notes = partitions.into_iter().flatten();
        let mut streams: Vec<Noted> = notes
            .filter_map(|(room, note)| Noted::read(&room, &note))
            .collect();
        streams.sort_unstable_by(|a, b| a.room.cmp(&b.room));
        Ok(streams)
    }

    /// Has streams shrink to a size, or measures them only; returns the sizes that they have then.
    async fn shed_all(&self, rooms: Vec<(&RoomId, Option<u64>)>) -> Result<Vec<u64>, BrokerError> {
        let mut sizes = Vec::with_capacity(rooms.len());
        for some in rooms.chunks(AT_ONCE) {
            let sheds = some.iter().map(|(room, most)| self.shed(room, *most));
            sizes.extend(try_join_all(sheds).await?);
        }
        Ok(sizes)
    }

    async fn shed(&self, room: &RoomId, most: Option<u64>) -> Result<u64, BrokerError> {
        let keys = self.keys.room(room);
        let names = [keys.meta(), keys.stream(), keys.tombstones(), keys.sizes()];
        let most = most.map_or(String::new(), |most| most.to_string());
        let shed = async |connection: MultiplexedConnection| {
            let mut call = self.scripts.shed.call(&names);
            call.arg(room.as_str())
                .arg(&most)
                .arg(u8::from(self.has_archive));
            call.invoke::<i64>(connection).await
        };
        let size = self.link.call(Instant::now() + PATIENCE, shed).await?;
        // Below zero: there is none any more.
        Ok(u64::try_from(size).unwrap_or(0))
    }
}

/// The rooms after `last` in the order of their names; from the first again after the last.
fn next_rooms<'a>(streams: &'a [Noted], last: Option<&RoomId>) -> Vec<&'a RoomId> {
    let start = last.map_or(0, |last| {
        streams.partition_point(|noted| noted.room <= *last)
    });
    let rooms = streams[start..].iter().chain(&streams[..start]);
    rooms.take(MEASURED).map(|noted| &noted.room).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(room: &str, bytes: u64, user: &str, address: &str) -> Noted {
        let note = format!("{bytes} {user} {address}");
        Noted::read(room, &note).expect("a note")
    }

    fn planned(streams: &[Noted]) -> Vec<(&str, u64)> {
        let mut planned: Vec<(&str, u64)> = plan(streams, 16_000)
            .into_iter()
            .map(|(index, size)| (streams[index].room.as_str(), size))
            .collect();
        planned.sort_unstable();
        planned
    }

    #[test]
    fn a_note_says_who_pays() {
        let open = noted("lobby", 7, "-", "-");
        assert_eq!((open.bytes, open.payers, open.is_crowded), (7, None, false));
        let crowded = Noted::read("r", "9 u a crowded").unwrap();
        assert!(crowded.is_crowded && crowded.payers.is_some());
        assert_eq!(Noted::read("r", "9"), None);
    }

    #[test]
    fn whoever_has_too_much_gives_up_of_the_largest() {
        let fine = [noted("a", 1_000, "u", "x"), noted("b", 1_000, "u", "x")];
        assert_eq!(planned(&fine), []);
        let user = [
            noted("a", 100, "u", "x"),
            noted("b", 1_500, "u", "y"),
            noted("c", 1_900, "u", "z"),
            noted("d", 1_900, "v", "w"),
        ];
        assert_eq!(planned(&user), [("b", 887), ("c", 887)]);
        let address: Vec<Noted> = (0..10)
            .map(|n| noted(&format!("r{n}"), 300, &format!("u{n}"), "x"))
            .collect();
        assert_eq!(planned(&address).len(), 10);
        assert!(planned(&address).iter().all(|(_, size)| *size == 187));
    }

    #[test]
    fn rooms_that_nobody_pays_for_are_within_the_budget_of_all() {
        let rooms = [
            noted("a", 3_000, "-", "-"),
            noted("b", 10_000, "-", "-"),
            noted("c", 10_000, "-", "-"),
        ];
        assert_eq!(planned(&rooms), [("b", 6_000), ("c", 6_000)]);
    }

    #[test]
    fn rooms_are_measured_in_turn() {
        let streams = [noted("a", 1, "-", "-"), noted("b", 1, "-", "-")];
        let last = RoomId::new("a").unwrap();
        let names: Vec<&str> = next_rooms(&streams, Some(&last))
            .into_iter()
            .map(RoomId::as_str)
            .collect();
        assert_eq!(names, ["b", "a"]);
        assert_eq!(next_rooms(&[], Some(&last)), Vec::<&RoomId>::new());
    }
}
