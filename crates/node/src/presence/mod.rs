//! Presence: the users in a room, as this node knows them.
//!
//! The node counts its own connections and registers (room, user) with the broker once. A user
//! whose last connection here has ended stays registered for [`LEAVE_DELAY`], so that a page reload
//! is not seen as leaving and joining. One registration per room is in flight; later changes go
//! with the next one. Members receive the changes at most once a second per room.

mod roster;
mod state;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hubbub_broker::{BrokerError, Presence};
use hubbub_protocol::{PresenceDelta, User, UserId};
use tokio::time::{sleep, timeout};

use self::state::Heard;
pub(crate) use self::state::RoomPresence;
use crate::node::Node;
use crate::room::Room;

/// How long a user stays present after the last connection has ended.
pub(crate) const LEAVE_DELAY: Duration = Duration::from_secs(5);
/// How long the nodes have to fill a room's list of users again after the broker has lost it. Until
/// then no user counts as having left.
pub(super) const SETTLE: Duration = Duration::from_secs(3);
/// The pause before such a list is asked for again.
const SETTLE_RETRY: Duration = Duration::from_secs(1);
/// How often due leaves and frames are looked for.
const TICK: Duration = Duration::from_millis(100);
/// The longest pause before a failed registration is retried; multiplied by a random number from
/// 0.5 to 1.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// How a connection left a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Departure {
    /// The client sent `leave`.
    Said,
    /// The connection ended. It may be a page reload.
    Cut,
}

/// The work that is due later, over all rooms of the node. The earliest comes first.
#[derive(Debug, Default)]
pub(crate) struct PresenceAgenda {
    leaves: VecDeque<(Instant, Arc<Room>, UserId)>,
    frames: VecDeque<Arc<Room>>,
    /// Rooms whose list of users was lost.
    settles: VecDeque<(Instant, Arc<Room>)>,
    /// Rooms in which somebody types.
    typing: Vec<Arc<Room>>,
}

impl Node {
    /// A connection of `user` joins `room`. Registers the user if this was the user's first
    /// connection here. Returns how many users are in the room, and as of which version.
    pub(crate) async fn arrive(
        self: &Arc<Self>,
        room: &Arc<Room>,
        user: &User,
    ) -> Result<Presence, BrokerError> {
        if room.state.lock().presence.roster.arrive(user) {
            self.register_soon(room);
        }
        let limit = self.config.limits.send_timeout;
        match timeout(limit, self.registered(room, &user.id)).await {
            Ok(registered) => registered,
            Err(_) => Err(BrokerError::Unavailable(
                "no registration in time".to_owned(),
            )),
        }
    }

    async fn registered(&self, room: &Room, user: &UserId) -> Result<Presence, BrokerError> {
        let mut outcome = room.state.lock().presence.roster.outcome();
        let mut failure = None;
        loop {
            if let Some(presence) = room.state.lock().presence.roster.registered(user) {
                return Ok(presence);
            }
            if let Some(error) = failure {
                return Err(error);
            }
            let closed = || BrokerError::Unavailable("the room is closed".to_owned());
            outcome.changed().await.map_err(|_| closed())?;
            failure = outcome.borrow_and_update().clone();
        }
    }

    /// A connection of `user` leaves `room`. If it was the user's last one here, the broker is
    /// told: at once if the client left, after [`LEAVE_DELAY`] if the client may come back.
    pub(crate) fn depart(self: &Arc<Self>, room: &Arc<Room>, user: &UserId, departure: Departure) {
        let now = Instant::now();
        let due = match departure {
            Departure::Said => now,
            Departure::Cut => now + LEAVE_DELAY,
        };
        if !room.state.lock().presence.roster.depart(user, due) {
            return;
        }
        match departure {
            Departure::Said => self.leave_for_good(room, user),
            Departure::Cut => {
                let leave = (due, Arc::clone(room), user.clone());
                self.agenda.lock().leaves.push_back(leave);
            }
        }
    }

