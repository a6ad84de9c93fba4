//! Removes the users that expired leases have registered: the users of a dead node leave, each
//! announced once.
//!
//! It runs in a task of its own, so that the node's own lease is renewed meanwhile. Every surviving
//! node gets the list and begins after a random pause; a node that begins later finds little or
//! nothing to do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use hubbub_outage::Outage;
use hubbub_protocol::RoomId;
use redis::aio::MultiplexedConnection;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::{info, warn};

use super::Lives;
use super::keys::{Keys, PARTITIONS};
use super::link::Link;
use super::presence::Change;
use super::scripts::Scripts;
use super::webhooks::Webhooks;
use crate::BrokerError;

/// The longest pause before a surviving node begins.
const PAUSE: Duration = Duration::from_millis(500);
/// The time limit of one call.
const PATIENCE: Duration = Duration::from_secs(2);
/// Rooms that are handled at once.
const ROOMS_AT_ONCE: usize = 100;

/// The task that removes them.
pub(crate) struct Eviction {
    pub(crate) link: Link,
    pub(crate) keys: Keys,
    pub(crate) scripts: Arc<Scripts>,
    pub(crate) lives: Lives,
    pub(crate) webhooks: Webhooks,
    pub(crate) expired: mpsc::Receiver<Vec<String>>,
}

impl Eviction {
    /// Runs as long as the node.
    pub(crate) async fn run(mut self) {
        let outage = Outage::new();
        while let Some(leases) = self.expired.recv().await {
            sleep(PAUSE.mul_f64(fastrand::f64())).await;
            for lease in leases {
                match self.evict(&lease).await {
                    Ok(0) => {}
                    Ok(users) => info!(lease, users, "removed the users of a dead node"),
                    Err(error) => {
                        if let Some(now) = outage.fail(&error) {
                            warn!(lease, %error, failures = now.failures, "cannot evict a dead node yet");
                        }
                    }
                }
            }
        }
    }

    /// Removes everything under this lease. Returns how many users left a room by it.
    async fn evict(&self, lease: &str) -> Result<u64, BrokerError> {
        let mut users = 0;
        for rooms in self.rooms_of(lease).await?.chunks(ROOMS_AT_ONCE) {
            let evictions = rooms.iter().map(|room| self.evict_from(room, lease));
            users += try_join_all(evictions).await?.iter().sum::<u64>();
        }
        let forget = async |mut connection: MultiplexedConnection| {
            redis::cmd("ZREM")
                .arg(self.keys.nodes())
                .arg(lease)
                .exec_async(&mut connection)
                .await
        };
        self.link.call(Instant::now() + PATIENCE, forget).await?;
        Ok(users)
    }

    async fn rooms_of(&self, lease: &str) -> Result<Vec<RoomId>, BrokerError> {
        let ask = async |mut connection: MultiplexedConnection| {
            let mut pipe = redis::pipe();
            for partition in 0..PARTITIONS {
                pipe.smembers(self.keys.lease_rooms(partition, lease));
            }
            pipe.query_async::<Vec<Vec<String>>>(&mut connection).await
        };
        let rooms = self.link.call(Instant::now() + PATIENCE, ask).await?;
        Ok(rooms
            .iter()
            .flatten()
            .filter_map(|room| RoomId::new(room).ok())
            .collect())
    }

    async fn evict_from(&self, room: &RoomId, lease: &str) -> Result<u64, BrokerError> {
        let change = Change {
            keys: &self.keys,
            webhooks: &self.webhooks,
            lives: self.lives,
            room,
            lease,
        };
        let evict = async |connection: MultiplexedConnection| {
            let call = change.call(&self.scripts.evict);
            call.invoke::<u64>(connection).await
        };
        self.link.call(Instant::now() + PATIENCE, evict).await
    }
}
