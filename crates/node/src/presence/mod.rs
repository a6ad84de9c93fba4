//! Who is in a room, as this node sees it.
//!
//! The node counts its own connections and registers (room, user) with the broker once. A user
//! whose last connection here has gone stays registered for [`LEAVE_DELAY`], so that a page
//! reload is no leave and join. One registration is in flight for a room; what changes meanwhile
//! goes with the next. Changes are told to members at most once a second a room.

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
use crate::lock::lock;
use crate::node::Node;
use crate::room::Room;

/// How long a user stays present after the last connection.
pub(crate) const LEAVE_DELAY: Duration = Duration::from_secs(5);
/// How long the nodes have to fill a room's list of users that the broker has lost. Meanwhile nobody is
/// taken to have left.
pub(super) const SETTLE: Duration = Duration::from_secs(3);
/// Between two tries to ask for such a list.
const SETTLE_RETRY: Duration = Duration::from_secs(1);
/// How often due leaves and frames are looked for.
const TICK: Duration = Duration::from_millis(100);
/// Between two tries to register while Redis is away; times a random number up to 1.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

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
    /// Rooms whose list of users was lost.
    settles: VecDeque<(Instant, Arc<Room>)>,
    /// Rooms in which somebody types.
    typing: Vec<Arc<Room>>,
}