    /// Handles a presence change that the broker announces.
    pub(crate) fn hear_presence(self: &Arc<Self>, room: &Arc<Room>, delta: PresenceDelta) {
        let limit = self.config.limits.presence_list;
        let heard = room.state.lock().presence.hear(delta, limit);
        match heard {
            Heard::Applied => self.tell_presence(room),
            Heard::Old => {}
            Heard::Gap => self.refresh_presence_soon(room),
            Heard::Lost => {
                self.settle_presence(room);
                self.tell_presence(room);
            }
        }
    }

    /// Handles the loss of a room's list of users in the broker. This node registers its users
    /// again, as every other node does, and later compares its old list with the new one, after the
    /// nodes had time to fill it.
    fn settle_presence(self: &Arc<Self>, room: &Arc<Room>) {
        tracing::info!(room = %room.id, "the broker has lost a room's list of users, registering its users again");
        self.settle_later(room, SETTLE);
        self.register_again([Arc::clone(room)]);
    }

    fn settle_later(&self, room: &Arc<Room>, pause: Duration) {
        let settle = (Instant::now() + pause, Arc::clone(room));
        self.agenda.lock().settles.push_back(settle);
    }

    /// Asks for the new lists whose time to fill is over. A list that cannot be read now is asked
    /// for again in a second.
    fn settle_due(self: &Arc<Self>) {
        while let Some(room) = self.next_due_settle() {
            let open = self.hub.room(&room.id);
            let is_open = open.is_some_and(|open| Arc::ptr_eq(&open, &room));
            if is_open && room.state.lock().presence.is_settling() {
                self.refresh_presence_soon(&room);
                self.settle_later(&room, SETTLE_RETRY);
            }
        }
    }

    fn next_due_settle(&self) -> Option<Arc<Room>> {
        let mut agenda = self.agenda.lock();
        let is_due = |(due, _): &mut (Instant, Arc<Room>)| *due <= Instant::now();
        agenda.settles.pop_front_if(is_due).map(|(_, room)| room)
    }

    /// Reads a room's presence before the first member joins here.
    pub(crate) async fn open_presence(&self, room: &Room) -> Result<(), BrokerError> {
        let presence = self.ask_presence(room).await?;
        room.state.lock().presence.begin(presence);
        Ok(())
    }

    async fn ask_presence(&self, room: &Room) -> Result<Presence, BrokerError> {
        self.broker
            .presence(&room.id, self.config.limits.presence_list)
            .await
    }

    /// Reads the room's presence from the broker and tells members the difference.
    async fn refresh_presence(self: &Arc<Self>, room: &Arc<Room>) -> Result<(), BrokerError> {
        loop {
            let before = room.state.lock().presence.version();
            let presence = self.ask_presence(room).await?;
            let mut state = room.state.lock();
            // A change that arrived meanwhile may be newer than the answer.
            let is_overtaken =
                state.presence.version() != before && state.presence.version() > presence.version;
            if !is_overtaken {
                let learnt = state.presence.learn(presence, Instant::now());
                drop(state);
                if learnt == Heard::Lost {
                    self.settle_presence(room);
                }
                break;
            }
        }
        self.tell_presence(room);
        Ok(())
    }

    pub(crate) fn refresh_presence_soon(self: &Arc<Self>, room: &Arc<Room>) {
        if !room.state.lock().presence.begin_refresh() {
            return;
        }
        let (node, room) = (Arc::clone(self), Arc::clone(room));
        self.spawn(async move {
            let refreshed = {
                let _turn = node.repairs.acquire().await;
                node.refresh_presence(&room).await
            };
            room.state.lock().presence.end_refresh();
            if let Err(error) = refreshed {
                // The next look at changed rooms finds the same difference.
                tracing::debug!(room = %room.id, %error, "cannot read the room's presence");
            }
        });
    }

