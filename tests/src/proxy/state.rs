//! The present faults of the proxy, and their effect on one direction of one connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Direction, Fault};

/// The faults of one kind of connections.
#[derive(Debug, Clone, Copy)]
pub(super) struct Faults {
    pub(super) to_server: Fault,
    pub(super) to_client: Fault,
}

impl Faults {
    pub(super) fn set(&mut self, direction: Direction, fault: Fault) {
        match direction {
            Direction::ToServer => self.to_server = fault,
            Direction::ToClient => self.to_client = fault,
            Direction::Both => (self.to_server, self.to_client) = (fault, fault),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    pub(super) commands: Faults,
    pub(super) subscription: Faults,
    pub(super) refusing: bool,
    /// The number of resets. Each ends the present connections.
    pub(super) resets: u64,
    /// The number of strandings. Each holds the present connections for ever.
    pub(super) strandings: u64,
}

impl State {
    pub(super) fn passing() -> Self {
        let pass = Faults {
            to_server: Fault::Pass,
            to_client: Fault::Pass,
        };
        Self {
            commands: pass,
            subscription: pass,
            refusing: false,
            resets: 0,
            strandings: 0,
        }
    }
}

/// One direction of one connection.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    pub(super) direction: Direction,
    /// The number of strandings when the connection was made.
    pub(super) strandings: u64,
    pub(super) is_subscription: Arc<AtomicBool>,
}

impl Lane {
    pub(super) fn fault(&self, state: &State) -> Fault {
        let faults = if self.is_subscription.load(Ordering::Relaxed) {
            &state.subscription
        } else {
            &state.commands
        };
        match self.direction {
            _ if state.strandings != self.strandings => Fault::Hold,
            Direction::ToServer => faults.to_server,
            Direction::ToClient | Direction::Both => faults.to_client,
        }
    }

    /// Notes a subscription before its bytes are passed on.
    pub(super) fn inspect(&self, chunk: &[u8]) {
        let word = b"\nSUBSCRIBE\r";
        if self.direction == Direction::ToServer
            && chunk.windows(word.len()).any(|window| window == word)
        {
            self.is_subscription.store(true, Ordering::Relaxed);
        }
    }
}
