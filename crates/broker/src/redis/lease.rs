//! The node's lease: a sign of life in Redis, renewed every two seconds. What a node registers
//! (who is in which room) is registered for its lease, and goes when that has expired.
//!
//! A node that could not renew in time, because it was frozen or Redis was away, takes a new
//! lease under a new name and registers everybody again. The old one is never used again, so
//! whoever evicts it cannot hit what lives. A node evicts others only after it has itself renewed
//! without a break for the life of a lease: after a fault of Redis everyone has had that time to
//! come back.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hubbub_protocol::{Epoch, NodeId, RoomId};
use redis::aio::MultiplexedConnection;
use tokio::time::sleep;
use tracing::{info, warn};

use super::keys::{Keys, PARTITIONS, partition_of};
use super::link::Link;
use super::scripts::Scripts;
use crate::BrokerError;
use crate::inbox::InboxSender;

/// How often a lease is renewed.
const RENEWAL: Duration = Duration::from_secs(2);
/// A renewal proves for so long that Redis takes writes: a little more than until the next.
const FRESH: Duration = Duration::from_secs(3);
/// How long it lives without renewal.
const LIFE: Duration = Duration::from_secs(6);

/// The name under which this node registers now; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    node: NodeId,
    name: Arc<Mutex<Arc<str>>>,
    renewed: Arc<Mutex<Option<Instant>>>,
}

impl Lease {
    pub(crate) fn new(node: &NodeId) -> Self {
        Self {
            node: node.clone(),
            name: Arc::new(Mutex::new(new_name(node))),
            renewed: Arc::default(),
        }
    }

    pub(crate) fn name(&self) -> Arc<str> {
        Arc::clone(&self.name.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a script of ours has written to Redis within the last [`FRESH`].
    pub(crate) fn is_fresh(&self) -> bool {
        let renewed = *self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        renewed.is_some_and(|renewed| renewed.elapsed() < FRESH)
    }

    fn set_renewed(&self, now: Instant) {
        *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    fn take_another(&self) {
        *self.name.lock().unwrap_or_else(PoisonError::into_inner) = new_name(&self.node);
    }
}

/// A random part, so that a restart or a new lease is another node.
fn new_name(node: &NodeId) -> Arc<str> {
    format!("{node}.{}", Epoch::generate()).into()
}

/// What keeps a lease, and takes back what expired ones have left.
pub(crate) struct LeaseKeeper {
    pub(crate) lease: Lease,
    pub(crate) link: Link,
    pub(crate) keys: Keys,
    pub(crate) scripts: Arc<Scripts>,
    pub(crate) inbox: InboxSender,
}

impl LeaseKeeper {
    /// Runs for as long as the node.
    pub(crate) async fn run(self) {
        let mut renewed: Option<Instant> = None;
        let mut unbroken_since = Instant::now();
        loop {
            // Before the call: that is the time which the answer proves.
            let now = Instant::now();
            let is_late = renewed.is_some_and(|renewed| now.duration_since(renewed) > LIFE);
            if is_late {
                self.lease.take_another();
            }
            match self.renew().await {
                Ok((is_known, expired)) => {
                    if renewed.is_some() && !is_known {
                        self.begin_again(is_late).await;
                        unbroken_since = now;
                    }
                    renewed = Some(now);
                    self.lease.set_renewed(now);
                    if now.duration_since(unbroken_since) >= LIFE {
                        self.evict_all(expired).await;
                    }
                }
                Err(error) => {
                    warn!(%error, "cannot renew the lease");
                    unbroken_since = Instant::now();
                }
            }
            sleep(RENEWAL).await;
        }
    }

    /// Everything that was registered is gone, or will be. A name that Redis had forgotten may be
    /// in the middle of its eviction, so it is not used any more.
    async fn begin_again(&self, is_renamed: bool) {
        if !is_renamed {
            self.lease.take_another();
            if let Err(error) = self.renew().await {
                warn!(%error, "cannot announce the new lease, the next renewal does");
            }
        }
        warn!(lease = %self.lease.name(), "the lease was lost, registering everybody again");
        self.inbox.doubt_all();
    }

    /// Whether the lease was known, and which ones have expired.
    async fn renew(&self) -> Result<(bool, Vec<String>), BrokerError> {
        let renew = async |mut connection: MultiplexedConnection| {
            let mut script = self.scripts.renew.prepare_invoke();
            script.key(self.keys.nodes()).arg(&*self.lease.name());
            script.arg(u64::try_from(LIFE.as_millis()).unwrap_or(u64::MAX));
            script
                .invoke_async::<(bool, Vec<String>)>(&mut connection)
                .await
        };
        self.link.call(Instant::now() + RENEWAL, renew).await
    }

    async fn evict_all(&self, expired: Vec<String>) {
        for lease in expired {
            match self.evict(&lease).await {
                Ok(0) => {}
                Ok(users) => info!(lease, users, "took back what a dead node had registered"),
                Err(error) => warn!(lease, %error, "cannot evict a dead node yet"),
            }
        }
    }

    /// Returns how many users left a room by it.
    async fn evict(&self, lease: &str) -> Result<u64, BrokerError> {
        let mut users = 0;
        for room in self.rooms_of(lease).await? {
            users += self.evict_from(&room, lease).await?;
        }
        let forget = async |mut connection: MultiplexedConnection| {
            redis::cmd("ZREM")
                .arg(self.keys.nodes())
                .arg(lease)
                .exec_async(&mut connection)
                .await
        };
        self.link.call(Instant::now() + RENEWAL, forget).await?;
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
        let rooms = self.link.call(Instant::now() + RENEWAL, ask).await?;
        Ok(rooms
            .iter()
            .flatten()
            .filter_map(|room| RoomId::new(room).ok())
            .collect())
    }

    async fn evict_from(&self, room: &RoomId, lease: &str) -> Result<u64, BrokerError> {
        let keys = self.keys.room(room);
        let evict = async |mut connection: MultiplexedConnection| {
            let mut script = self.scripts.evict.prepare_invoke();
            script
                .key(&keys.users)
                .key(self.keys.lease_users(room, lease))
                .key(&keys.meta);
            script
                .key(&keys.changes)
                .key(self.keys.lease_rooms(partition_of(room), lease));
            script.arg(&keys.channel).arg(room.as_str());
            script.invoke_async::<u64>(&mut connection).await
        };
        self.link.call(Instant::now() + RENEWAL, evict).await
    }
}
