//! One room of the embedded broker: its stream, its subscribers and its users.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use hubbub_protocol::{PresenceDelta, User, UserId};
use tokio::sync::Mutex;

use super::stream::{MemoryStream, NONCE_GENERATION};
use super::webhooks::RoomQueues;
use crate::{Attendance, HistorySection, Presence};

#[derive(Debug)]
pub(super) struct MemoryRoom {
    /// `None`: no stream has begun.
    pub(super) stream: Option<MemoryStream>,
    pub(super) is_private: bool,
    /// Held while events are committed and then stored: one publish at a time.
    pub(super) writing: Arc<Mutex<()>>,
    /// Events that webhooks have not received yet.
    pub(super) webhooks: RoomQueues,
    subscribers: BTreeSet<u64>,
    users: HashMap<UserId, Present>,
    presence_version: u64,
    /// When the newest event or presence change came. `None`: there was none yet.
    changed: Option<Instant>,
    used: Instant,
}

#[derive(Debug)]
struct Present {
    user: User,
    nodes: HashSet<u64>,
}

impl Default for MemoryRoom {
    fn default() -> Self {
        Self {
            stream: None,
            is_private: false,
            writing: Arc::default(),
            webhooks: RoomQueues::default(),
            subscribers: BTreeSet::new(),
            users: HashMap::new(),
            presence_version: 0,
            changed: None,
            used: Instant::now(),
        }
    }
}

impl MemoryRoom {
    pub(super) fn changed(&self) -> Option<Instant> {
        self.changed
    }

    /// Marks the room as used, so that it is not dropped.
    pub(super) fn touch(&mut self) {
        self.used = Instant::now();
    }

    /// Marks the room as used and changed by a new event.
    pub(super) fn change(&mut self) {
        self.touch();
        self.changed = Some(self.used);
    }

    /// Drops the events of a stream that has been quiet for its life.
    pub(super) fn expire(&mut self, history: &HistorySection) {
        if self.used.elapsed() >= history.stream_ttl
            && let Some(stream) = &mut self.stream
        {
            stream.clear();
        }
    }

    /// Whether the room can be dropped without any loss.
    pub(super) fn is_forgotten(&self, history: &HistorySection) -> bool {
        let unused =
            self.subscribers.is_empty() && self.users.is_empty() && self.webhooks.is_empty();
        let top = self
            .stream
            .as_ref()
            .map_or(0, |stream| stream.head().offset);
        let never_used = top == 0 && self.used.elapsed() > NONCE_GENERATION;
        unused && (never_used || self.used.elapsed() >= history.meta_ttl)
    }

    pub(super) fn subscribers(&self) -> impl Iterator<Item = &u64> {
        self.subscribers.iter()
    }

    pub(super) fn subscribe(&mut self, node: u64) -> bool {
        self.subscribers.insert(node)
    }

    pub(super) fn unsubscribe(&mut self, node: u64) -> bool {
        self.subscribers.remove(&node)
    }

    pub(super) fn register(&mut self, node: u64, users: &[Attendance]) -> Option<PresenceDelta> {
        let (mut joined, mut left) = (Vec::new(), Vec::new());
        for user in users {
            match user {
                Attendance::Enter(user) | Attendance::Again { user, .. } => {
                    joined.extend(self.enter(node, user));
                }
                Attendance::Exit(id) => left.extend(self.exit(node, id)),
            }
        }
        (!joined.is_empty() || !left.is_empty()).then(|| self.delta(joined, left))
    }

    fn enter(&mut self, node: u64, user: &User) -> Option<User> {
        let present = self
            .users
            .entry(user.id.clone())
            .or_insert_with(|| Present {
                user: user.clone(),
                nodes: HashSet::new(),
            });
        let is_first = present.nodes.is_empty();
        present.nodes.insert(node);
        is_first.then(|| user.clone())
    }

    fn exit(&mut self, node: u64, user: &UserId) -> Option<User> {
        let present = self.users.get_mut(user)?;
        if !present.nodes.remove(&node) || !present.nodes.is_empty() {
            return None;
        }
        Some(self.users.remove(user)?.user)
    }

    pub(super) fn exit_all(&mut self, node: u64) -> Option<PresenceDelta> {
        let users: Vec<_> = self.users.keys().cloned().map(Attendance::Exit).collect();
        self.register(node, &users)
    }

    fn delta(&mut self, joined: Vec<User>, left: Vec<User>) -> PresenceDelta {
        self.presence_version += 1;
        self.used = Instant::now();
        self.changed = Some(self.used);
        PresenceDelta {
            version: self.presence_version,
            registry: 0,
            count: self.users.len() as u64,
            joined,
            left,
        }
    }

    pub(super) fn presence(&self, limit: usize) -> Presence {
        let members = if self.users.len() > limit {
            Vec::new()
        } else {
            self.users
                .values()
                .map(|present| present.user.clone())
                .collect()
        };
        Presence {
            version: self.presence_version,
            registry: 0,
            count: self.users.len() as u64,
            members,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_on_two_nodes_counts_once() {
        let mut room = MemoryRoom::default();
        let user = User {
            id: UserId::new("a").unwrap(),
            name: "A".into(),
        };
        let enter = [Attendance::Enter(user.clone())];
        let exit = [Attendance::Exit(user.id.clone())];
        assert_eq!(room.register(1, &enter).unwrap().count, 1);
        assert_eq!(room.register(2, &enter), None);
        assert_eq!(room.register(1, &exit), None);
        let gone = room.register(2, &exit).unwrap();
        assert_eq!((gone.count, gone.version, gone.left), (0, 2, vec![user]));
    }
}
