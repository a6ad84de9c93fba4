//! The connections of two nodes to one broker, and short functions to use them.

use std::time::{Duration, Instant};

use bytesize::ByteSize;
use hubbub_broker::{
    Attendance, Broker, BrokerConfig, BrokerError, Control, Declaration, Delivery, Head,
    HistorySection, Inbox, MemoryCluster, NewEpoch, News, Outcome, Page, Presence, Published,
    Reconciliation, RedisSection, Span,
};
use hubbub_protocol::command::Body;
use hubbub_protocol::{Draft, Epoch, NodeId, Nonce, Packet, Position, RoomId, User, UserId};
use hubbub_supervisor::Supervisor;
use hubbub_tests::deadline::{eventually, within};
use hubbub_tests::redis::{Fsync, Redis};

/// The number of events in a stream of these tests (Redis rounds up to whole nodes of 100).
pub(crate) const STREAM_LEN: usize = 200;
/// They keep so many bytes, and all together.
pub(crate) const STREAM_BYTES: ByteSize = ByteSize::mib(1);
pub(crate) const ALL_BYTES: ByteSize = ByteSize::mib(16);
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Two nodes with one broker.
pub(crate) struct Pair {
    pub a: Line,
    pub b: Line,
    pub(crate) redis: Option<Redis>,
    cluster: Option<MemoryCluster>,
}

/// One node's connection to the broker, and its inbox.
pub(crate) struct Line {
    pub(crate) broker: Broker,
    inbox: Inbox,
}

fn config(url: String) -> BrokerConfig {
    BrokerConfig {
        redis: RedisSection {
            url,
            prefix: "contract".to_owned(),
            ..RedisSection::default()
        },
        history: HistorySection {
            stream_len: STREAM_LEN,
            stream_bytes: STREAM_BYTES,
            cluster_bytes: ALL_BYTES,
            ..HistorySection::default()
        },
        send_timeout: PATIENCE,
        embedded_bytes: ALL_BYTES,
        has_archive: false,
        webhooks: crate::webhooks::queues(),
    }
}

impl Pair {
    pub(crate) fn memory() -> Self {
        let cluster = MemoryCluster::new(config(String::new()), None);
        let line = || {
            let (broker, inbox) = Broker::memory(&cluster);
            Line { broker, inbox }
        };
        Self {
            a: line(),
            b: line(),
            redis: None,
            cluster: Some(cluster.clone()),
        }
    }

    pub(crate) async fn redis() -> Self {
        Self::over_redis(false).await
    }

    /// The same, where an archive has to get every event; there is none here.
    pub(crate) async fn redis_behind_archive() -> Self {
        Self::over_redis(true).await
    }

    async fn over_redis(has_archive: bool) -> Self {
        let redis = Redis::start(Fsync::EverySecond).await;
        let config = BrokerConfig {
            has_archive,
            ..config(redis.url())
        };
        Self {
            a: Line::redis(&config, "a").await,
            b: Line::redis(&config, "b").await,
            redis: Some(redis),
            cluster: None,
        }
    }

    /// A third node.
    pub(crate) async fn late(&self) -> Line {
        match (&self.cluster, &self.redis) {
            (Some(cluster), _) => {
                let (broker, inbox) = Broker::memory(cluster);
                Line { broker, inbox }
            }
            (None, Some(redis)) => Line::redis(&config(redis.url()), "late").await,
            (None, None) => panic!("neither broker"),
        }
    }
}

impl Line {
    async fn redis(config: &BrokerConfig, name: &str) -> Self {
        let node = NodeId::new(name).unwrap();
        let (broker, inbox) = Broker::redis(config, &node, &Supervisor::default()).unwrap();
        broker.declare(Declaration::default());
        assert!(broker.joined(PATIENCE).await, "the node joins");
        eventually("the broker is ready", PATIENCE, || {
            let health = broker.health();
            async move { health.problem.is_none().then_some(()) }
        })
        .await;
        Self { broker, inbox }
    }

    /// Returns the next control message.
    pub(crate) async fn hear_control(&mut self) -> Control {
        let control = within("an order", PATIENCE, self.inbox.control.next()).await;
        control.unwrap()
    }

    /// Publishes drafts in one call. The room is reconciled first if necessary.
    pub(crate) async fn publish(&self, room: &RoomId, drafts: &[Draft]) -> Vec<Published> {
        loop {
            match self.try_publish(room, drafts, None).await {
                Err(BrokerError::Unreconciled) => self.accept(room).await,
                published => return published.unwrap(),
            }
        }
    }

