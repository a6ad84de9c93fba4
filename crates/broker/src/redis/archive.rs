//! The rooms that wait for the archive, and the node that archives them. Each partition has one
//! owner among the living nodes, computed alike on every node. Two owners at the same time are
//! harmless.

use std::hash::Hasher;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hubbub_protocol::{Packet, Position, RoomId};
use redis::aio::MultiplexedConnection;
use siphasher::sip::SipHasher13;

use super::RedisBroker;
use super::keys::{Key, PARTITIONS, RoomKeys, partition_of};
use crate::{BrokerConfig, BrokerError};

/// Rooms that one call looks at.
const ROOMS_AT_ONCE: usize = 200;

/// Milliseconds since 1970 by this node's clock. It only decides the order in which rooms are
/// served.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// The owner of a partition: the living lease with the highest score for it. When a node dies, only
/// its own partitions move.
pub(super) fn owner(partition: usize, leases: &[String]) -> Option<&String> {
    let score = |lease: &&String| {
        let mut hasher = SipHasher13::new();
        hasher.write_usize(partition);
        hasher.write(lease.as_bytes());
        hasher.finish()
    };
    leases.iter().max_by_key(score)
}

fn owns_in_all(lease: &str, partition: usize, lists: &[Arc<[String]>]) -> bool {
    let mut owners = lists.iter().map(|leases| owner(partition, leases));
    owners.all(|owner| owner.is_some_and(|owner| *owner == *lease))
}

impl RedisBroker {
    /// The partitions that this node owns, as far as it knows. Two owners are harmless.
    fn owned(&self) -> Vec<usize> {
        let lease = self.0.lease.name();
        let leases = self.0.lease.living();
        (0..PARTITIONS)
            .filter(|partition| owner(*partition, &leases).is_some_and(|owner| **owner == *lease))
            .collect()
    }

    /// The partitions that this node has owned long enough for every other node to know it, so that
    /// no other node continues work begun here. Two owners are rare, and still harmless.
    pub(super) fn settled(&self) -> Vec<usize> {
        let (lease, lately) = (self.0.lease.name(), self.0.lease.lately_living());
        (0..PARTITIONS)
            .filter(|partition| owns_in_all(&lease, *partition, &lately))
            .collect()
    }

    /// Whether the room's partition is one of [`Self::settled`].
    pub(crate) fn is_settled(&self, room: &RoomId) -> bool {
        let (lease, lately) = (self.0.lease.name(), self.0.lease.lately_living());
        owns_in_all(&lease, partition_of(room), &lately)
    }

    pub(crate) fn owns(&self, room: &RoomId) -> bool {
        let owner = owner(partition_of(room), &self.0.lease.living()).cloned();
        owner.is_some_and(|owner| *owner == *self.0.lease.name())
    }

    /// Says it where the room has a place, to all who have subscribed, and to all nodes, which remember
    /// answers about rooms that they have not subscribed to.
    pub(crate) async fn set_private(
        &self,
        room: &RoomId,
        is_private: Option<bool>,
    ) -> Result<(), BrokerError> {
        let keys = self.0.keys.room(room);
        let tell = async |connection: MultiplexedConnection| {
            let mut call = self.0.scripts.private.call(&[keys.meta(), keys.changes()]);
            call.arg(keys.channel());
            let is_private =
                is_private.map_or("", |is_private| ["0", "1"][usize::from(is_private)]);
            call.arg(is_private).arg(Packet::ACCESS).arg(room.as_str());
            call.invoke::<()>(connection.clone()).await?;
            self.tell_of_access(connection, room).await
        };
        self.0.link.call(self.deadline(), tell).await
    }

    pub(crate) async fn waiting_rooms(
        &self,
        limit: usize,
    ) -> Result<Vec<(RoomId, u64)>, BrokerError> {
        let owned = self.owned();
        if owned.is_empty() {
            return Ok(Vec::new());
        }
        let last = isize::try_from(limit).unwrap_or(isize::MAX) - 1;
        let ask = async |mut connection: MultiplexedConnection| {
            let mut pipe = redis::pipe();
            for partition in &owned {
                pipe.zrange_withscores(self.0.keys.waiting(*partition), 0, last);
            }
            pipe.query_async::<Vec<Vec<(String, u64)>>>(&mut connection)
                .await
        };
        let waiting = self.0.link.call(self.deadline(), ask).await?;
        let mut rooms: Vec<(RoomId, u64)> = waiting
            .into_iter()
            .flatten()
            .filter_map(|(room, since)| Some((RoomId::new(&room).ok()?, since)))
            .collect();
        rooms.sort_by_key(|(_, since)| *since);
        rooms.truncate(limit);
        Ok(rooms)
    }

