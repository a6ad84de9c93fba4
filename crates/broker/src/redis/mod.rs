//! The Redis broker: one connection for commands, one for the subscription, and the scripts that
//! keep the nodes' shared state consistent.

mod address;
mod archive;
mod budgets;
mod changes;
mod eviction;
mod excerpt;
mod greeting;
mod keys;
mod lease;
mod link;
mod members;
mod neighbours;
mod orders;
mod pace;
mod policy;
mod presence;
mod publish;
mod reconcile;
mod replicated;
mod runs;
mod scripts;
mod secrets;
mod space;
mod standing;
mod stream;
mod subscriber;
mod sweep;
mod tickets;
mod values;
mod watch;
mod webhooks;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use hubbub_protocol::{ConnectionId, Frame, NodeId, Packet, RoomId};
use hubbub_supervisor::Supervisor;
use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use tokio::sync::mpsc;
use tokio::sync::watch::Receiver;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

pub(crate) use self::address::client;
use self::address::warn_of_the_way;
use self::budgets::BudgetKeeper;
use self::eviction::Eviction;
use self::greeting::{Contact, Greeting};
use self::keys::Keys;
pub(crate) use self::keys::PARTITIONS;
use self::lease::{Lease, LeaseKeeper};
use self::link::Link;
use self::orders::OrderWatch;
use self::policy::Policy;
use self::replicated::Replication;
use self::runs::Runs;
use self::scripts::Scripts;
use self::secrets::Secrets;
use self::space::{Space, SpaceWatch};
use self::standing::Standing;
use self::subscriber::{Channels, Subscriber};
use self::sweep::Sweep;
use self::watch::Watch;
use self::webhooks::Webhooks;
use crate::inbox::{InboxSender, inbox};
use crate::{BrokerConfig, BrokerError, BrokerHealth, BrokerMetrics, Inbox};

/// The time limit for signals. A signal matters only at the moment, so a longer wait is of no use.
const SIGNAL_TIMEOUT: Duration = Duration::from_millis(250);

/// One node's handle on the Redis broker; clones share it.
#[derive(Debug, Clone)]
pub struct RedisBroker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: BrokerConfig,
    lives: Lives,
    lease: Lease,
    standing: Standing,
    keys: Keys,
    scripts: Arc<Scripts>,
    link: Link,
    runs: Runs,
    inbox: InboxSender,
    replication: Replication,
    subscriber: Subscriber,
    greeting: Greeting,
    secrets: Secrets,
    policy: Policy,
    space: Space,
    metrics: BrokerMetrics,
    webhooks: Webhooks,
    tasks: TaskTracker,
    closed: CancellationToken,
}

/// The role of this process at Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A node of the cluster.
    Node,
    /// A reader that leaves no trace.
    Onlooker,
}

/// How long a room's keys are kept while nothing happens in it, in seconds.
#[derive(Debug, Clone, Copy)]
struct Lives {
    /// Life of a room that never had an event.
    unused: u64,
    meta: u64,
}

/// Receives each new connection before anyone may use it.
#[derive(Debug, Clone)]
struct Host {
    greeting: Greeting,
    runs: Runs,
    inbox: InboxSender,
}

impl Host {
    async fn receive(&self, mut connection: MultiplexedConnection) -> RedisResult<()> {
        self.greeting.greet(connection.clone()).await?;
        if self.runs.see_server(&self.greeting.run_id()) {
            self.inbox.resync_run();
        }
        match self.runs.check(&mut connection).await {
            Ok(false) => Ok(()),
            Ok(true) => {
                self.inbox.resync_run();
                Ok(())
            }
            Err(error) if error.is_io_error() => Err(error),
            // Redis can still be read. A send reads the runs again before it is refused.
            Err(error) => {
                warn!(%error, "redis takes no writes, sends will be refused");
                Ok(())
            }
        }
    }
}

