//! The embedded broker: the nodes of one process share it, and it needs no other service.
//!
//! One lock guards all rooms. Events are numbered, stored and put into the nodes' queues under it,
//! so all nodes receive a room's packets in one order. Nothing is awaited while it is held.

mod journal;
mod ledger;
mod orders;
mod publish;
mod room;
mod stream;
mod tickets;
mod webhooks;

use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use hubbub_protocol::frame::RoomSummary;
use hubbub_protocol::{ConnectionId, Envelope, Frame, Packet, Position, RoomId};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

pub use self::journal::{Commit, Journal, JournalError, JournalRequest, UsedNonce};
use self::ledger::{Ledger, Payer};
use self::orders::Standing;
use self::room::MemoryRoom;
use self::stream::MemoryStream;
use self::tickets::Tickets;
use crate::inbox::{InboxSender, inbox};
use crate::{
    Attendance, BrokerConfig, BrokerError, BrokerMetrics, Head, Inbox, Outcome, Page, Presence,
    Reconciliation, Span, StreamState,
};

/// How often idle rooms are dropped, at most.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// The broker that several nodes of one process share. Clones share the same state.
#[derive(Debug, Clone)]
pub struct MemoryCluster(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: BrokerConfig,
    secret: [u8; 32],
    /// Commits events before any node receives them. `None`: events live in memory only.
    journal: Option<Journal>,
    started: Instant,
    tasks: TaskTracker,
    /// Held while an order is given to all nodes.
    issuing: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    tickets: Tickets,
}

#[derive(Debug)]
struct State {
    rooms: HashMap<RoomId, MemoryRoom>,
    nodes: HashMap<u64, InboxSender>,
    next_node: u64,
    /// Every stored event, oldest first, so that the oldest can be dropped when the bytes run out.
    /// An entry's event may have left its room already.
    stored: VecDeque<(RoomId, u64)>,
    ledger: Ledger,
    swept: Instant,
    standing: Standing,
    /// Per webhook: the rooms that wait for it, and since when (milliseconds since 1970).
    waiting: HashMap<String, HashMap<RoomId, u64>>,
}

/// One node's handle on a [`MemoryCluster`]; clones share it.
#[derive(Debug, Clone)]
pub struct MemoryBroker {
    cluster: MemoryCluster,
    node: u64,
    metrics: BrokerMetrics,
}

impl MemoryCluster {
    /// Creates an empty cluster. With a journal, events are committed there before they are stored.
    #[must_use]
    pub fn new(config: BrokerConfig, journal: Option<Journal>) -> Self {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).expect("the operating system provides random bytes");
        let state = State {
            rooms: HashMap::new(),
            nodes: HashMap::new(),
            next_node: 0,
            stored: VecDeque::new(),
            ledger: Ledger::default(),
            swept: Instant::now(),
            standing: Standing::default(),
            waiting: HashMap::new(),
        };
        Self(Arc::new(Shared {
            config,
            secret,
            journal,
            started: Instant::now(),
            tasks: TaskTracker::new(),
            issuing: tokio::sync::Mutex::default(),
            state: Mutex::new(state),
            tickets: Tickets::default(),
        }))
    }

    /// Waits until everything that is being committed is stored too. The nodes must have ended
    /// before.
    pub async fn finish(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    pub(crate) fn join(&self) -> (MemoryBroker, Inbox) {
        let (sender, inbox) = inbox();
        let mut state = self.lock();
        let node = state.next_node;
        state.next_node += 1;
        sender.control.begin_with(state.standing.rules());
        state.nodes.insert(node, sender);
        drop(state);
        (
            MemoryBroker {
                cluster: self.clone(),
                node,
                metrics: BrokerMetrics::default(),
            },
            inbox,
        )
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).expect("milliseconds since 1970 fit into 64 bits")
}

impl State {
    /// Returns the room, created if it is new. It need not have a stream.
    fn room(&mut self, room: &RoomId) -> &mut MemoryRoom {
        self.rooms.entry(room.clone()).or_default()
    }

    fn stream(&self, room: &RoomId) -> Result<&MemoryStream, BrokerError> {
        let room = self.rooms.get(room);
        room.and_then(|room| room.stream.as_ref())
            .ok_or(BrokerError::Unreconciled)
    }

