//! Membership: how a node joins its cluster, seen from above the broker.

use std::sync::Arc;
use std::time::Duration;

use crate::redis::PARTITIONS;
use crate::{Broker, BrokerError, ClusterIdentity, Declaration, NodeSettings};

impl Broker {
    /// The version of the packets that nodes exchange.
    pub const PROTOCOL: u32 = 1;
    /// The partitions that rooms are divided over.
    pub const PARTITIONS: usize = PARTITIONS;

    /// Declares the settings that the nodes of a cluster compare. A node over Redis joins its cluster
    /// after this call, once it agrees with every living node; until then it stores nothing and owns
    /// nothing. The nodes of a memory broker share their settings.
    pub fn declare(&self, declaration: Declaration) {
        match self {
            Self::Memory(_) => {}
            Self::Redis(broker) => broker.declare(declaration),
        }
    }

    /// This node's declaration; `None`: it has made none yet, or there is nothing to compare.
    #[must_use]
    pub fn declared(&self) -> Option<Arc<Declaration>> {
        match self {
            Self::Memory(_) => None,
            Self::Redis(broker) => broker.declared(),
        }
    }

    /// Says why this node cannot declare its settings yet.
    pub fn postpone_joining(&self, obstacle: String) {
        match self {
            Self::Memory(_) => {}
            Self::Redis(broker) => broker.postpone_joining(obstacle),
        }
    }

    /// Waits at most `patience` until this node has joined its cluster; whether it has.
    pub async fn joined(&self, patience: Duration) -> bool {
        match self {
            Self::Memory(_) => true,
            Self::Redis(broker) => broker.joined(patience).await,
        }
    }

    /// Whether this node has joined its cluster. It stays in.
    #[must_use]
    pub fn has_joined(&self) -> bool {
        match self {
            Self::Memory(_) => true,
            Self::Redis(broker) => broker.has_joined(),
        }
    }

    /// Why this node has not joined its cluster; `None`: it has.
    #[must_use]
    pub fn obstacle(&self) -> Option<String> {
        match self {
            Self::Memory(_) => None,
            Self::Redis(broker) => broker.obstacle(),
        }
    }

    /// The cluster's identity in Redis; `None`: Redis holds none, or there is no Redis.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub async fn identity(&self) -> Result<Option<ClusterIdentity>, BrokerError> {
        match self {
            Self::Memory(_) => Ok(None),
            Self::Redis(broker) => broker.identity().await,
        }
    }

    /// Gives a Redis without an identity one: with a new home, for the cluster with this ID or for a
    /// new one. Returns what Redis holds then; `None`: there is no Redis.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub async fn give_identity(
        &self,
        cluster: Option<&str>,
    ) -> Result<Option<ClusterIdentity>, BrokerError> {
        match self {
            Self::Memory(_) => Ok(None),
            Self::Redis(broker) => broker.give_identity(cluster).await.map(Some),
        }
    }

    /// The settings of all nodes that live or wait to join, by name. A memory broker has none.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub async fn node_settings(&self) -> Result<Vec<NodeSettings>, BrokerError> {
        match self {
            Self::Memory(_) => Ok(Vec::new()),
            Self::Redis(broker) => broker.node_settings().await,
        }
    }
}
