//! Several nodes that form one cluster: in this process over one memory broker or one Redis, or as
//! real `hubbub serve` processes.

use std::net::SocketAddr;
use std::sync::Arc;

use hubbub::Embedded;
use hubbub_client::ClientConfig;
use tempfile::TempDir;

use crate::local::{self, LocalNode};
use crate::postgres::Postgres;
use crate::process::{NodeProcess, Setting};
use crate::raw::Raw;
use crate::recorder::Recorder;
use crate::redis::{Fsync, Redis};

/// The nodes, and the Redis that they share.
pub struct Cluster {
    nodes: Vec<Node>,
    /// Held because it writes sends to the archive.
    _embedded: Option<Embedded>,
    /// Held because the archive's file is in it.
    _folder: Option<TempDir>,
    _postgres: Option<Arc<Postgres>>,
    /// Held to be killed on drop. `None` if the nodes share a memory broker.
    redis: Option<Redis>,
}

enum Node {
    Local(LocalNode),
    Process(NodeProcess),
}

/// With RUST_LOG set, a failed test shows the log of the nodes in this process.
fn show_logs() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    // The call fails for a second cluster, because the subscriber is already set.
    drop(
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_test_writer()
            .try_init(),
    );
}

impl Cluster {
    /// Nodes in this process over one memory broker.
    pub async fn memory(count: usize, settings: &[Setting<'_>]) -> Self {
        let mut nodes = Vec::new();
        let mut broker: Option<Embedded> = None;
        for number in 0..count {
            let settings = local::settings(number, settings);
            if broker.is_none() {
                broker = Some(local::embedded(&settings).await);
            }
            let broker = broker.as_ref().expect("the broker was opened above");
            nodes.push(Node::Local(LocalNode::join(settings, broker).await));
        }
        Self {
            nodes,
            _embedded: broker,
            redis: None,
            _folder: None,
            _postgres: None,
        }
    }

    /// Nodes in this process over a Redis of their own.
    pub async fn redis(count: usize, settings: &[Setting<'_>]) -> Self {
        show_logs();
        let redis = Redis::start(Fsync::EverySecond).await;
        let url = redis.url();
        let mut settings = settings.to_vec();
        settings.push(("redis.url", &url));
        let mut nodes = Vec::new();
        for number in 0..count {
            let settings = local::settings(number, &settings);
            nodes.push(Node::Local(LocalNode::start(settings).await));
        }
        Self {
            nodes,
            _embedded: None,
            redis: Some(redis),
            _folder: None,
            _postgres: None,
        }
    }

    /// Nodes in this process over one memory broker that commits to a file.
    pub async fn sqlite(count: usize, settings: &[Setting<'_>]) -> Self {
        show_logs();
        let folder = TempDir::new().expect("a temporary directory can be made");
        let url = format!("sqlite://{}", folder.path().join("hubbub.db").display());
        let mut settings = settings.to_vec();
        settings.push(("archive.url", &url));
        let mut cluster = Self::memory(count, &settings).await;
        cluster._folder = Some(folder);
        cluster
    }

    /// Nodes in this process over a Redis of their own and a database of their own.
    pub async fn postgres(count: usize, settings: &[Setting<'_>]) -> Self {
        let postgres = Postgres::shared().await;
        let url = postgres.database().await;
        let mut settings = settings.to_vec();
        settings.push(("archive.url", &url));
        let mut cluster = Self::redis(count, &settings).await;
        cluster._postgres = Some(postgres);
        cluster
    }

    /// Real processes over this Redis.
    pub async fn processes(redis: Redis, count: usize, settings: &[Setting<'_>]) -> Self {
        let url = redis.url();
        let mut settings = settings.to_vec();
        settings.push(("redis.url", &url));
        let mut nodes: Vec<NodeProcess> = (0..count)
            .map(|number| NodeProcess::spawn(&format!("gw-{number}"), &settings))
            .collect();
        for node in &mut nodes {
            node.ready().await;
        }
        Self {
            nodes: nodes.into_iter().map(Node::Process).collect(),
            _embedded: None,
            redis: Some(redis),
            _folder: None,
            _postgres: None,
        }
    }

    /// The cluster's Redis.
    ///
    /// # Panics
    /// Panics if the cluster has no Redis.
    #[must_use]
    pub fn redis_ref(&self) -> &Redis {
        self.redis.as_ref().expect("a cluster with Redis")
    }

    /// The cluster's Redis, to change it.
    ///
    /// # Panics
    /// Panics if the cluster has no Redis.
    pub fn redis_mut(&mut self) -> &mut Redis {
        self.redis.as_mut().expect("the nodes share a Redis")
    }

    /// The number of nodes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are no nodes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The address for clients of a node. Numbers wrap around.
    #[must_use]
    pub fn address(&self, number: usize) -> SocketAddr {
        match &self.nodes[number % self.nodes.len()] {
            Node::Local(node) => node.address(),
            Node::Process(node) => node.address(),
        }
    }

    /// The address of a node's ops port. Numbers wrap around.
    #[must_use]
    pub fn ops(&self, number: usize) -> SocketAddr {
        match &self.nodes[number % self.nodes.len()] {
            Node::Local(node) => node.ops(),
            Node::Process(node) => node.ops(),
        }
    }

    /// A node that is a process.
    ///
    /// # Panics
    /// Panics if the node is in this process.
    pub fn process(&mut self, number: usize) -> &mut NodeProcess {
        match &mut self.nodes[number] {
            Node::Process(node) => node,
            Node::Local(_) => panic!("node {number} is in this process"),
        }
    }

    /// The settings of a guest's client that starts on this node and knows all nodes.
    #[must_use]
    pub fn client(&self, number: usize) -> ClientConfig {
        let urls = (0..self.len()).map(|step| format!("http://{}", self.address(number + step)));
        ClientConfig::new(urls)
    }

    /// A bare connection to this node as a new guest.
    pub async fn raw(&self, number: usize) -> Raw {
        Raw::connect(self.address(number)).await
    }

    /// A recorder with a bare connection to this node.
    pub async fn record_raw(&self, number: usize, room: &str) -> Recorder {
        Recorder::raw(&format!("raw-{number}"), self.address(number), room).await
    }

    /// A resuming recorder that starts on this node.
    pub async fn record(&self, number: usize, room: &str) -> Recorder {
        Recorder::resuming(&format!("client-{number}"), self.client(number), room).await
    }
}
