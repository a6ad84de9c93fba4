//! Members of the cluster: how a node joins, and what it can read of the other nodes' settings.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;

use super::RedisBroker;
use super::lease::{node_of, read_settings};
use crate::{BrokerError, ClusterIdentity, Declaration, NodeSettings};

/// The time limit for reading the other nodes' settings.
const READ: Duration = Duration::from_secs(2);

impl RedisBroker {
    pub(crate) fn declare(&self, declaration: Declaration) {
        self.0.standing.declare(declaration);
    }

    pub(crate) fn declared(&self) -> Option<Arc<Declaration>> {
        self.0.standing.declared()
    }

    pub(crate) fn postpone_joining(&self, obstacle: String) {
        self.0.standing.wait_for(obstacle);
    }

    pub(crate) async fn joined(&self, patience: Duration) -> bool {
        self.0.standing.joined(patience).await
    }

    pub(crate) fn has_joined(&self) -> bool {
        self.0.standing.has_joined()
    }

    pub(crate) fn obstacle(&self) -> Option<String> {
        self.0.standing.obstacle()
    }

    /// Fails until the node has joined. Nothing may be stored under settings that were not
    /// compared.
    pub(super) fn check_joined(&self) -> Result<(), BrokerError> {
        if self.has_joined() {
            return Ok(());
        }
        let why = "this node has not joined the cluster yet";
        Err(BrokerError::Unavailable(why.to_owned()))
    }

    pub(crate) async fn identity(&self) -> Result<Option<ClusterIdentity>, BrokerError> {
        let key = self.0.keys.identity();
        let read = async |mut connection: MultiplexedConnection| {
            let mut get = redis::cmd("GET");
            get.arg(&key);
            get.query_async::<Option<String>>(&mut connection).await
        };
        let text = self.0.link.call(self.deadline(), read).await?;
        let parse = |text: String| {
            let what =
                || BrokerError::Unexpected("the cluster's identity cannot be read".to_owned());
            ClusterIdentity::parse(&text).ok_or_else(what)
        };
        text.map(parse).transpose()
    }

    /// Stores a new identity. If another node was quicker, its identity is returned.
    pub(crate) async fn give_identity(
        &self,
        cluster: Option<&str>,
    ) -> Result<ClusterIdentity, BrokerError> {
        let (key, new) = (self.0.keys.identity(), ClusterIdentity::generate(cluster));
        let value = new.to_string();
        let write = async |mut connection: MultiplexedConnection| {
            let mut set = redis::cmd("SET");
            set.arg(&key).arg(&value).arg("NX");
            set.exec_async(&mut connection).await
        };
        self.0.link.call(self.deadline(), write).await?;
        Ok(self.identity().await?.unwrap_or(new))
    }

    /// The settings of the living nodes and of those that wait to join, by name.
    pub(crate) async fn node_settings(&self) -> Result<Vec<NodeSettings>, BrokerError> {
        let (nodes, waiting) = (self.0.keys.nodes(), self.0.keys.waiting_nodes());
        let read = async |mut connection: MultiplexedConnection| {
            let mut pipe = redis::pipe();
            pipe.zrange(&nodes, 0, -1).zrange(&waiting, 0, -1);
            let read: (Vec<String>, Vec<String>) = pipe.query_async(&mut connection).await?;
            Ok(read)
        };
        let (joined, waiting) = self.0.link.call(Instant::now() + READ, read).await?;
        // The list of leases also has dead ones, until they are evicted.
        let living = self.0.lease.living();
        let joined = joined.into_iter().filter(|lease| living.contains(lease));
        let joined: Vec<(String, bool)> = joined
            .map(|lease| (lease, true))
            .chain(waiting.into_iter().map(|lease| (lease, false)))
            .collect();
        let leases: Vec<String> = joined.iter().map(|(lease, _)| lease.clone()).collect();
        let settings = read_settings(&self.0.link, &self.0.keys, &leases).await?;
        let settings = joined.iter().zip(settings);
        let mut list: Vec<NodeSettings> = settings
            .map(|((lease, has_joined), json)| NodeSettings {
                node: node_of(lease).to_owned(),
                has_joined: *has_joined,
                values: json.and_then(|json| serde_json::from_str(&json).ok()),
            })
            .collect();
        list.sort_by(|a, b| a.node.cmp(&b.node));
        Ok(list)
    }
}