    /// Registers all users in these rooms again, because the broker may have lost them.
    pub(crate) fn register_again(self: &Arc<Self>, rooms: impl IntoIterator<Item = Arc<Room>>) {
        for room in rooms {
            if room.state.lock().presence.roster.lose() {
                self.register_soon(&room);
            } else {
                self.refresh_presence_soon(&room);
            }
        }
    }

    /// Starts registering changed users with the broker, unless that is running already.
    fn register_soon(self: &Arc<Self>, room: &Arc<Room>) {
        if room.state.lock().presence.roster.begin() {
            let (node, room) = (Arc::clone(self), Arc::clone(room));
            self.spawn(async move { node.keep_registering(&room).await });
        }
    }

    /// Registers until the broker knows everything. A failure is reported to the waiting joins and
    /// retried, as long as the room is open.
    async fn keep_registering(self: &Arc<Self>, room: &Arc<Room>) {
        loop {
            let Some(next) = room.state.lock().presence.roster.next() else {
                break;
            };
            let told = {
                let _turn = self.registrations.acquire().await;
                self.broker.register(&room.id, &next.users).await
            };
            let failed = told.is_err();
            if let Err(error) = &told {
                tracing::debug!(room = %room.id, %error, "cannot register users yet");
            }
            room.state.lock().presence.roster.end(next, told);
            if failed {
                sleep(RETRY_PAUSE.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            }
        }
        if room.state.lock().presence.roster.end_loss() {
            self.refresh_presence_soon(room);
        }
        if room.is_idle() {
            self.close_if_idle(room).await;
        }
    }

    /// Sends the presence frame to members now, or as soon as the last one is a second old.
    fn tell_presence(&self, room: &Arc<Room>) {
        let now = Instant::now();
        let mut state = room.state.lock();
        if !state.presence.is_due(now) {
            if state.presence.begin_waiting() {
                drop(state);
                self.agenda.lock().frames.push_back(Arc::clone(room));
            }
            return;
        }
        let limit = self.config.limits.presence_list;
        if let Some(frame) = state.presence.take_frame(&room.id, limit, now) {
            state.members.push_to_all(&frame, None);
        }
    }

    /// Tells members nothing for `pause`, because the changes may be undone in that time.
    pub(crate) fn hold_presence(&self, room: &Room, pause: Duration) {
        room.state.lock().presence.hold(Instant::now() + pause);
    }

    /// Handles due leaves and frames. Runs as long as the node.
    pub(crate) async fn keep_presence(self: &Arc<Self>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.beat();
            self.settle_due();
            self.end_due_typing();
            let frames = std::mem::take(&mut self.agenda.lock().frames);
            for room in frames {
                room.state.lock().presence.end_waiting();
                self.tell_presence(&room);
            }
            while let Some((room, user)) = self.next_due_leave() {
                self.leave_for_good(&room, &user);
            }
        }
    }

    /// Looks at a room until nobody types in it any more.
    pub(crate) fn watch_typing(&self, room: &Arc<Room>) {
        self.agenda.lock().typing.push(Arc::clone(room));
    }

    /// Ends the typing of users who have not renewed it in time.
    fn end_due_typing(&self) {
        let mut rooms = std::mem::take(&mut self.agenda.lock().typing);
        let now = Instant::now();
        rooms.retain(|room| room.expire_typing(now));
        self.agenda.lock().typing.append(&mut rooms);
    }

    fn next_due_leave(&self) -> Option<(Arc<Room>, UserId)> {
        let mut agenda = self.agenda.lock();
        let is_due = agenda
            .leaves
            .front()
            .is_some_and(|(due, ..)| *due <= Instant::now());
        let (_, room, user) = is_due.then(|| agenda.leaves.pop_front()).flatten()?;
        Some((room, user))
    }

    fn leave_for_good(self: &Arc<Self>, room: &Arc<Room>, user: &UserId) {
        if room
            .state
            .lock()
            .presence
            .roster
            .leave(user, Instant::now())
        {
            self.register_soon(room);
        }
    }
}