    fn summary(&self, id: &RoomId) -> RoomSummary {
        let room = self.rooms.get(id);
        let stream = room.and_then(|room| room.stream.as_ref());
        RoomSummary {
            room: id.clone(),
            members: room.map_or(0, |room| room.presence(0).count),
            offset: stream.map_or(0, |stream| stream.head().offset),
        }
    }

    /// Hands a packet to every subscribed node.
    fn broadcast(&self, room: &RoomId, packet: &Packet, cost: usize, metrics: &BrokerMetrics) {
        let Some(state) = self.rooms.get(room) else {
            return;
        };
        for node in state.subscribers() {
            let Some(sender) = self.nodes.get(node) else {
                continue;
            };
            if !sender.deliver(room, packet.clone(), cost) {
                metrics.overflows.inc();
            }
        }
    }

    /// Books what the room's stream costs now.
    fn settle(&mut self, room: &RoomId) {
        let here = self.rooms.get_mut(room);
        if let Some(stream) = here.and_then(|here| here.stream.as_mut()) {
            let after = stream.bytes();
            let before = std::mem::replace(&mut stream.booked, after);
            self.ledger.book(stream.payers(), before, after);
        }
    }

    /// Keeps the rooms that the room's user, or its address, has begun within `most` bytes: the oldest
    /// events of the largest of these rooms leave. A sixteenth stays free, so that the next event does
    /// not begin it anew. Each room keeps its newest event.
    fn keep_share(&mut self, room: &RoomId, most: usize) {
        let here = self.rooms.get(room);
        let payers = here.and_then(|here| here.stream.as_ref()?.payers());
        let Some(payers) = payers.cloned() else {
            return;
        };
        for payer in payers.each() {
            if self.ledger.held_by(&payer) > most {
                self.shrink_rooms_of(&payer, most / 16 * 15);
            }
        }
    }

    fn shrink_rooms_of(&mut self, payer: &Payer, most: usize) {
        let rooms = self.rooms.iter().filter_map(|(room, here)| {
            let stream = here.stream.as_ref()?;
            let pays = stream.payers().is_some_and(|payers| payers.include(payer));
            pays.then(|| (stream.bytes(), room.clone()))
        });
        let mut largest: BinaryHeap<(usize, RoomId)> = rooms.collect();
        while self.ledger.held_by(payer) > most
            && let Some((_, room)) = largest.pop()
        {
            let here = self.rooms.get_mut(&room);
            let Some(stream) = here.and_then(|here| here.stream.as_mut()) else {
                continue;
            };
            if stream.len() > 1 {
                stream.drop_oldest();
                largest.push((stream.bytes(), room.clone()));
                self.settle(&room);
            }
        }
    }

    /// Drops the oldest events until the rest fits into `limit` bytes.
    fn shed(&mut self, limit: usize) {
        while self.ledger.total() > limit {
            let Some((room, offset)) = self.stored.pop_front() else {
                return;
            };
            let here = self.rooms.get_mut(&room);
            if let Some(stream) = here.and_then(|here| here.stream.as_mut()) {
                stream.forget(offset);
            }
            self.settle(&room);
        }
        let streams = self.rooms.values().filter_map(|room| room.stream.as_ref());
        let live: usize = streams.map(MemoryStream::len).sum();
        if self.stored.len() > 2 * live + 1_024 {
            let rooms = &self.rooms;
            let keeps = |room: &MemoryRoom, offset| {
                let stream = room.stream.as_ref();
                stream.is_some_and(|stream| stream.keeps(offset))
            };
            self.stored
                .retain(|(room, offset)| rooms.get(room).is_some_and(|room| keeps(room, *offset)));
        }
    }

    /// Drops rooms that nobody uses and nobody can resume.
    fn sweep(&mut self, config: &BrokerConfig) {
        if self.swept.elapsed() < SWEEP_INTERVAL {
            return;
        }
        self.swept = Instant::now();
        for room in self.rooms.values_mut() {
            room.expire(&config.history);
        }
        let rooms: Vec<RoomId> = self.rooms.keys().cloned().collect();
        rooms.iter().for_each(|room| self.settle(room));
        self.rooms
            .retain(|_, room| !room.is_forgotten(&config.history));
    }
}

impl MemoryBroker {
    #[expect(clippy::unused_async, reason = "the Redis broker waits here")]
    pub(crate) async fn signal(
        &self,
        room: &RoomId,
        origin: &ConnectionId,
        frame: &Frame,
    ) -> Result<(), BrokerError> {
        let packet = Packet::Signal {
            origin: origin.clone(),
            frame: frame.clone(),
        };
        self.cluster
            .lock()
            .broadcast(room, &packet, frame.len(), &self.metrics);
        Ok(())
    }

