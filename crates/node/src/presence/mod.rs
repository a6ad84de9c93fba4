//! Who is in a room, as this node sees it.
//!
//! The node counts its own connections and registers (room, user) with the broker once. A user
//! whose last connection here has gone stays registered for [`LEAVE_DELAY`], so that a page
//! reload is no leave and join. Changes are told to members at most once a second a room.

mod state;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hubbub_broker::{BrokerError, Presence};
use hubbub_protocol::{PresenceDelta, User, UserId};

pub(crate) use self::state::RoomPresence;
use self::state::{FRAME_INTERVAL, Heard};
use crate::lock::lock;
use crate::node::Node;
use crate::room::Room;

/// How long a user stays present after the last connection.
pub(crate) const LEAVE_DELAY: Duration = Duration::from_secs(5);
/// How often due leaves and frames are looked for.
const TICK: Duration = Duration::from_millis(100);

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
            if presence.version > state.presence.version() {
                return Ok(presence.count);
            }
        }
        Ok(lock(&room.state).presence.count())
    }

    /// A connection of `user` leaves `room`: if it was the last one here, the broker is told, and
    /// if it may come back, only after [`LEAVE_DELAY`].
    pub(crate) fn depart(&self, room: &Arc<Room>, user: &UserId, departure: Departure) {
        let now = Instant::now();
        let due = match departure {
            Departure::Said => now,
            Departure::Cut => now + LEAVE_DELAY,
        };
        if !lock(&room.state).presence.depart(user, due) {
            return;
        }
        let leave = (due, Arc::clone(room), user.clone());
        let mut agenda = lock(&self.agenda);
        match departure {
            Departure::Said => agenda.leaves.push_front(leave),
            Departure::Cut => agenda.leaves.push_back(leave),
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
        lock(&room.state).presence.begin(presence);
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
        if !lock(&room.state).presence.begin_refresh() {
            return;
        }
        let (node, room) = (Arc::clone(self), Arc::clone(room));
        self.spawn(async move {
            let refreshed = node.refresh_presence(&room).await;
            lock(&room.state).presence.end_refresh();
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
        if let Some(frame) = state.presence.take_frame(&room.id, limit, now) {
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
        if !lock(&room.state).presence.begin_leave(user, Instant::now()) {
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
