//! One whole node: broker, node and gateway, started and ended in the right order.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hubbub_archive::{Archive, ArchiveError};
use hubbub_broker::{Broker, BrokerError, Inbox};
use hubbub_gateway::auth::Auth;
use hubbub_gateway::{AuthMode, Gateway, GatewayError};
use hubbub_node::{DrainSection, Node};
use hubbub_protocol::{InvalidId, NodeId};
use hubbub_supervisor::Supervisor;
use hubbub_webhooks::Webhooks;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::agreement::{self, Joining};
use crate::config::{CheckError, Settings};
use crate::storage::{Embedded, Storage};
use crate::{files, logging};

/// Closing connections wait 5 s for their clients; so does a node that stops at once.
const STOP_PATIENCE: Duration = Duration::from_secs(6);
/// A Redis that answers at once is checked before the start; another one is waited for in the
/// background.
const REDIS_PATIENCE: Duration = Duration::from_millis(500);
/// The same for the cluster's secret.
const SECRET_PATIENCE: Duration = Duration::from_millis(500);
/// A node that agrees with the living ones joins within this time when Redis and the archive answer at
/// once; another one joins in the background.
const JOIN_PATIENCE: Duration = Duration::from_secs(2);
/// How often a draining node counts its connections.
const DRAIN_POLL: Duration = Duration::from_millis(50);

/// Why a node could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Settings that cannot work.
    #[error(transparent)]
    Settings(#[from] CheckError),
    /// `node.id` cannot be one.
    #[error("node.id: {0}")]
    NodeId(#[from] InvalidId),
    /// `redis.url` cannot be one, or the Redis there cannot be used.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The archive cannot be opened.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The ports.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
}

/// The parts that a node is built from.
struct Shared {
    broker: Broker,
    archive: Option<Archive>,
    supervisor: Supervisor,
}

/// The parts that a node does not share with others of its process.
enum Own {
    /// All is shared.
    Nothing,
    /// Its archive.
    Storage(Storage),
    /// Its broker and archive.
    Embedded(Embedded),
}

/// A running node. Call [`Server::stop`] or [`Server::drain`] to end it.
pub struct Server {
    node: Arc<Node>,
    broker: Broker,
    gateway: Gateway,
    webhooks: Webhooks,
    drain: DrainSection,
    /// The parts that only this node uses and that it closes at its end.
    own: Own,
    /// The tasks that ask for the cluster's secret, fetch keys and join the cluster; aborted when the server
    /// is dropped.
    tasks: JoinSet<()>,
}

impl Server {
    /// Starts a node of the cluster at `redis.url`, or one that stands alone. Redis need not be
    /// there: the node is not ready until it is.
    ///
    /// # Errors
    /// [`StartError`] names the setting that does not work; nothing is left running.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        settings.check()?;
        if settings.redis.url.is_empty() {
            let embedded = Embedded::open(&settings).await?;
            let mut server = Self::start_with(settings, &embedded).await?;
            server.own = Own::Embedded(embedded);
            return Ok(server);
        }
        let id = node_id(&settings.node.id)?;
        let supervisor = Supervisor::default();
        let storage = Storage::open(&settings.archive, &supervisor).await?;
        let config = settings.broker_config();
        let (broker, inbox) = Broker::redis(&config, &start_id(&id), &supervisor)?;
        if let Err(error) = broker.first_contact(REDIS_PATIENCE).await {
            broker.close().await;
            return Err(error.into());
        }
        let archive = storage.archive.clone();
        let shared = Shared {
            broker,
            archive,
            supervisor,
        };
        let mut server = Self::assemble(settings, id, shared, inbox).await?;
        server.own = Own::Storage(storage);
        Ok(server)
    }

    /// Starts one more node of an embedded cluster.
    ///
    /// # Errors
    /// [`StartError`] names the setting that does not work; nothing is left running.
    pub async fn start_with(settings: Settings, embedded: &Embedded) -> Result<Self, StartError> {
        settings.check()?;
        let id = node_id(&settings.node.id)?;
        let (broker, inbox) = Broker::memory(&embedded.cluster);
        let shared = Shared {
            broker,
            archive: embedded.storage.archive.clone(),
            supervisor: embedded.supervisor.clone(),
        };
        Self::assemble(settings, id, shared, inbox).await
    }

    async fn assemble(
        settings: Settings,
        id: NodeId,
        shared: Shared,
        inbox: Inbox,
    ) -> Result<Self, StartError> {
        let Shared {
            broker,
            archive,
            supervisor,
        } = shared;
        let auth = Arc::new(settings.make_auth().map_err(CheckError::from)?);
        let mut tasks = JoinSet::new();
        let config = settings.node_config();
        let is_cluster = !settings.redis.url.is_empty();
        if is_cluster {
            let joining = Joining {
                settings: settings.clone(),
                broker: broker.clone(),
                archive: archive.clone(),
            };
            tasks.spawn(supervisor.require("joining", joining.run()));
        }
        let node = Node::start(
            id,
            config,
            broker.clone(),
            archive.clone(),
            inbox,
            supervisor.clone(),
        );
        let webhooks = match Webhooks::start(&settings.webhooks, &broker, &supervisor) {
            Ok(webhooks) => webhooks,
            Err(error) => {
                node.shutdown().await;
                return Err(CheckError::from(error).into());
            }
        };
        provide_secrets(&auth, &broker, &supervisor, &mut tasks).await;
        let keys = Arc::clone(&auth);
        tasks.spawn(supervisor.keep("token_keys", move || Arc::clone(&keys).keep_keys()));
        let connections = match settings.limits.connections {
            0 => files::connection_limit(),
            connections => connections,
        };
        let gateway = match Gateway::start(
            settings.gateway_config(connections),
            auth,
            Arc::clone(&node),
            |registry| {
                logging::register(registry);
                webhooks.register(registry);
            },
        )
        .await
        {
            Ok(gateway) => gateway,
            Err(error) => {
                webhooks.stop().await;
                node.shutdown().await;
                return Err(error.into());
            }
        };
        let (http, ops) = (
            gateway.http_addr(),
            gateway.ops_addr().map(|ops| ops.to_string()),
        );
        tracing::info!(node = %node.id(), %http, ops, "node started");
        if is_cluster && broker.is_up() {
            broker.joined(JOIN_PATIENCE).await;
        }
        Ok(Self {
            node,
            broker,
            gateway,
            webhooks,
            drain: settings.drain,
            own: Own::Nothing,
            tasks,
        })
    }

    /// Where clients connect.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.gateway.http_addr()
    }

    /// Where operators connect; `None` when `ops.bind` is empty.
    #[must_use]
    pub fn ops_addr(&self) -> Option<SocketAddr> {
        self.gateway.ops_addr()
    }

    /// Ends when a background task has panicked that cannot begin again: the node has to stop.
    pub async fn failed(&self) {
        self.node.supervisor().failed().await;
    }

    /// Ends when an operator has ordered this node to leave.
    pub async fn dismissed(&self) {
        self.node.dismissed().await;
    }

    /// Moves the clients to other nodes, then ends: not ready at once, then the ready delay, then
    /// everyone is told to reconnect, over the spread, and at the deadline it is over. Says how
    /// many connections had to be cut.
    pub async fn drain(self) -> usize {
        let deadline = Instant::now() + self.drain.deadline;
        self.gateway.leave();
        tracing::info!(node = %self.node.id(), clients = self.node.connections(), "draining");
        sleep(self.drain.ready_delay).await;
        self.gateway.refuse();
        let moved = async {
            self.node.drain(self.drain.spread).await;
            while self.node.connections() > 0 {
                sleep(DRAIN_POLL).await;
            }
        };
        // At the deadline whoever is left is cut off, and counted below.
        drop(timeout_at(deadline, moved).await);
        self.end(deadline.saturating_duration_since(Instant::now()))
            .await
    }

    /// Ends at once: clients are told to reconnect elsewhere, all together. Says how many
    /// connections had to be cut.
    pub async fn stop(self) -> usize {
        self.gateway.refuse();
        self.node.drain(Duration::ZERO).await;
        self.end(STOP_PATIENCE).await
    }

    async fn end(mut self, patience: Duration) -> usize {
        let cut = self.gateway.shutdown(patience).await;
        self.webhooks.stop().await;
        self.node.shutdown().await;
        self.tasks.shutdown().await;
        match self.own {
            Own::Nothing => {}
            Own::Storage(storage) => {
                if let Some(archive) = &storage.archive {
                    agreement::leave(&self.broker, archive).await;
                }
                storage.close().await;
            }
            Own::Embedded(embedded) => embedded.close().await,
        }
        let node = self.node.id();
        if cut > 0 {
            tracing::warn!(%node, cut, "connections did not end in time and were cut");
        }
        tracing::info!(%node, "node stopped");
        cut
    }
}

