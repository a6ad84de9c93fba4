//! [`Node`]: everything one process holds, and the tasks that keep it going.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use hubbub_archive::Archive;
use hubbub_broker::{Broker, BrokerHealth, Inbox};
use hubbub_outage::Outage;
use hubbub_protocol::frame::ServerFrame;
use hubbub_protocol::{CloseCode, Frame, NodeId};
use hubbub_supervisor::Supervisor;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::AccessCache;
use crate::ack::ArchiveProgress;
use crate::batching::{BatchTick, NodeBatching};
use crate::cluster_limiter::ClusterLimiter;
use crate::degradations::Degradations;
use crate::delivery::{deliver_from, resync_rooms};
use crate::expiry::Expiry;
use crate::heartbeat::Heartbeat;
use crate::hub::Hub;
use crate::marks::ReadMarks;
use crate::metrics::NodeMetrics;
use crate::orders::Rules;
use crate::outbox::{Outbox, OutboxBudget, OutboxReader};
use crate::presence::PresenceAgenda;
use crate::publisher::Publisher;
use crate::reconcile::{AckedPlaces, Inquiries, InquiryQueues};
use crate::request_limiter::RequestLimiter;
use crate::reservation::Reservations;
use crate::session::Session;
use crate::signals::Signals;
use crate::{Identity, NodeConfig};

/// Rooms that are repaired at once: a node with many rooms does not storm a Redis that is back.
const REPAIRS_AT_ONCE: usize = 32;
/// Looks at once at who may still be in a room: the archive has other work too.
const LOOKS_AT_ONCE: usize = 8;
/// Rooms whose users are registered at once.
const REGISTRATIONS_AT_ONCE: usize = 64;
/// Between two looks for something to give up: what was given up comes free meanwhile.
const SHED_PAUSE: Duration = Duration::from_millis(50);
/// A client that is moved waits up to so long before it comes back.
const RECONNECT_JITTER: Duration = Duration::from_secs(1);

/// One node of the cluster.
#[derive(Debug)]
pub struct Node {
    id: NodeId,
    pub(crate) config: NodeConfig,
    pub(crate) broker: Broker,
    /// `None`: this cluster has none.
    pub(crate) archive: Option<Archive>,
    pub(crate) archive_progress: ArchiveProgress,
    pub(crate) marks: ReadMarks,
    pub(crate) signals: Signals,
    pub(crate) access: AccessCache,
    pub(crate) rules: Rules,
    pub(crate) cluster_limiter: ClusterLimiter,
    pub(crate) expiry: Expiry,
    pub(crate) request_limiter: RequestLimiter,
    pub(crate) hub: Hub,
    pub(crate) publisher: Publisher,
    pub(crate) places: AckedPlaces,
    pub(crate) inquiries: Inquiries,
    /// Remembered rooms are being compared with Redis.
    pub(crate) is_comparing: AtomicBool,
    pub(crate) batch_tick: BatchTick,
    pub(crate) node_batching: NodeBatching,
    pub(crate) agenda: Mutex<PresenceAgenda>,
    pub(crate) heartbeat: Heartbeat,
    degradations: Degradations,
    pub(crate) supervisor: Supervisor,
    pub(crate) repairs: Semaphore,
    pub(crate) registrations: Semaphore,
    pub(crate) looks: Semaphore,
    pub(crate) reservations: Arc<Reservations>,
    outbox_budget: Arc<OutboxBudget>,
    pub(crate) metrics: Arc<NodeMetrics>,
    /// When this began, in milliseconds since 1970.
    pub(crate) started: u64,
    /// An operator has ordered this node to leave.
    pub(crate) dismissed: CancellationToken,
    tasks: TaskTracker,
    stopped: CancellationToken,
}

/// How the archive is doing, for `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveHealth {
    /// Whether it was there once, with the right schema. The chat goes on while it is away later.
    pub was_reached: bool,
    /// Whether this node stands alone and can store nothing: the archive's file was taken away, its disk
    /// is full, or the database is away or refuses what is written.
    pub stores_nothing: bool,
    /// The failure of its last call; `None`: it succeeded.
    pub problem: Option<String>,
}

