//! The size of the load: short in the daily run, full with `HUBBUB_FAULTS=full`.

use std::time::Duration;

/// The load of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scale {
    pub(crate) rooms: usize,
    /// Resuming clients in each room, spread over the nodes.
    pub(crate) clients: usize,
    /// Bare connections on each node, spread over the rooms.
    pub(crate) bare: usize,
    /// Clients that send, over all rooms.
    pub(crate) publishers: usize,
    /// Messages per second from all of them.
    pub(crate) rate: u32,
    /// Bytes of a message's body.
    pub(crate) body: usize,
    /// The time from the first message to the fault.
    pub(crate) before: Duration,
    /// The least time from the first message to the last.
    pub(crate) total: Duration,
    is_full: bool,
}

const SHORT: Scale = Scale {
    rooms: 4,
    clients: 9,
    bare: 4,
    publishers: 12,
    rate: 200,
    body: 200,
    before: Duration::from_secs(2),
    total: Duration::from_secs(7),
    is_full: false,
};

const FULL: Scale = Scale {
    rooms: 20,
    clients: 50,
    bare: 10,
    publishers: 40,
    rate: 500,
    body: 200,
    before: Duration::from_secs(20),
    total: Duration::from_secs(60),
    is_full: true,
};

impl Scale {
    /// The scale that the environment selects.
    pub(crate) fn of_run() -> Self {
        match std::env::var("HUBBUB_FAULTS").as_deref() {
            Ok("full") => FULL,
            Ok("short") | Err(_) => SHORT,
            Ok(other) => panic!("HUBBUB_FAULTS is short or full, not {other:?}"),
        }
    }

    /// The short scale, whatever the environment selects.
    pub(crate) fn short() -> Self {
        SHORT
    }

    /// The same load for the time `total`.
    pub(crate) fn lasting(self, total: Duration) -> Self {
        Self {
            before: SHORT.before,
            total,
            ..self
        }
    }

    /// Picks a value by scale.
    pub(crate) fn pick<T>(&self, short: T, full: T) -> T {
        if self.is_full { full } else { short }
    }

    /// Picks a number of seconds by scale.
    pub(crate) fn seconds(&self, short: u64, full: u64) -> Duration {
        Duration::from_secs(self.pick(short, full))
    }
}