    #[expect(clippy::unused_async, reason = "the Redis broker waits here")]
    pub(crate) async fn subscribe(&self, room: &RoomId) -> Result<(), BrokerError> {
        if self.cluster.lock().room(room).subscribe(self.node) {
            self.metrics.subscriptions.inc();
        }
        Ok(())
    }

    #[expect(clippy::unused_async, reason = "the Redis broker waits here")]
    pub(crate) async fn unsubscribe(&self, room: &RoomId) {
        if self.cluster.lock().room(room).unsubscribe(self.node) {
            self.metrics.subscriptions.dec();
        }
    }

    #[expect(clippy::unused_async, reason = "the Redis broker waits here")]
    pub(crate) async fn state(&self, room: &RoomId) -> Result<Option<StreamState>, BrokerError> {
        let state = self.cluster.lock();
        let Some(room) = state.rooms.get(room) else {
            return Ok(None);
        };
        let standing = |stream: &MemoryStream| StreamState {
            is_private: room.is_private,
            ..stream.state()
        };
        Ok(room.stream.as_ref().map(standing))
    }

    #[expect(clippy::unused_async, reason = "the Redis broker waits here")]
    pub(crate) async fn reconcile(
        &self,
        room: &RoomId,
        decision: &Reconciliation,
    ) -> Result<Option<Head>, BrokerError> {
        let mut state = self.cluster.lock();
        let here = state.room(room);
        let epoch = here.stream.as_ref().map(|stream| stream.head().epoch);
        if epoch != decision.found {
            return Ok(None);
        }
        here.touch();
        here.is_private |= decision.is_private;
        if let Outcome::Begin(begin) = &decision.outcome {
            match &mut here.stream {
                None => here.stream = Some(MemoryStream::begin(begin, now_ms())),
                Some(stream) => {
                    stream.begin_again(begin, now_ms());
                    let Head { epoch, offset } = stream.head();
                    state.settle(room);
                    let packet = Packet::Reset(Position { epoch, offset });
                    state.broadcast(room, &packet, 64, &self.metrics);
                }
            }
        }
        let stream = state.stream(room)?;
        Ok(Some(stream.head()))
    }

    #[expect(clippy::unused_async, reason = "the Redis broker waits here")]
    pub(crate) async fn peek(
        &self,
        room: &RoomId,
        span: Span,
        limit: usize,
    ) -> Result<Option<Page>, BrokerError> {
        let state = self.cluster.lock();
        let Some(room) = state.rooms.get(room) else {
            return Ok(None);
        };
        let read = |stream: &MemoryStream| Page {
            is_private: room.is_private,
            ..stream.read(span, limit)
        };
        Ok(room.stream.as_ref().map(read))
    }

    #[expect(clippy::unused_async, reason = "the Redis broker waits here")]
    pub(crate) async fn changes(
        &self,
        room: &RoomId,
        messages: &[RangeInclusive<u64>],
        above: u64,
        reactions: usize,
    ) -> Result<Vec<Envelope>, BrokerError> {
        let state = self.cluster.lock();
        let stream = state.rooms.get(room).and_then(|room| room.stream.as_ref());
        Ok(stream.map_or_else(Vec::new, |stream| {
            stream.changes(messages, above, reactions)
        }))
    }

    /// All rooms are in this process, so one call expires everything.
    #[expect(clippy::unused_async, reason = "the Redis broker waits here")]
    pub(crate) async fn expire(&self, room: &RoomId, cutoff: u64) -> Result<bool, BrokerError> {
        let mut state = self.cluster.lock();
        let here = state.rooms.get_mut(room);
        if let Some(stream) = here.and_then(|here| here.stream.as_mut()) {
            stream.expire(cutoff);
        }
        state.settle(room);
        Ok(false)
    }

    pub(crate) fn owned_rooms(&self) -> Vec<RoomId> {
        let is_owner = self.cluster.lock().nodes.keys().min() == Some(&self.node);
        if is_owner {
            self.rooms_with_streams()
        } else {
            Vec::new()
        }
    }

    /// Whether events are in the archive before they are acked.
    pub(crate) fn is_archived(&self) -> bool {
        self.cluster.0.journal.is_some()
    }