impl Node {
    /// Starts the node's workers; they are held until [`Node::shutdown`].
    #[must_use]
    pub fn start(
        id: NodeId,
        config: NodeConfig,
        broker: Broker,
        archive: Option<Archive>,
        inbox: Inbox,
        supervisor: Supervisor,
    ) -> Arc<Self> {
        let metrics = Arc::<NodeMetrics>::default();
        let (inquiries, inquiry_queues) = Inquiries::new();
        let node = Arc::new(Self {
            outbox_budget: Arc::new(OutboxBudget::new(&config.limits)),
            reservations: Reservations::new(&config.limits, metrics.reserved_bytes.clone()),
            id,
            config,
            broker,
            archive,
            archive_progress: ArchiveProgress::default(),
            marks: ReadMarks::default(),
            signals: Signals::default(),
            access: AccessCache::default(),
            rules: Rules::default(),
            cluster_limiter: ClusterLimiter::default(),
            expiry: Expiry::default(),
            request_limiter: RequestLimiter::default(),
            hub: Hub::new(&metrics),
            publisher: Publisher::default(),
            places: AckedPlaces::default(),
            inquiries,
            is_comparing: AtomicBool::new(false),
            batch_tick: BatchTick::new(),
            node_batching: NodeBatching::default(),
            agenda: Mutex::default(),
            heartbeat: Heartbeat::new(),
            degradations: Degradations::default(),
            supervisor,
            repairs: Semaphore::new(REPAIRS_AT_ONCE),
            registrations: Semaphore::new(REGISTRATIONS_AT_ONCE),
            looks: Semaphore::new(LOOKS_AT_ONCE),
            metrics,
            started: crate::orders::now_ms(),
            dismissed: CancellationToken::new(),
            tasks: TaskTracker::new(),
            stopped: CancellationToken::new(),
        });
        node.begin_tasks(inbox, inquiry_queues);
        node
    }

    fn begin_tasks(self: &Arc<Self>, inbox: Inbox, inquiries: InquiryQueues) {
        for queue in inbox.workers {
            let queue = Arc::new(tokio::sync::Mutex::new(queue));
            self.keep("delivery", move |node| {
                deliver_from(Arc::clone(&queue), node)
            });
        }
        let resyncs = inbox.resyncs;
        self.keep("resync", move |node| resync_rooms(resyncs.clone(), node));
        self.require("orders", Arc::clone(self).keep_orders(inbox.control));
        self.require("inquiries", Arc::clone(self).keep_inquiries(inquiries));
        self.keep("presence", async |node| node.keep_presence().await);
        self.keep("outbox_budget", async |node| {
            node.keep_outbox_budget().await
        });
        self.keep("log_budget", async |node| node.keep_log_budget().await);
        self.keep("expiry", async |node| node.keep_expiry().await);
        self.keep("retention", async |node| node.keep_retention().await);
        let Some(archive) = self.archive.clone() else {
            return;
        };
        let own = archive.clone();
        self.keep("read_marks", move |node| node.keep_marks(own.clone()));
        let own = archive.clone();
        self.keep("search_index", move |node| node.rebuild_search(own.clone()));
        if self.broker.is_archived() {
            self.keep("archive_check", move |_| archive.clone().keep_writable());
        } else {
            let own = archive.clone();
            self.keep("archiving", move |node| node.keep_archive(own.clone()));
            self.keep("run_record", move |node| {
                node.keep_run_record(archive.clone())
            });
        }
    }

    /// Runs a task for as long as the node. It begins again after a panic.
    fn keep<W>(
        self: &Arc<Self>,
        name: &'static str,
        begin: impl Fn(Arc<Self>) -> W + Send + 'static,
    ) where
        W: Future<Output = ()> + Send + 'static,
    {
        let node = Arc::clone(self);
        let work = move || begin(Arc::clone(&node));
        self.spawn(self.supervisor.keep(name, work));
    }

    /// The same for a task that cannot begin again: its panic ends the node.
    fn require(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.spawn(self.supervisor.require(name, work));
    }

