//! Who is in a room, as this node sees it.
//!
//! The node counts its own connections and registers (room, user) with the broker once. A user
//! whose last connection here has gone stays registered for [`LEAVE_DELAY`], so that a page
//! reload is no leave and join. Changes are told to members at most once a second a room.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hubbub_broker::{BrokerError, Presence};
use hubbub_protocol::frame::ServerFrame;
use hubbub_protocol::{Frame, PresenceDelta, User, UserId};
use indexmap::IndexMap;

use crate::lock::lock;
use crate::node::Node;
use crate::room::Room;

/// How long a user stays present after the last connection.
pub(crate) const LEAVE_DELAY: Duration = Duration::from_secs(5);
/// Between two presence frames of a room.
const FRAME_INTERVAL: Duration = Duration::from_secs(1);
/// How often due leaves and frames are looked for.
const TICK: Duration = Duration::from_millis(100);

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
}

/// What a delta did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
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
    fn arrive(&mut self, user: &User) -> bool {
        let here = self.here.entry(user.id.clone()).or_insert_with(|| Here {
            user: user.clone(),
            connections: 0,
            registered: false,
        });
        here.connections += 1;
        !here.registered
    }

    fn set_registered(&mut self, user: &UserId) {
        if let Some(here) = self.here.get_mut(user) {
            here.registered = true;
        }
    }

    /// Returns whether that was the user's last connection here.
    fn depart(&mut self, user: &UserId) -> bool {
        let Some(here) = self.here.get_mut(user) else {
            return false;
        };
        here.connections = here.connections.saturating_sub(1);
        here.connections == 0
    }

    /// Whether the user still has no connection here; from now on a join registers again.
    fn begin_leave(&mut self, user: &UserId) -> bool {
        let Some(here) = self.here.get_mut(user) else {
            return false;
        };
        if here.connections == 0 {
            here.registered = false;
        }
        here.connections == 0
    }

    /// Forgets a user whose leave was taken; returns who has come back meanwhile.
    fn end_leave(&mut self, user: &UserId, is_told: bool) -> Option<User> {
        let here = self.here.get(user)?;
        if here.connections > 0 {
            return Some(here.user.clone());
        }
        if is_told {
            self.here.remove(user);
        }
        None
    }

    fn users_here(&self) -> Vec<User> {
        self.here.values().map(|here| here.user.clone()).collect()
    }

    /// Takes the cluster's word on everybody, and notes the difference to what was known. Should
    /// deltas have overtaken it, the next one shows a gap and the cluster is asked again.
    fn learn(&mut self, presence: Presence) {
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

    fn hear(&mut self, delta: PresenceDelta, list_limit: usize) -> Heard {
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

    fn is_due(&self, now: Instant) -> bool {
        self.told_at
            .is_none_or(|told| now.duration_since(told) >= FRAME_INTERVAL)
    }

    fn has_news(&self) -> bool {
        !self.joined.is_empty() || !self.left.is_empty() || self.count != self.told_count
    }

    /// The frame that tells what has changed; `None` when nothing has.
    fn take_frame(&mut self, room: &Room, list_limit: usize, now: Instant) -> Option<Frame> {
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
            room: &room.id,
            count: self.count,
            joined: &joined,
            left: &left,
        };
        Some(Frame::encode(&frame))
    }
}

/// How a connection left a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Departure {
    /// The client said so.
    Said,
    /// The connection ended: it may be a page reload.
    Cut,
}

/// What is due later, over all rooms of the node. What is due sooner stands in front.
#[derive(Debug, Default)]
pub(crate) struct PresenceAgenda {
    leaves: VecDeque<(Instant, Arc<Room>, UserId)>,
    frames: VecDeque<Arc<Room>>,
}

impl Node {
    /// A connection of `user` joins `room`. Registers the user if this node had none of them;
    /// returns how many users are in the room.
    pub(crate) async fn arrive(&self, room: &Room, user: &User) -> Result<u64, BrokerError> {
        if lock(&room.state).presence.arrive(user) {
            let presence = self.broker.enter(&room.id, user).await?;
            let mut state = lock(&room.state);
            state.presence.set_registered(&user.id);
            // The announcement itself comes through the channel, to everybody alike; it may have
            // come already, and others after it.
            if presence.version > state.presence.version {
                return Ok(presence.count);
            }
        }
        Ok(lock(&room.state).presence.count)
    }

    /// A connection of `user` leaves `room`: if it was the last one here, the broker is told, and
    /// if it may come back, only after [`LEAVE_DELAY`].
    pub(crate) fn depart(&self, room: &Arc<Room>, user: &UserId, departure: Departure) {
        if !lock(&room.state).presence.depart(user) {
            return;
        }
        let leave = |due| (due, Arc::clone(room), user.clone());
        let mut agenda = lock(&self.agenda);
        match departure {
            Departure::Said => agenda.leaves.push_front(leave(Instant::now())),
            Departure::Cut => agenda.leaves.push_back(leave(Instant::now() + LEAVE_DELAY)),
        }
    }

