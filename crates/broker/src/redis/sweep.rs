//! Checks whether Redis still has the users that this node has registered in its rooms.
//!
//! A node whose lease is gone notices that itself and registers all users again. But a single
//! room's list of users can be lost as well, by hand or with one shard, and nothing reports it. So
//! the node checks some of its rooms each second, in turn.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use hubbub_protocol::RoomId;
use tokio::time::sleep;
use tracing::debug;

use super::keys::{Key, Keys};
use super::lease::Lease;
use super::link::Link;
use super::scripts::Scripts;
use super::subscriber::Subscriber;
use crate::BrokerError;
use crate::inbox::InboxSender;

const INTERVAL: Duration = Duration::from_secs(1);
/// Rooms of one look. It bounds the cost: a node with more rooms needs several looks for all of
/// them.
const ROOMS: usize = 256;

/// The task that checks this node's rooms in turn.
pub(crate) struct Sweep {
    pub(crate) link: Link,
    pub(crate) keys: Keys,
    pub(crate) scripts: Arc<Scripts>,
    pub(crate) lease: Lease,
    pub(crate) subscriber: Subscriber,
    pub(crate) inbox: InboxSender,
}

impl Sweep {
    /// Runs as long as the node.
    pub(crate) async fn run(self) {
        let mut last: Option<RoomId> = None;
        loop {
            sleep(INTERVAL).await;
            let rooms = self.next_rooms(last.as_ref());
            match self.look(&rooms).await {
                Ok(lost) => {
                    for room in lost {
                        self.inbox.resync_registrations_in(room);
                    }
                    last = rooms.last().cloned();
                }
                Err(error) => debug!(%error, "cannot look at the lists of users"),
            }
        }
    }

    /// The rooms after `last` in the order of their names, wrapping around to the first.
    fn next_rooms(&self, last: Option<&RoomId>) -> Vec<RoomId> {
        let mut rooms: Vec<RoomId> = self.subscriber.subscribed().into_iter().collect();
        rooms.sort_unstable();
        let start = last.map_or(0, |last| rooms.partition_point(|room| room <= last));
        rooms.rotate_left(start);
        rooms.truncate(ROOMS);
        rooms
    }

    /// Returns the rooms whose list lacks this node's users.
    async fn look<'a>(&self, rooms: &'a [RoomId]) -> Result<Vec<&'a RoomId>, BrokerError> {
        let lease = self.lease.name();
        let deadline = Instant::now() + INTERVAL;
        let looks = rooms
            .iter()
            .map(|room| self.is_registered(room, &lease, deadline));
        let registered = try_join_all(looks).await?;
        let lost = rooms.iter().zip(registered);
        let lost = lost.filter_map(|(room, is_registered)| (!is_registered).then_some(room));
        Ok(lost.collect())
    }

    async fn is_registered(
        &self,
        room: &RoomId,
        lease: &str,
        deadline: Instant,
    ) -> Result<bool, BrokerError> {
        let keys = self.keys.room(room);
        let users = self.keys.lease_users(room, lease);
        let names = [keys.users(), Key::from(&users), keys.meta()];
        let ask = async |connection| {
            let call = self.scripts.registered.call(&names);
            call.invoke::<bool>(connection).await
        };
        self.link.call(deadline, ask).await
    }
}
