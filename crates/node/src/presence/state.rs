//! Who is in one room: counted here, heard of from the others, and not told to members yet.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hubbub_broker::Presence;
use hubbub_protocol::frame::ServerFrame;
use hubbub_protocol::{Frame, PresenceDelta, RoomId, User, UserId};
use indexmap::IndexMap;

use super::roster::Roster;

/// Between two presence frames of a room.
const FRAME_INTERVAL: Duration = Duration::from_secs(1);

/// A room's presence on this node.
#[derive(Debug, Default)]
pub(crate) struct RoomPresence {
    /// Users with connections here, or who have just left.
    pub(super) roster: Roster,
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
    /// A frame waits until the last one is old enough.
    is_waiting: bool,
    /// Until then nothing is told.
    held_until: Option<Instant>,
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
        self.roster.is_empty()
    }

    /// Users present in the cluster, as last heard, or as the broker has answered since: its
    /// announcement comes through the channel, to everybody alike.
    pub(crate) fn count_with(&self, answered: &Presence) -> u64 {
        if answered.version > self.version {
            answered.count
        } else {
            self.count
        }
    }

    /// Counts the changes heard.
    pub(crate) fn version(&self) -> u64 {
        self.version
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

    /// Takes the cluster's word on everybody, and notes the difference to what was known.
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
        let is_old = |told: Instant| now.duration_since(told) >= FRAME_INTERVAL;
        self.held_until.is_none_or(|until| until <= now) && self.told_at.is_none_or(is_old)
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
            name: id.into(),
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