    #[expect(clippy::unused_async, reason = "the Redis broker waits here")]
    pub(crate) async fn register(
        &self,
        room: &RoomId,
        users: &[Attendance],
    ) -> Result<Presence, BrokerError> {
        let mut state = self.cluster.lock();
        if let Some(delta) = state.room(room).register(self.node, users) {
            state.note_attendance(&self.cluster.0.config, room, &delta);
            state.broadcast(room, &Packet::Presence(delta), 256, &self.metrics);
        }
        Ok(state.room(room).presence(0))
    }

    #[expect(clippy::unused_async, reason = "the Redis broker waits here")]
    pub(crate) async fn presence(
        &self,
        room: &RoomId,
        limit: usize,
    ) -> Result<Presence, BrokerError> {
        Ok(self
            .cluster
            .lock()
            .rooms
            .get(room)
            .map_or_else(Presence::default, |r| r.presence(limit)))
    }

    #[expect(clippy::unused_async, reason = "the Redis broker waits here")]
    pub(crate) async fn rooms(&self, limit: usize) -> Result<Vec<RoomSummary>, BrokerError> {
        let state = self.cluster.lock();
        let mut rooms: Vec<_> = state
            .rooms
            .iter()
            .filter(|(_, room)| !room.is_private)
            .filter_map(|(id, room)| room.changed().map(|at| (at, id)))
            .collect();
        rooms.sort_by_key(|(changed, _)| std::cmp::Reverse(*changed));
        let (direct, others): (Vec<_>, Vec<_>) = rooms
            .into_iter()
            .map(|(_, id)| id)
            .partition(|id| id.is_direct());
        let rooms = others.into_iter().take(limit);
        let rooms = rooms.chain(direct.into_iter().take(limit));
        Ok(rooms.map(|id| state.summary(id)).collect())
    }

    pub(crate) fn rooms_with_streams(&self) -> Vec<RoomId> {
        let state = self.cluster.lock();
        let rooms = state.rooms.iter().filter(|(_, room)| room.stream.is_some());
        let mut rooms: Vec<RoomId> = rooms.map(|(id, _)| id.clone()).collect();
        rooms.sort_unstable();
        rooms
    }

    #[expect(clippy::unused_async, reason = "the Redis broker waits here")]
    pub(crate) async fn summaries(
        &self,
        rooms: Vec<RoomId>,
    ) -> Result<Vec<RoomSummary>, BrokerError> {
        let state = self.cluster.lock();
        Ok(rooms.iter().map(|room| state.summary(room)).collect())
    }

    #[expect(clippy::unused_async, reason = "the Redis broker waits here")]
    pub(crate) async fn set_private(
        &self,
        room: &RoomId,
        is_private: Option<bool>,
    ) -> Result<(), BrokerError> {
        let mut state = self.cluster.lock();
        let here = state.room(room);
        here.is_private = is_private.unwrap_or(here.is_private);
        state.broadcast(room, &Packet::Access, 64, &self.metrics);
        for node in state.nodes.values() {
            node.control.change_access(room.clone());
        }
        Ok(())
    }

    /// One node of the process looks after all rooms.
    pub(crate) fn owns(&self, _room: &RoomId) -> bool {
        self.cluster.lock().nodes.keys().min() == Some(&self.node)
    }

    #[expect(clippy::unused_async, reason = "the Redis broker waits here")]
    pub(crate) async fn cluster_secret(&self) -> Result<[u8; 32], BrokerError> {
        Ok(self.cluster.0.secret)
    }

    /// It never changes.
    pub(crate) fn cluster_secrets(&self) -> watch::Receiver<Arc<[[u8; 32]]>> {
        watch::channel([self.cluster.0.secret].into()).1
    }

    pub(crate) fn metrics(&self) -> &BrokerMetrics {
        &self.metrics
    }

    /// Removes the node's subscriptions and users, as the expired lease of a dead node would.
    #[expect(clippy::unused_async, reason = "the Redis broker waits here")]
    pub(crate) async fn close(&self) {
        let mut state = self.cluster.lock();
        state.nodes.remove(&self.node);
        let rooms: Vec<RoomId> = state.rooms.keys().cloned().collect();
        for id in rooms {
            let room = state.room(&id);
            room.unsubscribe(self.node);
            if let Some(delta) = room.exit_all(self.node) {
                state.note_attendance(&self.cluster.0.config, &id, &delta);
                state.broadcast(&id, &Packet::Presence(delta), 256, &self.metrics);
            }
        }
    }
}
