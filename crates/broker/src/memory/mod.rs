//! The embedded broker: the nodes of one process share it, and no other service is needed.
//!
//! One lock guards all rooms: numbering, storing and handing to the nodes' queues happen under
//! it, so all nodes get a room's packets in one order. Nothing is awaited while it is held.

mod room;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use hubbub_protocol::frame::RoomSummary;
use hubbub_protocol::{ConnectionId, Draft, Envelope, Frame, Packet, Position, RoomId};

use self::room::MemoryRoom;
use crate::digest::DigestKey;
use crate::inbox::{InboxSender, inbox};
use crate::{
    Attendance, BrokerConfig, BrokerError, BrokerMetrics, Fork, Head, Inbox, Page, Presence,
    Published, Span,
};

/// How often idle rooms are looked for, at most.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// The broker that several nodes of one process share; clones are the same one.
#[derive(Debug, Clone)]
pub struct MemoryCluster(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: BrokerConfig,
    secret: [u8; 32],
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rooms: HashMap<RoomId, MemoryRoom>,
    nodes: HashMap<u64, InboxSender>,
    next_node: u64,
    /// Every stored event, oldest first, so that the oldest can leave when bytes run out. An
    /// event may have left its room already.
    stored: VecDeque<(RoomId, u64)>,
    bytes: usize,
    swept: Instant,
}

/// One node's line to a [`MemoryCluster`]; clones share it.
#[derive(Debug, Clone)]
pub struct MemoryBroker {
    cluster: MemoryCluster,
    node: u64,
    metrics: BrokerMetrics,
}

impl MemoryCluster {
    /// A new, empty cluster.
    #[must_use]
    pub fn new(config: BrokerConfig) -> Self {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).expect("the operating system gives random bytes");
        let state = State {
            rooms: HashMap::new(),
            nodes: HashMap::new(),
            next_node: 0,
            stored: VecDeque::new(),
            bytes: 0,
            swept: Instant::now(),
        };
        Self(Arc::new(Shared {
            config,
            secret,
            state: Mutex::new(state),
        }))
    }

    pub(crate) fn join(&self) -> (MemoryBroker, Inbox) {
        let (sender, inbox) = inbox();
        let mut state = self.lock();
        let node = state.next_node;
        state.next_node += 1;
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
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).expect("milliseconds since 1970 fit for ages")
}

impl State {
    fn room(&mut self, room: &RoomId, seen: u64) -> &mut MemoryRoom {
        self.rooms
            .entry(room.clone())
            .or_insert_with(|| MemoryRoom::begin(seen))
    }

    /// Hands a packet to every node that is subscribed.
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

    /// Lets the oldest events leave until the rest fits.
    fn shed(&mut self, limit: usize) {
        while self.bytes > limit {
            let Some((room, offset)) = self.stored.pop_front() else {
                return;
            };
            if let Some(room) = self.rooms.get_mut(&room) {
                self.bytes -= room.forget(offset);
            }
        }
        let live: usize = self.rooms.values().map(MemoryRoom::len).sum();
        if self.stored.len() > 2 * live + 1_024 {
            let rooms = &self.rooms;
            self.stored
                .retain(|(room, offset)| rooms.get(room).is_some_and(|room| room.keeps(*offset)));
        }
    }

    /// Drops what nobody uses and nobody can resume.
    fn sweep(&mut self, config: &BrokerConfig) {
        if self.swept.elapsed() < SWEEP_INTERVAL {
            return;
        }
        self.swept = Instant::now();
        let mut freed = 0;
        self.rooms.retain(|_, room| {
            freed += room.expire(&config.history);
            !room.is_forgotten(&config.history)
        });
        self.bytes -= freed;
    }
}

