//! Two nodes' lines to one broker, and short ways to use them.

use std::time::{Duration, Instant};

use bytesize::ByteSize;
use hubbub_broker::{
    Attendance, Begin, Broker, BrokerConfig, Control, Delivery, HistorySection, Inbox,
    MemoryCluster, News, Presence, Published, RedisSection,
};
use hubbub_protocol::command::Body;
use hubbub_protocol::{Draft, NodeId, Nonce, Packet, RoomId, User, UserId};
use hubbub_tests::deadline::{eventually, within};
use hubbub_tests::redis::{Fsync, Redis};

/// The streams of these tests keep so many events (Redis rounds up to whole nodes of 100).
pub(crate) const STREAM_LEN: usize = 200;
const PATIENCE: Duration = Duration::from_secs(10);

/// Two nodes over one broker.
pub(crate) struct Pair {
    pub a: Line,
    pub b: Line,
    pub(crate) redis: Option<Redis>,
    cluster: Option<MemoryCluster>,
}

/// One node's line and what came in.
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
            ..HistorySection::default()
        },
        send_timeout: PATIENCE,
        embedded_bytes: ByteSize::mib(16),
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
        let redis = Redis::start(Fsync::EverySecond).await;
        let config = config(redis.url());
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
        let (broker, inbox) = Broker::redis(config, &node).unwrap();
        eventually("the broker is ready", PATIENCE, || {
            let health = broker.health();
            async move { health.problem.is_none().then_some(()) }
        })
        .await;
        Self { broker, inbox }
    }

    /// What operators say next.
    pub(crate) async fn hear_control(&mut self) -> Control {
        let control = within("an order", PATIENCE, self.inbox.control.next()).await;
        control.unwrap()
    }

    /// Publishes one draft after the other, in one call.
    pub(crate) async fn publish(&self, room: &RoomId, drafts: &[Draft]) -> Vec<Published> {
        let deadline = Instant::now() + PATIENCE;
        self.broker
            .publish(room, drafts, &|| None, &Begin::above(0), deadline)
            .await
            .unwrap()
    }

    /// This node has its first connection of the user in the room.
    pub(crate) async fn enter(&self, room: &RoomId, user: &User) -> Presence {
        let users = [Attendance::Enter(user.clone())];
        self.broker.register(room, &users).await.unwrap()
    }

    /// This node has none of the user in the room any more.
    pub(crate) async fn exit(&self, room: &RoomId, user: &User) -> Presence {
        let users = [Attendance::Exit(user.id.clone())];
        self.broker.register(room, &users).await.unwrap()
    }

    /// What comes next for any room.
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

    /// The next packet; looks at where rooms stand are passed over.
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

/// The offset of a stored event; panics on a duplicate.
pub(crate) fn stored(outcome: &Published) -> u64 {
    match outcome {
        Published::Stored { position, .. } => position.offset,
        Published::Duplicate { .. } | Published::Gone => panic!("not stored: {outcome:?}"),
    }
}