    pub(crate) async fn rooms_with_streams(&self) -> Result<Vec<RoomId>, BrokerError> {
        self.rooms_of((0..PARTITIONS).collect()).await
    }

    pub(crate) async fn owned_rooms(&self) -> Result<Vec<RoomId>, BrokerError> {
        self.rooms_of(self.owned()).await
    }

    /// The rooms of these partitions that may have a stream, by name.
    async fn rooms_of(&self, partitions: Vec<usize>) -> Result<Vec<RoomId>, BrokerError> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let ask = async |mut connection: MultiplexedConnection| {
            let mut pipe = redis::pipe();
            for partition in &partitions {
                pipe.zrange(self.0.keys.changes(*partition), 0, -1);
            }
            pipe.query_async::<Vec<Vec<String>>>(&mut connection).await
        };
        let partitions = self.0.link.call(self.deadline(), ask).await?;
        let rooms = partitions.into_iter().flatten();
        let mut rooms: Vec<RoomId> = rooms.filter_map(|room| RoomId::new(&room).ok()).collect();
        rooms.sort_unstable();
        Ok(rooms)
    }

    /// Adds rooms of this node's partitions that should wait for the archive and do not. Returns
    /// how many.
    pub(crate) async fn find_waiting(&self) -> Result<u64, BrokerError> {
        let mut found = 0;
        for partition in self.owned() {
            let changes = self.0.keys.changes(partition);
            let waiting = self.0.keys.waiting(partition);
            let ask = async |mut connection: MultiplexedConnection| {
                redis::cmd("ZRANGE")
                    .arg(&changes)
                    .arg(0)
                    .arg(-1)
                    .query_async::<Vec<String>>(&mut connection)
                    .await
            };
            let rooms = self.0.link.call(self.deadline(), ask).await?;
            let rooms: Vec<RoomId> = rooms.iter().filter_map(|r| RoomId::new(r).ok()).collect();
            for some in rooms.chunks(ROOMS_AT_ONCE) {
                let of_rooms: Vec<_> = some.iter().map(|room| self.0.keys.room(room)).collect();
                let mut keys = vec![Key::from(&waiting)];
                keys.extend(of_rooms.iter().map(RoomKeys::meta));
                let look = async |connection: MultiplexedConnection| {
                    let mut call = self.0.scripts.waiting.call(&keys);
                    call.arg(now_ms());
                    for room in some {
                        call.arg(room.as_str());
                    }
                    call.invoke::<u64>(connection).await
                };
                found += self.0.link.call(self.deadline(), look).await?;
            }
        }
        Ok(found)
    }

    pub(crate) async fn archived(
        &self,
        room: &RoomId,
        position: &Position,
    ) -> Result<(), BrokerError> {
        let keys = self.0.keys.room(room);
        let tell = async |connection: MultiplexedConnection| {
            let mut call = self.0.scripts.archived.call(&[
                keys.meta(),
                keys.waiting(),
                keys.stream(),
                keys.tombstones(),
                keys.edits(),
            ]);
            call.arg(room.as_str())
                .arg(position.epoch.as_str())
                .arg(position.offset);
            let history = &self.0.config.history;
            call.arg(history.stream_len)
                .arg(Self::seconds(history.stream_ttl));
            call.invoke::<()>(connection).await
        };
        self.0.link.call(self.deadline(), tell).await
    }
}

/// The most events that a stream keeps while the archive is behind. 0: there is no archive.
pub(super) fn backlog(config: &BrokerConfig) -> usize {
    if config.has_archive {
        config.history.archive_backlog.max(1)
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_one_owner_and_few_move() {
        let leases: Vec<String> = (0..4).map(|n| format!("gw-{n}:x")).collect();
        let owners = |leases: &[String]| -> Vec<String> {
            (0..PARTITIONS)
                .map(|partition| owner(partition, leases).unwrap().clone())
                .collect()
        };
        let before = owners(&leases);
        for lease in &leases {
            let share = before.iter().filter(|owner| *owner == lease).count();
            assert!(share > 4, "{lease} owns {share}");
        }
        let after = owners(&leases[..3]);
        for (before, after) in before.iter().zip(after) {
            assert!(*before == after || *before == leases[3]);
        }
        assert_eq!(owner(0, &[]), None);
    }
}