/// In guest mode without `auth.secret` the cluster has secrets of its own. Until Redis has given them,
/// guest tokens are `unavailable` and the node is not ready. They may change when Redis was emptied.
async fn provide_secrets(
    auth: &Arc<Auth>,
    broker: &Broker,
    supervisor: &Supervisor,
    tasks: &mut JoinSet<()>,
) {
    if auth.mode() != AuthMode::Guest || auth.has_secret() {
        return;
    }
    let mut secrets = broker.cluster_secrets();
    // A Redis that answers later is waited for below.
    let known = secrets.wait_for(|secrets| !secrets.is_empty());
    drop(timeout(SECRET_PATIENCE, known).await);
    auth.provide_secrets(&secrets.borrow_and_update());
    let auth = Arc::clone(auth);
    let provide = async move {
        while secrets.changed().await.is_ok() {
            auth.provide_secrets(&secrets.borrow_and_update());
        }
    };
    tasks.spawn(supervisor.require("cluster_secrets", provide));
}

/// The name that people see; without one, the host's and a random suffix.
fn node_id(name: &str) -> Result<NodeId, InvalidId> {
    if !name.is_empty() {
        return NodeId::new(name);
    }
    let uname = rustix::system::uname();
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let mut name: String = uname
        .nodename()
        .to_string_lossy()
        .chars()
        .filter(allowed)
        .take(64)
        .collect();
    write!(name, "-{:04x}", fastrand::u16(..)).expect("writing to a string never fails");
    NodeId::new(&name)
}

/// The name inside the cluster: after a restart it is another node.
fn start_id(id: &NodeId) -> NodeId {
    let id = &id.as_str()[..id.as_str().len().min(100)];
    NodeId::new(&format!("{id}:{:08x}", fastrand::u32(..))).expect("two valid parts and a colon")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_the_name_it_is_given_or_makes_one_up() {
        assert_eq!(node_id("gw-1").unwrap().as_str(), "gw-1");
        assert!(node_id("gw 1").is_err());
        assert_ne!(node_id("").unwrap(), node_id("").unwrap());
    }

    #[test]
    fn a_restart_is_another_node() {
        let id = node_id(&"n".repeat(128)).unwrap();
        assert_ne!(start_id(&id), start_id(&id));
        assert!(
            start_id(&node_id("gw-1").unwrap())
                .as_str()
                .starts_with("gw-1:")
        );
    }
}
