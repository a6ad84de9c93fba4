//! The Redis broker: one connection for commands, one for the subscription, and the scripts that
//! keep what all nodes share consistent.

mod keys;
mod lease;
mod link;
mod presence;
mod publish;
mod scripts;
mod stream;
mod subscriber;
mod watch;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use hubbub_protocol::{ConnectionId, Frame, NodeId, Packet, RoomId};
use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::keys::Keys;
use self::lease::{Lease, LeaseKeeper};
use self::link::Link;
pub(crate) use self::link::parse_url;
use self::scripts::Scripts;
use self::subscriber::Subscriber;
use self::watch::Watch;
use crate::inbox::inbox;
use crate::{BrokerConfig, BrokerError, BrokerHealth, BrokerMetrics, Inbox};

/// What is for the moment only is not worth a longer wait.
const SIGNAL_TIMEOUT: Duration = Duration::from_millis(250);

/// One node's line to all others over Redis; clones share it.
#[derive(Debug, Clone)]
pub struct RedisBroker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: BrokerConfig,
    lease: Lease,
    keys: Keys,
    scripts: Arc<Scripts>,
    link: Link,
    subscriber: Subscriber,
    secret: Arc<OnceLock<[u8; 32]>>,
    metrics: BrokerMetrics,
    tasks: TaskTracker,
    closed: CancellationToken,
}

impl RedisBroker {
    pub(crate) fn open(config: &BrokerConfig, node: &NodeId) -> Result<(Self, Inbox), BrokerError> {
        let client = parse_url(&config.redis.url)?;
        let keys = Keys::new(&config.redis.prefix);
        let metrics = BrokerMetrics::default();
        let secret = Arc::new(OnceLock::new());
        let (lease, scripts) = (Lease::new(node), Arc::new(Scripts::new()));
        let (sender, inbox) = inbox();

        let (greet_key, greet_secret) = (keys.secret(), Arc::clone(&secret));
        let (link, keep_link) = Link::new(client.clone(), metrics.clone(), move |connection| {
            agree_on_secret(connection, greet_key.clone(), Arc::clone(&greet_secret))
        });
        let (subscriber, keep_subscriber) = Subscriber::new(
            client,
            link.clone(),
            keys.probe(&lease.name()),
            sender.clone(),
            metrics.clone(),
        );
        let lease_keeper = LeaseKeeper {
            lease: lease.clone(),
            link: link.clone(),
            keys: keys.clone(),
            scripts: Arc::clone(&scripts),
            inbox: sender.clone(),
        };
        let watch = Watch {
            link: link.clone(),
            keys: keys.clone(),
            subscriber: subscriber.clone(),
            inbox: sender,
        };

        let (tasks, closed) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(closed.clone().run_until_cancelled_owned(keep_link));
        tasks.spawn(closed.clone().run_until_cancelled_owned(keep_subscriber));
        tasks.spawn(closed.clone().run_until_cancelled_owned(lease_keeper.run()));
        tasks.spawn(closed.clone().run_until_cancelled_owned(watch.run()));
        tasks.close();
        let shared = Shared {
            config: config.clone(),
            lease,
            keys,
            scripts,
            link,
            subscriber,
            secret,
            metrics,
            tasks,
            closed,
        };
        Ok((Self(Arc::new(shared)), inbox))
    }

    pub(crate) async fn subscribe(&self, room: &RoomId) -> Result<(), BrokerError> {
        let channel = self.0.keys.channel(room);
        self.0
            .subscriber
            .subscribe(channel, room, self.deadline())
            .await
    }

    pub(crate) async fn unsubscribe(&self, room: &RoomId) {
        self.0
            .subscriber
            .unsubscribe(self.0.keys.channel(room))
            .await;
    }

    /// A plain PUBLISH: allowed for what has no offset only, because Redis takes it even where it
    /// refuses to store.
    pub(crate) async fn signal(
        &self,
        room: &RoomId,
        origin: &ConnectionId,
        frame: &Frame,
    ) -> Result<(), BrokerError> {
        let channel = self.0.keys.channel(room);
        let packet = Packet::encode_signal(origin, frame);
        let publish = async |mut connection: MultiplexedConnection| {
            redis::cmd("PUBLISH")
                .arg(&channel)
                .arg(&packet)
                .exec_async(&mut connection)
                .await
        };
        self.0
            .link
            .call(Instant::now() + SIGNAL_TIMEOUT, publish)
            .await
    }

    pub(crate) async fn cluster_secret(&self) -> Result<[u8; 32], BrokerError> {
        self.0.link.call(self.deadline(), async |_| Ok(())).await?;
        Ok(self.secret())
    }

    /// Known as soon as there has been a connection.
    fn secret(&self) -> [u8; 32] {
        *self
            .0
            .secret
            .get()
            .expect("every connection agrees on the secret before it is used")
    }

    pub(crate) fn health(&self) -> BrokerHealth {
        let problem = if !self.0.link.is_up() {
            Some("redis does not answer commands")
        } else if !self.0.subscriber.is_alive() {
            Some("the subscription to redis is silent")
        } else if !self.0.lease.is_fresh() {
            Some("redis takes no writes")
        } else {
            None
        };
        BrokerHealth {
            problem: problem.map(str::to_owned),
        }
    }

    pub(crate) fn metrics(&self) -> &BrokerMetrics {
        &self.0.metrics
    }

    pub(crate) async fn close(&self) {
        self.0.closed.cancel();
        self.0.tasks.wait().await;
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.0.config.send_timeout
    }

    fn seconds(life: Duration) -> u64 {
        life.as_secs().max(1)
    }
}

/// Puts this node's secret into Redis if there is none, and takes what is there then. A Redis
/// that was emptied gets the old secret back from the first node that returns.
async fn agree_on_secret(
    mut connection: MultiplexedConnection,
    key: String,
    secret: Arc<OnceLock<[u8; 32]>>,
) -> RedisResult<()> {
    let mut mine = [0; 32];
    match secret.get() {
        Some(known) => mine = *known,
        None => getrandom::fill(&mut mine).expect("the operating system gives random bytes"),
    }
    let (stored,): (Vec<u8>,) = redis::pipe()
        .cmd("SET")
        .arg(&key)
        .arg(&mine[..])
        .arg("NX")
        .ignore()
        .cmd("GET")
        .arg(&key)
        .query_async(&mut connection)
        .await?;
    let agreed: [u8; 32] = stored.try_into().map_err(|_| {
        redis::RedisError::from((
            redis::ErrorKind::UnexpectedReturnType,
            "the cluster's secret in redis is not 32 bytes",
        ))
    })?;
    if secret.get_or_init(|| agreed) != &agreed {
        tracing::error!("redis holds another secret than this node began with, restart the node");
    }
    Ok(())
}
