//! One room's presence: users counted here, changes announced by the broker, and changes that
//! members do not know yet.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hubbub_broker::Presence;
use hubbub_protocol::frame::ServerFrame;
use hubbub_protocol::{Frame, PresenceDelta, RoomId, User, UserId};
use indexmap::IndexMap;

use super::SETTLE;
use super::roster::Roster;

/// The pause between two presence frames of a room.
const FRAME_INTERVAL: Duration = Duration::from_secs(1);

/// A room's presence on this node.
#[derive(Debug, Default)]
pub(crate) struct RoomPresence {
    /// Users with connections here, or who have just left.
    pub(super) roster: Roster,
    /// Version of the whole cluster's presence, as last announced.
    version: u64,
    /// The number of the broker's list of users. 0: not known.
    registry: u64,
    /// Set after the broker has lost the list. Until then the list fills again, and no user who is
    /// missing in it counts as having left.
    settles_at: Option<Instant>,
    count: u64,
    /// The users in the room, if they are few enough to list. `None`: not known.
    known: Option<HashMap<UserId, User>>,
    /// Users whose coming or going members do not know yet.
    joined: IndexMap<UserId, User>,
    left: IndexMap<UserId, User>,
    told_at: Option<Instant>,
    told_count: u64,
    /// The broker is being asked for the presence.
    is_refreshing: bool,
    /// A frame waits until the last one is old enough.
    is_waiting: bool,
    /// Members are told nothing until then.
    held_until: Option<Instant>,
}

/// The effect of an announced change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    Applied,
    Old,
    /// A change before it was lost, so the broker has to be asked for the whole list.
    Gap,
    /// The broker has lost the list, so this node's users have to be registered again.
    Lost,
}

impl RoomPresence {
    /// Whether no user is registered from here.
    pub(crate) fn is_empty(&self) -> bool {
        self.roster.is_empty()
    }

    /// The number of users in the cluster: as last announced, or the broker's newer answer. The
    /// announcement of that answer is still to come through the channel, for all nodes alike.
    pub(crate) fn count_with(&self, answered: &Presence) -> u64 {
        if self.is_settling() {
            answered.count.max(self.count)
        } else if answered.version > self.version {
            answered.count
        } else {
            self.count
        }
    }

    /// The version of the last change.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Takes the presence of a room that had no members here: there is no difference to report.
    pub(super) fn begin(&mut self, presence: Presence) {
        self.registry = 0;
        self.settles_at = None;
        self.learn(presence, Instant::now());
        self.told_count = self.count;
    }

    /// Returns whether the broker is not being asked already.
    pub(super) fn begin_refresh(&mut self) -> bool {
        !std::mem::replace(&mut self.is_refreshing, true)
    }

    pub(super) fn end_refresh(&mut self) {
        self.is_refreshing = false;
    }

    /// Returns whether no frame waits already.
    pub(super) fn begin_waiting(&mut self) -> bool {
        !std::mem::replace(&mut self.is_waiting, true)
    }

    pub(super) fn end_waiting(&mut self) {
        self.is_waiting = false;
    }

    pub(super) fn hold(&mut self, until: Instant) {
        self.held_until = Some(until);
    }

    /// Whether the broker's list of users is being filled again after a loss.
    pub(super) fn is_settling(&self) -> bool {
        self.settles_at.is_some()
    }

    /// Takes the whole presence from the broker, and notes the difference to the known one.
    pub(super) fn learn(&mut self, presence: Presence, now: Instant) -> Heard {
        let is_lost = presence.registry != self.registry && self.registry != 0 && self.count > 0;
        self.version = presence.version;
        self.registry = presence.registry;
        if is_lost {
            self.settles_at = Some(now + SETTLE);
        }
        if self.settles_at.is_some_and(|at| now < at) {
            let (joined, left) = (presence.members, Vec::new());
            self.apply(joined, left, presence.count);
        } else {
            self.settles_at = None;
            self.replace(presence);
        }
        if is_lost { Heard::Lost } else { Heard::Applied }
    }

    /// Replaces the known users by a complete list.
    fn replace(&mut self, presence: Presence) {
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
        let heard = self.place(&delta, Instant::now());
        if matches!(heard, Heard::Applied | Heard::Lost) {
            self.version = delta.version;
            self.apply(delta.joined, delta.left, delta.count);
            if self
                .known
                .as_ref()
                .is_some_and(|known| known.len() > list_limit)
            {
                self.known = None;
            }
        }
        heard
    }

    /// Decides whether a change follows the known version. A change with another list's number
    /// begins that list; the list before was lost, unless it was empty.
    fn place(&mut self, delta: &PresenceDelta, now: Instant) -> Heard {
        if delta.registry != 0 && delta.registry != self.registry {
            if delta.registry < self.registry {
                return Heard::Old;
            }
            let is_lost = self.registry != 0 && self.count > 0;
            self.registry = delta.registry;
            if is_lost {
                self.settles_at = Some(now + SETTLE);
                return Heard::Lost;
            }
            return Heard::Applied;
        }
        if self.is_settling() {
            // A change that is missed now is found when the whole list is read.
            return Heard::Applied;
        }
        match delta.version.checked_sub(self.version) {
            None | Some(0) => Heard::Old,
            Some(1) => Heard::Applied,
            Some(_) => Heard::Gap,
        }
    }

