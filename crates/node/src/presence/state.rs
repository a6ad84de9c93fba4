//! Who is in one room: counted here, heard of from the others, and not told to members yet.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hubbub_broker::Presence;
use hubbub_protocol::frame::ServerFrame;
use hubbub_protocol::{Frame, PresenceDelta, RoomId, User, UserId};
use indexmap::IndexMap;

/// Between two presence frames of a room.
pub(super) const FRAME_INTERVAL: Duration = Duration::from_secs(1);

/// A room's presence on this node.
#[derive(Debug, Default)]
pub(crate) struct RoomPresence {
    /// Users with connections here, or who have just left.
    here: HashMap<UserId, Here>,
    /// Of the whole cluster, as last heard.
    version: u64,
    count: u64,
    /// Who is in the room, while that is few enough to list; `None`: not known.
    known: Option<HashMap<UserId, User>>,
    /// Not told to members yet.
    joined: IndexMap<UserId, User>,
    left: IndexMap<UserId, User>,
    told_at: Option<Instant>,
    told_count: u64,
    /// The broker is being asked who is there.
    is_refreshing: bool,
}

#[derive(Debug)]
struct Here {
    user: User,
    connections: usize,
    /// The broker knows, or is being told.
    registered: bool,
    /// When a user without connections counts as gone.
    leave_due: Option<Instant>,
}

/// What a delta did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    Applied,
    Old,
    /// One before it was lost: ask the broker who is there.
    Gap,
}

impl RoomPresence {
    /// Whether nobody is registered from here.
    pub(crate) fn is_empty(&self) -> bool {
        self.here.is_empty()
    }

    /// Users present in the cluster, as last heard.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Counts the changes heard.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Counts a connection; returns whether the broker has to be told.
    pub(super) fn arrive(&mut self, user: &User) -> bool {
        let here = self.here.entry(user.id.clone()).or_insert_with(|| Here {
            user: user.clone(),
            connections: 0,
            registered: false,
            leave_due: None,
        });
        here.connections += 1;
        here.leave_due = None;
        !here.registered
    }

    pub(super) fn set_registered(&mut self, user: &UserId) {
        if let Some(here) = self.here.get_mut(user) {
            here.registered = true;
        }
    }

    /// Returns whether that was the user's last connection here, who is gone at `due` then.
    pub(super) fn depart(&mut self, user: &UserId, due: Instant) -> bool {
        let Some(here) = self.here.get_mut(user) else {
            return false;
        };
        here.connections = here.connections.saturating_sub(1);
        here.leave_due = (here.connections == 0).then_some(due);
        here.connections == 0
    }

    /// Whether the user is gone: without a connection here, and not back and cut off again since,
    /// which gives another delay. From now on a join registers again.
    pub(super) fn begin_leave(&mut self, user: &UserId, now: Instant) -> bool {
        let Some(here) = self.here.get_mut(user) else {
            return false;
        };
        let is_gone = here.leave_due.is_some_and(|due| due <= now);
        if is_gone {
            here.registered = false;
        }
        is_gone
    }

    /// Forgets a user whose leave was taken; returns who has come back meanwhile.
    pub(super) fn end_leave(&mut self, user: &UserId, is_told: bool) -> Option<User> {
        let here = self.here.get(user)?;
        if here.connections > 0 {
            return Some(here.user.clone());
        }
        if is_told {
            self.here.remove(user);
        }
        None
    }

    pub(super) fn users_here(&self) -> Vec<User> {
        self.here.values().map(|here| here.user.clone()).collect()
    }

    /// Takes the cluster's word on a room that nobody here has heard of: there is nothing to tell.
    pub(super) fn begin(&mut self, presence: Presence) {
        self.learn(presence);
        self.told_count = self.count;
    }

    /// Returns whether nobody is asking the broker already.
    pub(super) fn begin_refresh(&mut self) -> bool {
        !std::mem::replace(&mut self.is_refreshing, true)
    }

    pub(super) fn end_refresh(&mut self) {
        self.is_refreshing = false;
    }

    /// Takes the cluster's word on everybody, and notes the difference to what was known. Should
    /// deltas have overtaken it, the next one shows a gap and the cluster is asked again.
    pub(super) fn learn(&mut self, presence: Presence) {
        self.version = presence.version;
        self.count = presence.count;
        let is_listed = presence.members.len() as u64 == presence.count;
        let now: Option<HashMap<UserId, User>> = is_listed.then(|| {
            presence
                .members
                .into_iter()
                .map(|user| (user.id.clone(), user))
                .collect()
        });
        if let (Some(before), Some(now)) = (&self.known, &now) {
            let came: Vec<_> = now
                .values()
                .filter(|u| !before.contains_key(&u.id))
                .cloned()
                .collect();
            let went: Vec<_> = before
                .values()
                .filter(|u| !now.contains_key(&u.id))
                .cloned()
                .collect();
            self.note(came, went);
        }
        self.known = now;
    }