    /// Publishes once, with a position that was seen.
    pub(crate) async fn try_publish(
        &self,
        room: &RoomId,
        drafts: &[Draft],
        seen: Option<Position>,
    ) -> Result<Vec<Published>, BrokerError> {
        let deadline = Instant::now() + PATIENCE;
        let seen = || seen.clone();
        self.broker.publish(room, drafts, &seen, deadline).await
    }

    /// Accepts the room's stream as it is, or begins one if there is none.
    pub(crate) async fn keep(&self, room: &RoomId) -> Head {
        self.accept(room).await;
        let state = self.broker.state(room).await.unwrap();
        state.expect("the room has a stream").head
    }

    /// The same, but another node may be faster.
    async fn accept(&self, room: &RoomId) {
        let state = self.broker.state(room).await.unwrap();
        let outcome = match &state {
            None => Outcome::Begin(NewEpoch::first()),
            Some(_) => Outcome::Keep { mend_top: true },
        };
        let found = state.map(|state| state.head.epoch);
        self.decide(room, found, outcome).await;
    }

    /// Begins a new epoch in place of the present one.
    pub(crate) async fn begin(&self, room: &RoomId, begin: NewEpoch) -> Head {
        let state = self.broker.state(room).await.unwrap();
        let found = state.map(|state| state.head.epoch);
        let head = self.decide(room, found, Outcome::Begin(begin)).await;
        head.expect("nobody else decides")
    }

    /// Decides about a stream that was found in this epoch.
    pub(crate) async fn decide(
        &self,
        room: &RoomId,
        found: Option<Epoch>,
        outcome: Outcome,
    ) -> Option<Head> {
        let decision = Reconciliation {
            run: self.broker.run(room),
            found,
            is_final: true,
            is_private: false,
            outcome,
        };
        self.broker.reconcile(room, &decision).await.unwrap()
    }

    /// Reads from a room. A stream begins if there is none.
    pub(crate) async fn read(&self, room: &RoomId, span: Span, limit: usize) -> Page {
        if self.broker.state(room).await.unwrap().is_none() {
            self.keep(room).await;
        }
        let page = self.broker.peek(room, span, limit).await;
        page.unwrap().expect("the room has a stream")
    }

    /// Registers the user's first connection to the room on this node.
    pub(crate) async fn enter(&self, room: &RoomId, user: &User) -> Presence {
        let users = [Attendance::Enter(user.clone())];
        self.broker.register(room, &users).await.unwrap()
    }

    /// Removes the user's last connection to the room on this node.
    pub(crate) async fn exit(&self, room: &RoomId, user: &User) -> Presence {
        let users = [Attendance::Exit(user.id.clone())];
        self.broker.register(room, &users).await.unwrap()
    }

    /// Returns the next delivery for any room.
    pub(crate) async fn hear(&mut self) -> Delivery {
        within("a packet", PATIENCE, async {
            let mut queues: Vec<_> = self
                .inbox
                .workers
                .iter_mut()
                .map(|queue| Box::pin(queue.next()))
                .collect();
            std::future::poll_fn(|context| {
                for queue in &mut queues {
                    if let std::task::Poll::Ready(delivery) = queue.as_mut().poll(context) {
                        return std::task::Poll::Ready(delivery.unwrap());
                    }
                }
                std::task::Poll::Pending
            })
            .await
        })
        .await
    }

    /// Returns the next packet and skips reports of a room's head.
    pub(crate) async fn hear_packet(&mut self) -> Packet {
        loop {
            if let News::Packet(packet) = self.hear().await.news {
                return packet;
            }
        }
    }

    /// The frames of the next `count` events.
    pub(crate) async fn hear_events(&mut self, count: usize) -> Vec<String> {
        let mut heard = Vec::new();
        while heard.len() < count {
            if let Packet::Events { events, .. } = self.hear_packet().await {
                heard.extend(
                    events
                        .into_iter()
                        .map(|event| event.frame.as_str().to_owned()),
                );
            }
        }
        heard
    }
}

pub(crate) fn room(name: &str) -> RoomId {
    RoomId::new(name).unwrap()
}

pub(crate) fn user(name: &str) -> User {
    User {
        id: UserId::new(name).unwrap(),
        name: name.to_uppercase().into(),
    }
}

pub(crate) fn draft(room: &RoomId, from: &str, nonce: &str, text: &str) -> Draft {
    let body = Body::from(&serde_json::json!({ "text": text }));
    Draft::message(room, &user(from), Some(Nonce::new(nonce).unwrap()), &body)
}

/// The offset of a stored event. Panics for any other outcome.
pub(crate) fn stored(outcome: &Published) -> u64 {
    match outcome {
        Published::Stored { position, .. } => position.offset,
        Published::Duplicate { .. } | Published::Gone | Published::Crowded => {
            panic!("not stored: {outcome:?}")
        }
    }
}