impl MemoryBroker {
    #[expect(clippy::unused_async, reason = "the Redis broker waits here")]
    pub(crate) async fn publish(
        &self,
        room: &RoomId,
        drafts: &[Draft],
        seen: Option<&Position>,
        _deadline: Instant,
    ) -> Result<Vec<Published>, BrokerError> {
        let began = Instant::now();
        let key = DigestKey::derive(&self.cluster.0.secret);
        let config = &self.cluster.0.config;
        let ts = now_ms();
        let seen_offset = seen.map_or(0, |seen| seen.offset);
        let mut state = self.cluster.lock();
        let head = state.room(room, seen_offset).head();
        if seen.is_some_and(|seen| seen.epoch == head.epoch && seen.offset > head.offset) {
            let freed = state.room(room, seen_offset).begin_again(seen_offset);
            state.bytes -= freed;
        }
        let appended = state
            .room(room, seen_offset)
            .append(drafts, &key, ts, &config.history);
        state.bytes = (state.bytes + appended.added_bytes) - appended.removed_bytes;
        for event in &appended.events {
            state
                .stored
                .push_back((room.clone(), event.position.offset));
        }
        if !appended.events.is_empty() {
            let packet = Packet::Events {
                ts,
                events: appended.events,
            };
            state.broadcast(room, &packet, appended.added_bytes, &self.metrics);
        }
        state.shed(usize::try_from(config.embedded_bytes.as_u64()).unwrap_or(usize::MAX));
        state.sweep(config);
        drop(state);
        self.metrics.observe_publish(began.elapsed());
        Ok(appended.outcomes)
    }

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
        if self.cluster.lock().room(room, 0).subscribe(self.node) {
            self.metrics.subscriptions.inc();
        }
        Ok(())
    }

    #[expect(clippy::unused_async, reason = "the Redis broker waits here")]
    pub(crate) async fn unsubscribe(&self, room: &RoomId) {
        if self.cluster.lock().room(room, 0).unsubscribe(self.node) {
            self.metrics.subscriptions.dec();
        }
    }

    #[expect(clippy::unused_async, reason = "the Redis broker waits here")]
    pub(crate) async fn read(
        &self,
        room: &RoomId,
        span: Span,
        limit: usize,
        seen: u64,
    ) -> Result<Page, BrokerError> {
        Ok(self.cluster.lock().room(room, seen).read(span, limit))
    }

    /// Never needed here, since nothing but this memory can hold the room's stream; it does what
    /// the contract says all the same.
    #[expect(clippy::unused_async, reason = "the Redis broker waits here")]
    pub(crate) async fn fork(&self, room: &RoomId, fork: &Fork) -> Result<(), BrokerError> {
        let mut state = self.cluster.lock();
        if state.room(room, fork.seen).is_forked(fork) {
            let freed = state.room(room, fork.seen).begin_again(fork.seen);
            state.bytes -= freed;
            let Head { epoch, offset } = state.room(room, fork.seen).head();
            let packet = Packet::Reset(Position { epoch, offset });
            state.broadcast(room, &packet, 64, &self.metrics);
        }
        Ok(())
    }

    #[expect(clippy::unused_async, reason = "the Redis broker waits here")]
    pub(crate) async fn history(
        &self,
        room: &RoomId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Envelope>, BrokerError> {
        let span = before.map_or(Span::Newest, Span::Before);
        let mut state = self.cluster.lock();
        Ok(state
            .rooms
            .get_mut(room)
            .map_or_else(Vec::new, |room| room.read(span, limit).events))
    }

    #[expect(clippy::unused_async, reason = "the Redis broker waits here")]
    pub(crate) async fn register(
        &self,
        room: &RoomId,
        users: &[Attendance],
    ) -> Result<Presence, BrokerError> {
        let mut state = self.cluster.lock();
        if let Some(delta) = state.room(room, 0).register(self.node, users) {
            state.broadcast(room, &Packet::Presence(delta), 256, &self.metrics);
        }
        Ok(state.room(room, 0).presence(0))
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
            .filter_map(|(id, r)| r.changed().map(|at| (at, id)))
            .collect();
        rooms.sort_by_key(|(changed, _)| std::cmp::Reverse(*changed));
        let summary = |(_, id): (Instant, &RoomId)| {
            let room = &state.rooms[id];
            let Head { offset, .. } = room.head();
            RoomSummary {
                room: id.clone(),
                members: room.presence(0).count,
                offset,
            }
        };
        Ok(rooms.into_iter().take(limit).map(summary).collect())
    }

    #[expect(clippy::unused_async, reason = "the Redis broker waits here")]
    pub(crate) async fn cluster_secret(&self) -> Result<[u8; 32], BrokerError> {
        Ok(self.cluster.0.secret)
    }

    pub(crate) fn metrics(&self) -> &BrokerMetrics {
        &self.metrics
    }

    /// Takes the node's subscriptions and users back, as the lease would after its death.
    #[expect(clippy::unused_async, reason = "the Redis broker waits here")]
    pub(crate) async fn close(&self) {
        let mut state = self.cluster.lock();
        state.nodes.remove(&self.node);
        let rooms: Vec<RoomId> = state.rooms.keys().cloned().collect();
        for id in rooms {
            let room = state.room(&id, 0);
            room.unsubscribe(self.node);
            if let Some(delta) = room.exit_all(self.node) {
                state.broadcast(&id, &Packet::Presence(delta), 256, &self.metrics);
            }
        }
    }
}
