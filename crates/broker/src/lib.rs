//! Carries envelopes between nodes, keeps recent streams and presence: in memory or in Redis.

mod config;

pub use config::{BrokerConfig, HistorySection, RedisSection};
use hubbub_protocol::NodeId;

/// One node's line to all others.
#[derive(Debug, Clone)]
pub enum Broker {
    /// Placeholder.
    Memory,
}

/// The embedded broker that several nodes of one process share.
#[derive(Debug, Clone)]
pub struct MemoryCluster {}

/// What the broker brings to one node.
#[derive(Debug)]
pub struct Inbox {}

/// Why the broker could not start or do something.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// `redis.url` has a form that is not there (yet).
    #[error("redis.url: {0}")]
    BadUrl(String),
}

impl MemoryCluster {
    /// A new, empty cluster.
    #[must_use]
    pub fn new(_config: &BrokerConfig) -> Self {
        unimplemented!()
    }
    /// One more node.
    #[must_use]
    pub fn join(&self, _node: &NodeId) -> (Broker, Inbox) {
        unimplemented!()
    }
}

/// Whether the broker works, for `/readyz`.
#[derive(Debug, Clone)]
pub struct BrokerHealth {
    /// `None`: commands and subscription work. Else what is missing, in words.
    pub problem: Option<String>,
}

impl Broker {
    /// Opens `redis.url`. Returns at once even when Redis is away: it keeps trying.
    ///
    /// # Errors
    /// [`BrokerError::BadUrl`] when the URL can never work.
    pub fn redis(_config: &BrokerConfig, _node: &NodeId) -> Result<(Self, Inbox), BrokerError> {
        unimplemented!()
    }

    /// The cluster's one random secret, made by the first node that asks (for guest tokens).
    ///
    /// # Errors
    /// When Redis does not answer within the send timeout.
    pub async fn cluster_secret(&self) -> Result<[u8; 32], BrokerError> {
        unimplemented!()
    }

    /// Proves that commands and subscription work.
    #[must_use]
    pub fn health(&self) -> BrokerHealth {
        unimplemented!()
    }
}
