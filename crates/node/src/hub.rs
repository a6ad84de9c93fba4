//! The hub: this node's rooms and sessions.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use hubbub_protocol::{CloseCode, ConnectionId, RoomId, User, UserId};
use parking_lot::Mutex;

use crate::Identity;
use crate::metrics::NodeMetrics;
use crate::orders::{ConnectionInfo, Proof, now_ms};
use crate::outbox::Outbox;
use crate::room::Room;
use crate::room::log::LogBudget;

/// The node's rooms and sessions.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    rooms: Mutex<HashMap<RoomId, Arc<Room>>>,
    sessions: Mutex<Sessions>,
    pub(crate) budget: LogBudget,
    metrics: Arc<NodeMetrics>,
}

#[derive(Debug, Default)]
struct Sessions {
    by_connection: HashMap<ConnectionId, Attached>,
    by_user: HashMap<UserId, u32>,
}

/// A session, as it is found by who it belongs to.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) user: User,
    pub(crate) proof: Proof,
    pub(crate) client: Option<IpAddr>,
    /// Milliseconds since 1970.
    opened: u64,
}

impl Attached {
    pub(crate) fn new(identity: &Identity, client: Option<IpAddr>, outbox: &Arc<Outbox>) -> Self {
        Self {
            outbox: Arc::clone(outbox),
            user: identity.user.clone(),
            proof: Proof::of(identity),
            client,
            opened: now_ms(),
        }
    }
}

impl Hub {
    pub(crate) fn new(metrics: &Arc<NodeMetrics>) -> Self {
        Self {
            metrics: Arc::clone(metrics),
            ..Self::default()
        }
    }

    /// The room, if this node has it.
    pub(crate) fn room(&self, id: &RoomId) -> Option<Arc<Room>> {
        self.rooms.lock().get(id).cloned()
    }

    /// The room, made if need be; its stage tells whether it is open.
    pub(crate) fn room_or_new(&self, id: &RoomId) -> Arc<Room> {
        let mut rooms = self.rooms.lock();
        let room = rooms
            .entry(id.clone())
            .or_insert_with(|| Arc::new(Room::new(id.clone(), &self.budget, &self.metrics)));
        Arc::clone(room)
    }

    /// Forgets the room. Its stage lock must be held, and set to closed.
    pub(crate) fn remove_room(&self, room: &Arc<Room>) {
        let mut rooms = self.rooms.lock();
        if rooms
            .get(&room.id)
            .is_some_and(|current| Arc::ptr_eq(current, room))
        {
            rooms.remove(&room.id);
        }
    }

    pub(crate) fn rooms(&self) -> Vec<Arc<Room>> {
        self.rooms.lock().values().cloned().collect()
    }

    pub(crate) fn room_count(&self) -> usize {
        self.rooms.lock().len()
    }

    /// Adds a session unless its user has `limit` of them here already (0: no limit).
    pub(crate) fn attach(
        &self,
        connection: &ConnectionId,
        attached: Attached,
        limit: u32,
    ) -> Result<(), CloseCode> {
        let mut sessions = self.sessions.lock();
        let count = sessions
            .by_user
            .entry(attached.user.id.clone())
            .or_default();
        if limit > 0 && *count >= limit {
            return Err(CloseCode::TooManyConnections);
        }
        *count += 1;
        sessions.by_connection.insert(connection.clone(), attached);
        Ok(())
    }

    /// The session has another token now.
    pub(crate) fn renew(&self, connection: &ConnectionId, proof: Proof) {
        if let Some(attached) = self.sessions.lock().by_connection.get_mut(connection) {
            attached.proof = proof;
        }
    }

    /// Closes those for which there is a code.
    pub(crate) fn close_where(&self, code: impl Fn(&Attached) -> Option<CloseCode>) {
        let sessions = self.sessions.lock();
        let closed: Vec<_> = sessions
            .by_connection
            .values()
            .filter_map(|attached| Some((Arc::clone(&attached.outbox), code(attached)?)))
            .collect();
        drop(sessions);
        for (outbox, code) in closed {
            outbox.close(code);
        }
    }

    /// Those that are asked for, without the node's name.
    pub(crate) fn connections_where(
        &self,
        is_wanted: impl Fn(&ConnectionId, &Attached) -> bool,
    ) -> Vec<ConnectionInfo> {
        let info = |(connection, attached): (&ConnectionId, &Attached)| {
            is_wanted(connection, attached).then(|| ConnectionInfo {
                connection: connection.clone(),
                user: attached.user.clone(),
                node: String::new(),
                address: attached.client,
                opened: attached.opened,
            })
        };
        let sessions = self.sessions.lock();
        sessions.by_connection.iter().filter_map(info).collect()
    }

    pub(crate) fn detach(&self, connection: &ConnectionId, user: &UserId) {
        let mut sessions = self.sessions.lock();
        if sessions.by_connection.remove(connection).is_none() {
            return;
        }
        if let Some(count) = sessions.by_user.get_mut(user) {
            *count -= 1;
            if *count == 0 {
                sessions.by_user.remove(user);
            }
        }
    }

    pub(crate) fn session_count(&self) -> usize {
        self.sessions.lock().by_connection.len()
    }

    pub(crate) fn outboxes(&self) -> Vec<Arc<Outbox>> {
        self.sessions
            .lock()
            .by_connection
            .values()
            .map(|attached| Arc::clone(&attached.outbox))
            .collect()
    }

    pub(crate) fn outbox(&self, connection: &ConnectionId) -> Option<Arc<Outbox>> {
        let sessions = self.sessions.lock();
        let attached = sessions.by_connection.get(connection);
        attached.map(|attached| Arc::clone(&attached.outbox))
    }

    /// The user of these connections.
    pub(crate) fn users_of(&self, connections: &[ConnectionId]) -> Vec<(ConnectionId, UserId)> {
        let sessions = self.sessions.lock();
        let user_of = |connection: &ConnectionId| {
            let attached = sessions.by_connection.get(connection)?;
            Some((connection.clone(), attached.user.id.clone()))
        };
        connections.iter().filter_map(user_of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;
    use crate::outbox::OutboxBudget;

    #[test]
    fn a_user_has_a_limited_number_of_sessions() {
        let hub = Hub::default();
        let user = UserId::new("alice").unwrap();
        let limits = Limits::default();
        let outbox = Arc::new(Outbox::new(&limits, &Arc::new(OutboxBudget::new(&limits))));
        let connections: Vec<_> = (0..3).map(|_| ConnectionId::generate()).collect();
        let identity = Identity::of(User {
            id: user.clone(),
            name: "Alice".into(),
        });
        let attach = |connection| {
            let attached = Attached::new(&identity, None, &outbox);
            hub.attach(connection, attached, 2)
        };
        assert_eq!(attach(&connections[0]), Ok(()));
        assert_eq!(attach(&connections[1]), Ok(()));
        let refused = attach(&connections[2]);
        assert_eq!(refused, Err(CloseCode::TooManyConnections));
        hub.detach(&connections[0], &user);
        hub.detach(&connections[0], &user);
        assert_eq!(attach(&connections[2]), Ok(()));
        assert_eq!(hub.session_count(), 2);
    }
}
