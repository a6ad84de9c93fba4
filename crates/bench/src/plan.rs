//! The orders for a worker process and its answers: JSON lines over its pipes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::access::Access;

/// The members that a worker holds, and where they connect. Member `m` is in room `m % rooms`, as
/// number `m / rooms` of that room; a room's members are spread over the nodes in turn.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// One address for each node.
    pub(crate) nodes: Vec<SocketAddr>,
    /// This worker has the members `first`, `first + step`, …, below `end`.
    pub(crate) first: usize,
    pub(crate) step: usize,
    pub(crate) end: usize,
    pub(crate) rooms: usize,
    /// The prefix of the names of rooms and users.
    pub(crate) name: String,
    pub(crate) access: Access,
    /// The first source address of the connections, see [`Plan::source`].
    pub(crate) first_source: Option<Ipv4Addr>,
}

/// Connections from one source address. An address has about 28,000 ports, and the kernel's search
/// for a free one gets slow long before they are used up.
const FROM_ONE_ADDRESS: usize = 2_000;

impl Plan {
    pub(crate) fn members(&self) -> impl Iterator<Item = usize> + use<> {
        (self.first..self.end).step_by(self.step.max(1))
    }

    pub(crate) fn room(&self, member: usize) -> usize {
        member % self.rooms
    }

    pub(crate) fn node(&self, member: usize) -> usize {
        member / self.rooms % self.nodes.len()
    }

    /// The source address of the member at place `index` of its process; `None` leaves the choice
    /// to the kernel.
    pub(crate) fn source(&self, index: usize) -> Option<IpAddr> {
        let step = u32::try_from(index / FROM_ONE_ADDRESS).ok()?;
        let first = u32::from(self.first_source?);
        Some(Ipv4Addr::from(first + step).into())
    }

    pub(crate) fn room_name(&self, member: usize) -> String {
        format!("{}-{}", self.name, self.room(member))
    }

    pub(crate) fn user_name(&self, member: usize) -> String {
        format!("{}-{member}", self.name)
    }
}

/// A steady load. Message `n` goes to room `n % rooms`; a room's first members send in turn.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Load {
    /// When the first message is due, by [`crate::clock`].
    pub(crate) start: u64,
    /// Messages per second, in all.
    pub(crate) rate: f64,
    /// The first message's number; the load before it had lower ones.
    pub(crate) base: u64,
    pub(crate) count: u64,
    /// Bytes of a body.
    pub(crate) payload: usize,
    /// Members of each room that send; 0 if the server sends by itself.
    pub(crate) senders: usize,
}

impl Load {
    /// When message `number` is due. Latency counts from here, so that a delayed sender does not
    /// hide its delay.
    pub(crate) fn due(&self, number: u64) -> u64 {
        let passed = (number - self.base) as f64 / self.rate.max(1e-9);
        self.start + (passed * 1e9) as u64
    }

    pub(crate) fn end(&self) -> u64 {
        self.base + self.count
    }

    /// How many of the messages go to this room.
    pub(crate) fn of_room(&self, room: usize, rooms: usize) -> u64 {
        let (room, rooms) = (room as u64, rooms as u64);
        let below = |end: u64| end / rooms + u64::from(end % rooms > room);
        below(self.end()) - below(self.base)
    }

    /// The number, in its room, of the member that sends it.
    pub(crate) fn sender(&self, number: u64, rooms: usize) -> usize {
        (number / rooms as u64 % self.senders.max(1) as u64) as usize
    }
}

/// Connections that come and go.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Churn {
    pub(crate) start: u64,
    /// Connections per second.
    pub(crate) rate: f64,
    pub(crate) count: u64,
}

/// The next task of a worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Open all connections, up to the welcome.
    Connect(Plan),
    /// Join the rooms.
    Join,
    Run(Load),
    /// Connect, join and cut off, repeatedly. All members are disconnected first.
    Churn(Churn),
    /// Wait until this many connections of a node have ended, then bring them back to these nodes.
    Resume {
        ended: usize,
        nodes: Vec<SocketAddr>,
    },
}

/// A histogram's recorded values and how often each came.
pub(crate) type Counts = BTreeMap<u64, u64>;

/// The counts of a worker.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct LoadCounts {
    pub(crate) sent: u64,
    pub(crate) acked: u64,
    /// Sends answered by an error.
    pub(crate) refused: u64,
    pub(crate) expected: u64,
    pub(crate) deliveries: u64,
    pub(crate) duplicates: u64,
    /// Deliveries whose offset does not follow the one before, or out of order for their sender.
    pub(crate) disordered: u64,
    pub(crate) lagged: u64,
    /// Connections that ended unexpectedly.
    pub(crate) ended: u64,
    /// Reads that returned bytes. Deliveries per read show how many frames were joined.
    pub(crate) reads: u64,
    /// Microseconds from when a message was due, with sender and receiver on one node (`same`) or
    /// on two (`cross`).
    pub(crate) same: Counts,
    pub(crate) cross: Counts,
    /// Microseconds from when a message was due to its ack.
    pub(crate) acks: Counts,
}

/// The answer to an order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// The order took this many nanoseconds.
    Done {
        took: u64,
    },
    LoadCounts(Box<LoadCounts>),
    Failed(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_goes_to_one_room_and_is_due_in_time() {
        let load = Load {
            start: 1000,
            rate: 500.0,
            base: 7,
            count: 1003,
            payload: 1,
            senders: 2,
        };
        let rooms = 10;
        let counted: Vec<u64> = (0..rooms).map(|room| load.of_room(room, rooms)).collect();
        assert_eq!(counted.iter().sum::<u64>(), 1003);
        let third = (7..1010).filter(|number| number % 10 == 3).count() as u64;
        assert_eq!(counted[3], third);
        assert_eq!(load.due(7), 1000);
        assert_eq!(load.due(507), 1000 + 1_000_000_000);
        assert_eq!((load.sender(19, rooms), load.sender(20, rooms)), (1, 0));
    }
}
