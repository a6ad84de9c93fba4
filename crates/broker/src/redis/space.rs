//! Watches Redis' memory: its use and its limit, and whether it evicts.
//!
//! Sends stop while there is still some room, so that joins, presence, orders and deletions go on: a
//! Redis that is quite full takes nothing but what gives memory back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::greeting::{evicting_policy, field};
use super::link::Link;
use super::policy::Policy;
use crate::{BrokerError, BrokerMetrics};

/// Between two looks. `INFO memory` costs Redis some microseconds, and a tenth of its memory is written
/// by nobody in so short a time.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(2);
/// Sends stop when so many percent of the limit are used, and go on below the second.
const SCARCE_PERCENT: u64 = 90;
const EASY_PERCENT: u64 = 85;

/// Redis' memory as it showed it last, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Memory {
    used: u64,
    /// `maxmemory`; 0: there is no limit, or Redis does not say.
    limit: u64,
    /// At the limit Redis evicts instead of refusing.
    evicts: bool,
}

impl Memory {
    /// Reads the text of `INFO memory`.
    fn read(info: &str) -> Self {
        let number = |name| field(info, name).and_then(|text| text.parse::<u64>().ok());
        let used = number("used_memory").unwrap_or(0);
        // Redis does not count the buffers of replicas and of the append-only file against the limit.
        let uncounted = number("mem_not_counted_for_evict").unwrap_or(0);
        Self {
            used: used.saturating_sub(uncounted),
            limit: number("maxmemory").unwrap_or(0),
            evicts: evicting_policy(info).is_some(),
        }
    }

    fn is_above(self, percent: u64) -> bool {
        self.limit > 0 && !self.evicts && self.used >= self.limit / 100 * percent
    }
}

/// The memory that Redis has left; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Space(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    memory: Memory,
    is_scarce: bool,
}

impl Space {
    /// Redis' limit in bytes; `None`: it has none, or evicts.
    pub(super) fn limit(&self) -> Option<u64> {
        let memory = self.lock().memory;
        (memory.limit > 0 && !memory.evicts).then_some(memory.limit)
    }

    /// Refuses what adds to a Redis that is nearly full.
    pub(super) fn check_sends(&self) -> Result<(), BrokerError> {
        match self.problem() {
            None => Ok(()),
            Some(problem) => Err(BrokerError::Unavailable(problem)),
        }
    }

    /// The problem, for operators; `None`: there is room.
    pub(super) fn problem(&self) -> Option<String> {
        let state = self.lock();
        let Memory { used, limit, .. } = state.memory;
        state.is_scarce.then(|| {
            format!(
                "redis is nearly full ({used} of {limit} bytes), sends are refused: raise its maxmemory \
                 or lower history.stream_bytes"
            )
        })
    }

    /// Takes what Redis shows now, and logs a change.
    fn learn(&self, memory: Memory) {
        let mut state = self.lock();
        let was_scarce = state.is_scarce;
        let most = if was_scarce {
            EASY_PERCENT
        } else {
            SCARCE_PERCENT
        };
        *state = State {
            memory,
            is_scarce: memory.is_above(most),
        };
        let (Memory { used, limit, .. }, is_scarce) = (memory, state.is_scarce);
        drop(state);
        match (was_scarce, is_scarce) {
            (false, true) => warn!(used, limit, "redis is nearly full, sends are refused"),
            (true, false) => info!(used, limit, "redis has room again, sends are taken"),
            (true, true) | (false, false) => {}
        }
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, State> {
        self.0.lock()
    }
}

/// Looks at Redis' memory again and again.
pub(super) struct SpaceWatch {
    pub(super) link: Link,
    pub(super) space: Space,
    /// `None`: an evicting policy was accepted.
    pub(super) policy: Option<Policy>,
    pub(super) metrics: BrokerMetrics,
}

impl SpaceWatch {
    /// Runs for as long as the node.
    pub(super) async fn run(self) {
        loop {
            match self.look().await {
                Ok(info) => self.learn(&info),
                // Redis is away, which the link tells, or does not allow INFO, which the greeting tells.
                Err(error) => debug!(%error, "cannot look at redis' memory"),
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    fn learn(&self, info: &str) {
        let memory = Memory::read(info);
        self.metrics.set_redis_memory(memory.used, memory.limit);
        self.space.learn(memory);
        if let Some(policy) = &self.policy {
            policy.learn(evicting_policy(info).map(str::to_owned));
        }
    }

    async fn look(&self) -> Result<String, BrokerError> {
        let ask = async |mut connection: MultiplexedConnection| {
            let mut info = redis::cmd("INFO");
            info.arg("memory");
            info.query_async::<String>(&mut connection).await
        };
        self.link.call(Instant::now() + PATIENCE, ask).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(used: u64, policy: &str) -> String {
        format!(
            "# Memory\r\nused_memory:{used}\r\nmaxmemory:1000\r\nmaxmemory_policy:{policy}\r\n\
             mem_not_counted_for_evict:100\r\n"
        )
    }

    #[test]
    fn sends_stop_while_there_is_room_and_go_on_below() {
        let space = Space::default();
        let check = |used| {
            space.learn(Memory::read(&info(used, "noeviction")));
            space.check_sends().is_ok()
        };
        assert!(check(999), "899 count");
        assert!(!check(1_000));
        assert!(!check(960), "not every second anew");
        assert!(check(940));
        assert_eq!(space.limit(), Some(1_000));
    }

    #[test]
    fn a_redis_without_limit_or_that_evicts_is_never_full() {
        let space = Space::default();
        space.learn(Memory::read("used_memory:5\r\nmaxmemory:0\r\n"));
        assert_eq!((space.problem(), space.limit()), (None, None));
        space.learn(Memory::read(&info(1_100, "allkeys-lru")));
        assert_eq!((space.problem(), space.limit()), (None, None));
        space.learn(Memory::read(""));
        assert_eq!(space.problem(), None);
    }
}