    pub(super) fn hear(&mut self, delta: PresenceDelta, list_limit: usize) -> Heard {
        if delta.version <= self.version {
            return Heard::Old;
        }
        if delta.version > self.version + 1 {
            return Heard::Gap;
        }
        self.version = delta.version;
        self.count = delta.count;
        if let Some(known) = &mut self.known {
            known.extend(
                delta
                    .joined
                    .iter()
                    .map(|user| (user.id.clone(), user.clone())),
            );
            for user in &delta.left {
                known.remove(&user.id);
            }
            if known.len() > list_limit {
                self.known = None;
            }
        }
        self.note(delta.joined, delta.left);
        Heard::Applied
    }

    /// Who came and went within one frame's time is not worth telling.
    fn note(&mut self, joined: Vec<User>, left: Vec<User>) {
        for user in joined {
            if self.left.shift_remove(&user.id).is_none() {
                self.joined.insert(user.id.clone(), user);
            }
        }
        for user in left {
            if self.joined.shift_remove(&user.id).is_none() {
                self.left.insert(user.id.clone(), user);
            }
        }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.told_at
            .is_none_or(|told| now.duration_since(told) >= FRAME_INTERVAL)
    }

    fn has_news(&self) -> bool {
        !self.joined.is_empty() || !self.left.is_empty() || self.count != self.told_count
    }

    /// The frame that tells what has changed; `None` when nothing has.
    pub(super) fn take_frame(
        &mut self,
        room: &RoomId,
        list_limit: usize,
        now: Instant,
    ) -> Option<Frame> {
        if !self.has_news() {
            return None;
        }
        let (mut joined, mut left): (Vec<User>, Vec<User>) = (
            std::mem::take(&mut self.joined).into_values().collect(),
            std::mem::take(&mut self.left).into_values().collect(),
        );
        if self.count > list_limit as u64 {
            joined.clear();
            left.clear();
        }
        self.told_at = Some(now);
        self.told_count = self.count;
        let frame = ServerFrame::Presence {
            room,
            count: self.count,
            joined: &joined,
            left: &left,
        };
        Some(Frame::encode(&frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str) -> User {
        User {
            id: UserId::new(id).unwrap(),
            name: id.to_owned(),
        }
    }

    fn delta(version: u64, count: u64, joined: &[&str], left: &[&str]) -> PresenceDelta {
        let users = |ids: &[&str]| ids.iter().map(|id| user(id)).collect();
        PresenceDelta {
            version,
            count,
            joined: users(joined),
            left: users(left),
        }
    }

    #[test]
    fn only_the_first_connection_registers_and_only_the_last_leaves() {
        let mut presence = RoomPresence::default();
        assert!(presence.arrive(&user("a")));
        presence.set_registered(&user("a").id);
        assert!(!presence.arrive(&user("a")));
        let now = Instant::now();
        assert!(!presence.depart(&user("a").id, now));
        assert!(presence.depart(&user("a").id, now));
        assert!(
            !presence.arrive(&user("a")),
            "back in time: nothing to tell the broker"
        );
        assert!(!presence.begin_leave(&user("a").id, now));
    }

    #[test]
    fn a_second_reload_has_its_own_delay() {
        let mut presence = RoomPresence::default();
        let (first, second) = (Instant::now(), Instant::now() + Duration::from_secs(4));
        presence.arrive(&user("a"));
        presence.depart(&user("a").id, first);
        presence.arrive(&user("a"));
        presence.depart(&user("a").id, second);
        assert!(
            !presence.begin_leave(&user("a").id, first),
            "the first reload's time is up, the second's is not"
        );
        assert!(presence.begin_leave(&user("a").id, second));
    }

    #[test]
    fn who_comes_back_while_the_broker_is_told_is_registered_again() {
        let mut presence = RoomPresence::default();
        presence.arrive(&user("a"));
        presence.set_registered(&user("a").id);
        let now = Instant::now();
        presence.depart(&user("a").id, now);
        assert!(presence.begin_leave(&user("a").id, now));
        assert!(
            presence.arrive(&user("a")),
            "the broker forgets the user just now"
        );
        assert_eq!(presence.end_leave(&user("a").id, true), Some(user("a")));
    }

    #[test]
    fn a_lost_delta_is_noticed() {
        let mut presence = RoomPresence::default();
        assert_eq!(presence.hear(delta(1, 1, &["a"], &[]), 10), Heard::Applied);
        assert_eq!(presence.hear(delta(1, 1, &["a"], &[]), 10), Heard::Old);
        assert_eq!(presence.hear(delta(3, 3, &["c"], &[]), 10), Heard::Gap);
    }

    #[test]
    fn the_difference_is_told_after_a_gap() {
        let mut presence = RoomPresence::default();
        let members = |ids: &[&str]| ids.iter().map(|id| user(id)).collect::<Vec<_>>();
        presence.learn(Presence {
            version: 1,
            count: 2,
            members: members(&["a", "b"]),
        });
        assert!(
            presence.joined.is_empty(),
            "nobody is told what was there before"
        );
        presence.learn(Presence {
            version: 5,
            count: 2,
            members: members(&["b", "c"]),
        });
        assert!(presence.joined.contains_key(&user("c").id));
        assert!(presence.left.contains_key(&user("a").id));
    }

    #[test]
    fn who_comes_and_goes_at_once_is_not_told() {
        let mut presence = RoomPresence::default();
        presence.hear(delta(1, 1, &["a"], &[]), 10);
        presence.hear(delta(2, 0, &[], &["a"]), 10);
        assert!(!presence.has_news());
    }
}