impl Node {
    /// A connection of `user` joins `room`. Registers the user if this node had none of them;
    /// returns how many users are in the room, and as of which version.
    pub(crate) async fn arrive(
        self: &Arc<Self>,
        room: &Arc<Room>,
        user: &User,
    ) -> Result<Presence, BrokerError> {
        if lock(&room.state).presence.roster.arrive(user) {
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
        let mut outcome = lock(&room.state).presence.roster.outcome();
        let mut failure = None;
        loop {
            if let Some(presence) = lock(&room.state).presence.roster.registered(user) {
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

    /// A connection of `user` leaves `room`: if it was the last one here, the broker is told, and
    /// if it may come back, only after [`LEAVE_DELAY`].
    pub(crate) fn depart(self: &Arc<Self>, room: &Arc<Room>, user: &UserId, departure: Departure) {
        let now = Instant::now();
        let due = match departure {
            Departure::Said => now,
            Departure::Cut => now + LEAVE_DELAY,
        };
        if !lock(&room.state).presence.roster.depart(user, due) {
            return;
        }
        match departure {
            Departure::Said => self.leave_for_good(room, user),
            Departure::Cut => {
                let leave = (due, Arc::clone(room), user.clone());
                lock(&self.agenda).leaves.push_back(leave);
            }
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
            Heard::Lost => {
                self.settle_presence(room);
                self.tell_presence(room);
            }
        }
    }

    /// The broker has lost who is in the room: this node registers its users again, as every other does,
    /// and compares what it knew with the new list once that had time to fill.
    fn settle_presence(self: &Arc<Self>, room: &Arc<Room>) {
        tracing::info!(room = %room.id, "the broker has lost who is in a room, registering its users again");
        self.settle_later(room, SETTLE);
        self.register_again([Arc::clone(room)]);
    }

    fn settle_later(&self, room: &Arc<Room>, pause: Duration) {
        let settle = (Instant::now() + pause, Arc::clone(room));
        lock(&self.agenda).settles.push_back(settle);
    }

    /// Asks for the new lists of users that had their time. A list that cannot be asked for now is asked
    /// for again in a second.
    fn settle_due(self: &Arc<Self>) {
        while let Some(room) = self.next_due_settle() {
            let open = self.hub.room(&room.id);
            let is_open = open.is_some_and(|open| Arc::ptr_eq(&open, &room));
            if is_open && lock(&room.state).presence.is_settling() {
                self.refresh_presence_soon(&room);
                self.settle_later(&room, SETTLE_RETRY);
            }
        }
    }

    fn next_due_settle(&self) -> Option<Arc<Room>> {
        let mut agenda = lock(&self.agenda);
        let is_due = |(due, _): &mut (Instant, Arc<Room>)| *due <= Instant::now();
        agenda.settles.pop_front_if(is_due).map(|(_, room)| room)
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
    async fn refresh_presence(self: &Arc<Self>, room: &Arc<Room>) -> Result<(), BrokerError> {
        loop {
            let before = lock(&room.state).presence.version();
            let presence = self.ask_presence(room).await?;
            let mut state = lock(&room.state);
            // A change that was heard meanwhile may be newer than the answer.
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
        if !lock(&room.state).presence.begin_refresh() {
            return;
        }
        let (node, room) = (Arc::clone(self), Arc::clone(room));
        self.spawn(async move {
            let refreshed = {
                let _turn = node.repairs.acquire().await;
                node.refresh_presence(&room).await
            };
            lock(&room.state).presence.end_refresh();
            if let Err(error) = refreshed {
                // The next look at what changed finds the same difference.
                tracing::debug!(room = %room.id, %error, "cannot ask who is there");
            }
        });
    }

    /// Registers everybody in these rooms once more: what the broker had may be gone.
    pub(crate) fn register_again(self: &Arc<Self>, rooms: impl IntoIterator<Item = Arc<Room>>) {
        for room in rooms {
            if lock(&room.state).presence.roster.lose() {
                self.register_soon(&room);
            } else {
                self.refresh_presence_soon(&room);
            }
        }
    }

    /// Takes to the broker what it does not know yet, unless that is being done.
    fn register_soon(self: &Arc<Self>, room: &Arc<Room>) {
        if lock(&room.state).presence.roster.begin() {
            let (node, room) = (Arc::clone(self), Arc::clone(room));
            self.spawn(async move { node.keep_registering(&room).await });
        }
    }

    /// Until the broker knows everything. A failure is told to those who wait for it and tried
    /// again, for as long as the room is open.
    async fn keep_registering(self: &Arc<Self>, room: &Arc<Room>) {
        loop {
            let Some(next) = lock(&room.state).presence.roster.next() else {
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
            lock(&room.state).presence.roster.end(next, told);
            if failed {
                sleep(RETRY_PAUSE.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            }
        }
        if lock(&room.state).presence.roster.end_loss() {
            self.refresh_presence_soon(room);
        }
        if room.is_idle() {
            self.close_if_idle(room).await;
        }
    }

    /// Tells members at once, or as soon as the last frame is a second old.
    fn tell_presence(&self, room: &Arc<Room>) {
        let now = Instant::now();
        let mut state = lock(&room.state);
        if !state.presence.is_due(now) {
            if state.presence.begin_waiting() {
                drop(state);
                lock(&self.agenda).frames.push_back(Arc::clone(room));
            }
            return;
        }
        let limit = self.config.limits.presence_list;
        if let Some(frame) = state.presence.take_frame(&room.id, limit, now) {
            state.members.push_to_all(&frame, None);
        }
    }

    /// Members are told nothing for `pause`: what was heard may be undone in that time.
    pub(crate) fn hold_presence(&self, room: &Room, pause: Duration) {
        lock(&room.state).presence.hold(Instant::now() + pause);
    }

    /// Runs for as long as the node: leaves and frames that are due.
    pub(crate) async fn keep_presence(self: &Arc<Self>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.beat();
            self.settle_due();
            self.end_due_typing();
            let frames = std::mem::take(&mut lock(&self.agenda).frames);
            for room in frames {
                lock(&room.state).presence.end_waiting();
                self.tell_presence(&room);
            }
            while let Some((room, user)) = self.next_due_leave() {
                self.leave_for_good(&room, &user);
            }
        }
    }

    /// Looks at a room until nobody types in it any more.
    pub(crate) fn watch_typing(&self, room: &Arc<Room>) {
        lock(&self.agenda).typing.push(Arc::clone(room));
    }

    /// Ends the typing of users who have not renewed it in time.
    fn end_due_typing(&self) {
        let mut rooms = std::mem::take(&mut lock(&self.agenda).typing);
        let now = Instant::now();
        rooms.retain(|room| room.expire_typing(now));
        lock(&self.agenda).typing.append(&mut rooms);
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

    fn leave_for_good(self: &Arc<Self>, room: &Arc<Room>, user: &UserId) {
        if lock(&room.state)
            .presence
            .roster
            .leave(user, Instant::now())
        {
            self.register_soon(room);
        }
    }
}