impl RedisBroker {
    /// Opens the cluster's data in Redis for reading, without being a node: it writes nothing,
    /// takes no lease and subscribes to nothing.
    pub(crate) fn look_on(config: &BrokerConfig) -> Result<Self, BrokerError> {
        let nobody = NodeId::new("onlooker").expect("letters are a valid node ID");
        let supervisor = Supervisor::default();
        let (broker, _inbox) = Self::assemble(config, &nobody, Role::Onlooker, &supervisor)?;
        Ok(broker)
    }

    pub(crate) fn open(
        config: &BrokerConfig,
        node: &NodeId,
        supervisor: &Supervisor,
    ) -> Result<(Self, Inbox), BrokerError> {
        Self::assemble(config, node, Role::Node, supervisor)
    }

    fn assemble(
        config: &BrokerConfig,
        node: &NodeId,
        role: Role,
        supervisor: &Supervisor,
    ) -> Result<(Self, Inbox), BrokerError> {
        let client = client(&config.redis)?;
        let keys = Keys::new(&config.redis.prefix);
        let metrics = BrokerMetrics::default();
        let lives = Lives {
            unused: Self::seconds(config.history.stream_ttl),
            meta: Self::seconds(config.history.meta_ttl),
        };
        let (lease, scripts) = (Lease::new(node), Arc::new(Scripts::new(config)));
        let secrets = Secrets::new(&keys, &scripts);
        let greeting = Greeting::new(config.redis.allow_eviction, secrets.clone());
        let standing = Standing::new();
        let (sender, inbox) = inbox();

        let runs = Runs::new(&keys, &scripts);
        let host = Host {
            greeting: greeting.clone(),
            runs: runs.clone(),
            inbox: sender.clone(),
        };
        let (link, keep_link) = Link::new(client.clone(), metrics.clone(), move |connection| {
            let host = host.clone();
            async move {
                match role {
                    Role::Node => host.receive(connection).await,
                    Role::Onlooker => Ok(()),
                }
            }
        });
        if role == Role::Node {
            warn_of_the_way(&client);
        }
        let replication = Replication::new(client.clone());
        let (subscriber, keep_subscriber) = Subscriber::new(
            client,
            link.clone(),
            Channels {
                probe: keys.probe(&lease.name()),
                control: keys.control(),
            },
            sender.clone(),
            metrics.clone(),
        );
        let orders = OrderWatch {
            link: link.clone(),
            keys: keys.clone(),
            control: sender.control.clone(),
        };
        let (expired, to_evict) = mpsc::channel(1);
        let webhooks = Webhooks::new(&config.webhooks, config.history.stream_len);
        let eviction = Eviction {
            link: link.clone(),
            keys: keys.clone(),
            scripts: Arc::clone(&scripts),
            lives,
            webhooks: webhooks.clone(),
            expired: to_evict,
        };
        let lease_keeper = LeaseKeeper {
            lease: lease.clone(),
            link: link.clone(),
            keys: keys.clone(),
            scripts: Arc::clone(&scripts),
            inbox: sender.clone(),
            greeting: greeting.clone(),
            standing: standing.clone(),
            expired,
            runs: runs.clone(),
        };
        let sweep = Sweep {
            link: link.clone(),
            keys: keys.clone(),
            scripts: Arc::clone(&scripts),
            lease: lease.clone(),
            subscriber: subscriber.clone(),
            inbox: sender.clone(),
        };
        let watch = Watch {
            link: link.clone(),
            keys: keys.clone(),
            subscriber: subscriber.clone(),
            runs: runs.clone(),
            secrets: secrets.clone(),
            inbox: sender.clone(),
        };

        let (policy, space) = (Policy::default(), Space::default());
        let space_watch = SpaceWatch {
            link: link.clone(),
            space: space.clone(),
            policy: (!config.redis.allow_eviction).then(|| policy.clone()),
            metrics: metrics.clone(),
        };
        let budgets = BudgetKeeper {
            link: link.clone(),
            keys: keys.clone(),
            scripts: Arc::clone(&scripts),
            lease: lease.clone(),
            space: space.clone(),
            metrics: metrics.clone(),
            cluster_bytes: config.history.cluster_bytes.as_u64(),
            has_archive: config.has_archive,
        };

        let (tasks, closed) = (TaskTracker::new(), CancellationToken::new());
        let run = |name, work| {
            let work = supervisor.require(name, work);
            tasks.spawn(closed.clone().run_until_cancelled_owned(work));
        };
        run("redis_connection", keep_link.boxed());
        if role == Role::Node {
            run("redis_subscription", keep_subscriber.boxed());
            run("lease", lease_keeper.run().boxed());
            run("eviction", eviction.run().boxed());
            run("room_watch", watch.run().boxed());
            run("room_sweep", sweep.run().boxed());
            run("order_watch", orders.run().boxed());
            run("redis_memory", space_watch.run().boxed());
            run("stream_budgets", budgets.run().boxed());
        }
        tasks.close();
        let shared = Shared {
            config: config.clone(),
            lives,
            lease,
            standing,
            keys,
            scripts,
            link,
            runs,
            inbox: sender,
            replication,
            subscriber,
            greeting,
            secrets,
            policy,
            space,
            metrics,
            webhooks,
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

    /// A plain PUBLISH. It is allowed only for packets without an offset, because Redis accepts it
    /// even while it refuses to store.
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

    pub(crate) fn cluster_secrets(&self) -> Receiver<Arc<[[u8; 32]]>> {
        self.0.secrets.subscribe()
    }

    fn secret(&self) -> [u8; 32] {
        self.0
            .secrets
            .current()
            .expect("every connection agrees on the secret before it is used")
    }

    pub(crate) async fn first_contact(&self, patience: Duration) -> Result<(), BrokerError> {
        let mut contact = self.0.greeting.contact();
        let answered = contact.wait_for(|contact| *contact != Contact::None);
        match timeout(patience, answered).await {
            Ok(Ok(contact)) => match &*contact {
                Contact::Unfit(why) => Err(BrokerError::Unfit(why.clone())),
                Contact::None | Contact::Replica => Ok(()),
                Contact::Fit => {
                    // The runs are read before anyone may use the connection. If that fails, the
                    // node goes on trying.
                    let ready = self
                        .0
                        .link
                        .call(Instant::now() + patience, async |_| Ok(()));
                    drop(ready.await);
                    Ok(())
                }
            },
            // Redis is away. The node goes on trying, and is not ready.
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }

    pub(crate) async fn replicated(&self, deadline: Instant) -> bool {
        let key = self.0.keys.replicated(&self.0.lease.name());
        self.0.replication.confirm(&key, deadline).await
    }

    pub(crate) fn is_up(&self) -> bool {
        self.0.link.is_up()
    }

    pub(crate) fn health(&self) -> BrokerHealth {
        if let Some(why) = self.0.greeting.refusal() {
            let problem = Some(format!("redis cannot be used: {why}"));
            return BrokerHealth {
                problem,
                degraded: None,
            };
        }
        let problem = if !self.0.link.is_up() {
            Some("redis does not answer commands")
        } else if !self.0.subscriber.is_alive() {
            Some("the subscription to redis is silent")
        } else {
            None
        };
        BrokerHealth {
            problem: problem.map(str::to_owned),
            degraded: self.degraded(),
        }
    }

    /// The service that a Redis which answers does not give. Every other node meets the same Redis, and this one can
    /// still read from it.
    fn degraded(&self) -> Option<String> {
        let takes_writes = !self.0.standing.has_joined() || self.0.lease.is_fresh();
        let no_writes = "redis takes no writes, sends are refused: look at its log and its disk";
        let reasons = [
            (!takes_writes).then(|| no_writes.to_owned()),
            self.0.space.problem(),
            self.0.policy.problem(),
        ];
        let reasons: Vec<String> = reasons.into_iter().flatten().collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
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