    /// Hears who came to or went from a room.
    pub(crate) fn hear_presence(self: &Arc<Self>, room: &Arc<Room>, delta: PresenceDelta) {
        let limit = self.config.limits.presence_list;
        let heard = lock(&room.state).presence.hear(delta, limit);
        match heard {
            Heard::Applied => self.tell_presence(room),
            Heard::Old => {}
            Heard::Gap => self.refresh_presence_soon(room),
        }
    }

    /// Learns who is in a room that nobody here is in yet.
    pub(crate) async fn open_presence(&self, room: &Room) -> Result<(), BrokerError> {
        let presence = self.ask_presence(room).await?;
        let mut state = lock(&room.state);
        state.presence.learn(presence);
        state.presence.told_count = state.presence.count;
        Ok(())
    }

    async fn ask_presence(&self, room: &Room) -> Result<Presence, BrokerError> {
        self.broker
            .presence(&room.id, self.config.limits.presence_list)
            .await
    }

    /// Asks the broker who is in the room and tells members the difference.
    async fn refresh_presence(&self, room: &Arc<Room>) -> Result<(), BrokerError> {
        let presence = self.ask_presence(room).await?;
        lock(&room.state).presence.learn(presence);
        self.tell_presence(room);
        Ok(())
    }

    pub(crate) fn refresh_presence_soon(self: &Arc<Self>, room: &Arc<Room>) {
        if std::mem::replace(&mut lock(&room.state).presence.is_refreshing, true) {
            return;
        }
        let (node, room) = (Arc::clone(self), Arc::clone(room));
        self.spawn(async move {
            let refreshed = node.refresh_presence(&room).await;
            lock(&room.state).presence.is_refreshing = false;
            if let Err(error) = refreshed {
                // The next delta finds the same gap.
                tracing::debug!(room = %room.id, %error, "cannot ask who is there");
            }
        });
    }

    /// Registers everybody here once more, as after Redis lost its data. Idempotent.
    pub(crate) async fn register_again(&self, room: &Arc<Room>) -> Result<(), BrokerError> {
        let users = lock(&room.state).presence.users_here();
        for user in users {
            self.broker.enter(&room.id, &user).await?;
            lock(&room.state).presence.set_registered(&user.id);
        }
        self.refresh_presence(room).await
    }

    /// Tells members at once, or as soon as the last frame is a second old.
    fn tell_presence(&self, room: &Arc<Room>) {
        let now = Instant::now();
        let mut state = lock(&room.state);
        if !state.presence.is_due(now) {
            drop(state);
            let mut agenda = lock(&self.agenda);
            if !agenda
                .frames
                .iter()
                .any(|waiting| Arc::ptr_eq(waiting, room))
            {
                agenda.frames.push_back(Arc::clone(room));
            }
            return;
        }
        let limit = self.config.limits.presence_list;
        if let Some(frame) = state.presence.take_frame(room, limit, now) {
            state.members.push_to_all(&frame, None);
        }
    }

    /// Runs for as long as the node: leaves and frames that are due.
    pub(crate) async fn keep_presence(&self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let frames = std::mem::take(&mut lock(&self.agenda).frames);
            for room in frames {
                self.tell_presence(&room);
            }
            while let Some((room, user)) = self.next_due_leave() {
                if !self.leave_for_good(&room, &user).await {
                    break;
                }
            }
        }
    }

    fn next_due_leave(&self) -> Option<(Arc<Room>, UserId)> {
        let mut agenda = lock(&self.agenda);
        let is_due = agenda
            .leaves
            .front()
            .is_some_and(|(due, ..)| *due <= Instant::now());
        let (_, room, user) = is_due.then(|| agenda.leaves.pop_front()).flatten()?;
        Some((room, user))
    }

    /// Returns whether the broker took it. A user may come back while the broker is being told:
    /// the join then registers too, but perhaps before our exit, so it is done once more.
    async fn leave_for_good(&self, room: &Arc<Room>, user: &UserId) -> bool {
        if !lock(&room.state).presence.begin_leave(user) {
            return true;
        }
        let told = self.broker.exit(&room.id, user).await;
        let back = lock(&room.state).presence.end_leave(user, told.is_ok());
        match (told, back) {
            (Ok(()), None) => self.close_if_idle(room).await,
            (Ok(()), Some(user)) => {
                if let Err(error) = self.broker.enter(&room.id, &user).await {
                    tracing::warn!(room = %room.id, %error, "cannot register a user who is back");
                }
            }
            (Err(error), _) => {
                tracing::debug!(room = %room.id, %error, "cannot take a leave to the broker yet");
                let due = Instant::now() + FRAME_INTERVAL;
                lock(&self.agenda)
                    .leaves
                    .push_front((due, Arc::clone(room), user.clone()));
                return false;
            }
        }
        true
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
        assert!(!presence.depart(&user("a").id));
        assert!(presence.depart(&user("a").id));
        assert!(
            !presence.arrive(&user("a")),
            "back in time: nothing to tell the broker"
        );
        assert!(!presence.begin_leave(&user("a").id));
    }

    #[test]
    fn who_comes_back_while_the_broker_is_told_is_registered_again() {
        let mut presence = RoomPresence::default();
        presence.arrive(&user("a"));
        presence.set_registered(&user("a").id);
        presence.depart(&user("a").id);
        assert!(presence.begin_leave(&user("a").id));
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