    /// Runs a task until it ends or the node is shut down. On the heap by itself: the runtime's place
    /// for a task is aligned, and glibc (before 2.38) cannot use such a place again for the next of the
    /// same size. Many of a few KB left a KB of holes a connection.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stopped = self.stopped.clone();
        let task = Box::pin(task);
        self.tasks.spawn(async move {
            stopped.run_until_cancelled(task).await;
        });
    }

    /// This node's name.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// Its settings.
    #[must_use]
    pub fn config(&self) -> &NodeConfig {
        &self.config
    }

    /// Why this node has not joined its cluster yet; `None`: it has.
    #[must_use]
    pub fn obstacle(&self) -> Option<String> {
        self.broker.obstacle()
    }

    /// Whether this node has joined its cluster, so that clients may come.
    #[must_use]
    pub fn has_joined(&self) -> bool {
        self.broker.has_joined()
    }

    /// Whether its line to the others works.
    #[must_use]
    pub fn health(&self) -> BrokerHealth {
        self.broker.health()
    }

    /// Why this node serves with less than it promises: each degraded part with its reason. Another node
    /// could not serve better, so this one stays ready.
    #[must_use]
    pub fn degradations(&self) -> &Degradations {
        &self.degradations
    }

    /// The node's background tasks.
    #[must_use]
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// How the archive is doing; `None`: there is none.
    #[must_use]
    pub fn archive_health(&self) -> Option<ArchiveHealth> {
        self.archive.as_ref().map(|archive| ArchiveHealth {
            was_reached: archive.was_reached(),
            stores_nothing: archive.lost_file().is_some()
                || (archive.is_unwritable() && self.broker.is_archived()),
            problem: archive.health(),
        })
    }

    /// Sessions attached now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.hub.session_count()
    }

    /// Opens a session and pushes `welcome`. The session's frames come from the reader. `client`
    /// is where it comes from.
    ///
    /// # Errors
    /// The code to close the connection with: 4411 when the token has expired, 4505 when the user has too
    /// many connections, 4503 when the user or the address is banned, 4504 when the token is revoked.
    pub fn attach(
        self: &Arc<Self>,
        identity: Identity,
        client: Option<IpAddr>,
    ) -> Result<(Session, OutboxReader), CloseCode> {
        let outbox = Arc::new(Outbox::new(&self.config.limits, &self.outbox_budget));
        let session = Session::open(Arc::clone(self), identity, client, Arc::clone(&outbox))?;
        let reader = OutboxReader {
            outbox,
            connection: session.connection().clone(),
            payer: session.payer(),
            node: Arc::clone(self),
        };
        Ok((session, reader))
    }

    /// Runs for as long as the node: closes the largest outboxes when all together are too large.
    async fn keep_outbox_budget(&self) {
        let outage = Outage::new();
        loop {
            self.outbox_budget.overdrawn().await;
            let mut outboxes = self.hub.outboxes();
            outboxes.sort_by_key(|outbox| std::cmp::Reverse(outbox.bytes()));
            // The bytes of outboxes that were shed before come free in a moment.
            let mut coming: usize = outboxes.iter().map(|outbox| outbox.shed_bytes()).sum();
            for outbox in outboxes {
                if coming >= self.outbox_budget.excess() {
                    break;
                }
                let Some(bytes) = outbox.shed() else { continue };
                coming += bytes;
                self.metrics.shed.inc();
                // Clients that read nothing bring this about at will.
                if let Some(now) = outage.fail("") {
                    tracing::warn!(
                        bytes,
                        closed = now.failures,
                        "the outboxes exceed limits.outbox_node_bytes, the largest are closed"
                    );
                }
            }
            sleep(SHED_PAUSE).await;
        }
    }

    /// Runs for as long as the node: the rooms that were quiet the longest give up what they keep
    /// in memory when all together keep too much.
    async fn keep_log_budget(&self) {
        loop {
            self.hub.budget.overdrawn().await;
            let mut rooms = self.hub.rooms();
            rooms.sort_by_cached_key(|room| room.appended());
            for room in rooms {
                if self.hub.budget.is_easy() {
                    break;
                }
                room.forget_events();
            }
            sleep(SHED_PAUSE).await;
        }
    }

    /// Asks every client to move to another node and closes its connection (1012), each at a moment
    /// of its own within `spread`. Returns when all have been told.
    pub async fn drain(&self, spread: Duration) {
        let mut outboxes = self.hub.outboxes();
        fastrand::shuffle(&mut outboxes);
        let mut moments: Vec<_> = outboxes.iter().map(|_| fastrand::f64()).collect();
        moments.sort_unstable_by(f64::total_cmp);
        let began = Instant::now();
        for (outbox, moment) in outboxes.into_iter().zip(moments) {
            // A timer is no finer than a millisecond, so only moments still to come are awaited.
            let moment = began + spread.mul_f64(moment);
            if moment > Instant::now() {
                tokio::time::sleep_until(moment.into()).await;
            }
            let after = RECONNECT_JITTER.min(spread).mul_f64(fastrand::f64());
            outbox.push(Frame::encode(&ServerFrame::Reconnect {
                after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
                reason: "draining",
            }));
            outbox.close(CloseCode::Restart);
        }
    }

    /// Ends the node's workers and its line to the others. Sessions that are still attached hear
    /// nothing any more.
    pub async fn shutdown(&self) {
        for outbox in self.hub.outboxes() {
            outbox.close(CloseCode::Restart);
        }
        self.stopped.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.save_last_marks().await;
        // Rooms and presence agenda hold each other's parts: let go of both.
        *self.agenda.lock() = PresenceAgenda::default();
        self.broker.close().await;
    }

    /// Adds the node's and its broker's figures.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.metrics.register(registry);
        self.broker.metrics().register(registry);
        self.supervisor.register(registry);
    }
}