    /// Applies a change, and notes the part of it that is new. While the broker's list fills again,
    /// a lower count is ignored.
    fn apply(&mut self, mut joined: Vec<User>, mut left: Vec<User>, count: u64) {
        self.count = if self.is_settling() {
            count.max(self.count)
        } else {
            count
        };
        if let Some(known) = &mut self.known {
            joined.retain(|user| known.insert(user.id.clone(), user.clone()).is_none());
            left.retain(|user| known.remove(&user.id).is_some());
            if self.settles_at.is_some() {
                self.count = known.len() as u64;
            }
        }
        self.note(joined, left);
    }

    /// Notes changes for the next frame. A user who comes and goes within one frame's time is not
    /// reported.
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
        let is_old = |told: Instant| now.duration_since(told) >= FRAME_INTERVAL;
        self.held_until.is_none_or(|until| until <= now) && self.told_at.is_none_or(is_old)
    }

    fn has_news(&self) -> bool {
        !self.joined.is_empty() || !self.left.is_empty() || self.count != self.told_count
    }

    /// Builds the frame with the changes since the last one. `None`: there are none.
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
            name: id.into(),
        }
    }

    fn delta(version: u64, count: u64, joined: &[&str], left: &[&str]) -> PresenceDelta {
        let users = |ids: &[&str]| ids.iter().map(|id| user(id)).collect();
        PresenceDelta {
            version,
            registry: 7,
            count,
            joined: users(joined),
            left: users(left),
        }
    }

    #[test]
    fn a_lost_delta_is_noticed() {
        let mut presence = RoomPresence::default();
        assert_eq!(presence.hear(delta(1, 1, &["a"], &[]), 10), Heard::Applied);
        assert_eq!(presence.hear(delta(1, 1, &["a"], &[]), 10), Heard::Old);
        assert_eq!(presence.hear(delta(3, 3, &["c"], &[]), 10), Heard::Gap);
    }

    fn list(registry: u64, version: u64, ids: &[&str]) -> Presence {
        Presence {
            version,
            registry,
            count: ids.len() as u64,
            members: ids.iter().map(|id| user(id)).collect(),
        }
    }

    #[test]
    fn a_lost_list_that_fills_again_tells_nothing() {
        let (mut presence, now) = (RoomPresence::default(), Instant::now());
        presence.begin(list(7, 9, &["a", "b", "c"]));
        let again = |registry, version, joined: &[&str]| PresenceDelta {
            registry,
            ..delta(version, joined.len() as u64, joined, &[])
        };
        assert_eq!(presence.hear(again(8, 1, &["a"]), 10), Heard::Lost);
        assert_eq!(presence.hear(again(8, 2, &["c"]), 10), Heard::Applied);
        presence.learn(list(8, 2, &["a", "c"]), now);
        assert_eq!(presence.hear(again(8, 3, &["b"]), 10), Heard::Applied);
        assert!(!presence.has_news() && presence.count == 3, "{presence:?}");
        presence.learn(list(8, 3, &["a", "b", "c"]), now + 2 * SETTLE);
        assert!(!presence.has_news() && !presence.is_settling());
    }

    #[test]
    fn a_change_while_a_lost_list_fills_is_told() {
        let (mut presence, now) = (RoomPresence::default(), Instant::now());
        presence.begin(list(7, 9, &["a", "b", "c"]));
        assert_eq!(presence.learn(list(0, 0, &[]), now), Heard::Lost);
        let came = PresenceDelta {
            registry: 8,
            ..delta(1, 2, &["a", "d"], &[])
        };
        assert_eq!(presence.hear(came, 10), Heard::Applied);
        assert_eq!(presence.count, 4);
        assert_eq!(presence.joined.len(), 1, "d has come, a was here");
        // A user who is still missing after the other nodes had time to register has left.
        presence.learn(list(8, 2, &["a", "b", "d"]), now + 2 * SETTLE);
        assert_eq!(presence.left.keys().collect::<Vec<_>>(), [&user("c").id]);
        assert_eq!(presence.count, 3);
    }

    #[test]
    fn an_empty_room_has_no_list_to_lose() {
        let mut presence = RoomPresence::default();
        presence.begin(list(7, 9, &[]));
        let first = PresenceDelta {
            registry: 8,
            ..delta(10, 1, &["a"], &[])
        };
        assert_eq!(presence.hear(first, 10), Heard::Applied);
        assert!(!presence.is_settling());
    }

    #[test]
    fn the_difference_is_told_after_a_gap() {
        let (mut presence, now) = (RoomPresence::default(), Instant::now());
        presence.learn(list(7, 1, &["a", "b"]), now);
        assert!(
            presence.joined.is_empty(),
            "users who were there before are not reported"
        );
        presence.learn(list(7, 5, &["b", "c"]), now);
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
