//! The surroundings of a row: one Redis, real nodes, and a proxy between each node and Redis.

use std::net::SocketAddr;

use hubbub_client::ClientConfig;
use hubbub_tests::http;
use hubbub_tests::metrics::Metrics;
use hubbub_tests::process::{Launch, NodeProcess, Setting};
use hubbub_tests::proxy::Proxy;
use hubbub_tests::redis::{Fsync, Redis};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Duration, timeout};

/// The number of nodes in a cluster.
pub(crate) const NODES: usize = 3;
/// Runs one row at a time, because each needs the whole machine.
static TURN: Mutex<()> = Mutex::const_new(());

/// Waits until no other test of this process runs.
pub(crate) async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}

/// The cluster and its proxies.
pub(crate) struct Arena {
    redis: Mutex<Redis>,
    nodes: Vec<Mutex<NodeProcess>>,
    /// The addresses for clients, by node.
    pub(crate) doors: Vec<SocketAddr>,
    /// The addresses of the ops ports, by node.
    pub(crate) ops: Vec<SocketAddr>,
    /// The proxies between each node and Redis.
    pub(crate) links: Vec<Proxy>,
    _turn: MutexGuard<'static, ()>,
}

impl Arena {
    /// Starts three nodes with these settings and a new Redis.
    pub(crate) async fn start(fsync: Fsync, settings: &[Setting<'_>]) -> Self {
        Self::start_with(fsync, |launch, _| launch.with(settings)).await
    }

    /// The same, with each node's launch changed by `change`.
    pub(crate) async fn start_with(fsync: Fsync, change: impl Fn(Launch, usize) -> Launch) -> Self {
        let turn = turn().await;
        Self::over(turn, Redis::start(fsync).await, change).await
    }

    /// The same with this Redis.
    pub(crate) async fn over(
        turn: MutexGuard<'static, ()>,
        redis: Redis,
        change: impl Fn(Launch, usize) -> Launch,
    ) -> Self {
        let (mut links, mut nodes) = (Vec::new(), Vec::new());
        for number in 0..NODES {
            let link = Proxy::start(redis.address()).await;
            let url = format!("redis://{}", link.address());
            let mut launch = Launch::new(&format!("gw-{number}"), &[("redis.url", &url)]);
            // A log line for each connection would hide the cause of a failure, and a backtrace
            // costs memory.
            let env = [("RUST_LOG", "warn"), ("RUST_BACKTRACE", "0")];
            launch.env = env
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec();
            nodes.push(NodeProcess::launch(change(launch, number)));
            links.push(link);
        }
        for node in &mut nodes {
            node.ready().await;
        }
        Self {
            redis: Mutex::new(redis),
            doors: nodes.iter().map(NodeProcess::address).collect(),
            ops: nodes.iter().map(NodeProcess::ops).collect(),
            nodes: nodes.into_iter().map(Mutex::new).collect(),
            links,
            _turn: turn,
        }
    }

    pub(crate) async fn redis(&self) -> MutexGuard<'_, Redis> {
        self.redis.lock().await
    }

    pub(crate) async fn node(&self, number: usize) -> MutexGuard<'_, NodeProcess> {
        self.nodes[number].lock().await
    }

    /// The settings of a guest's client that starts on this node and knows all nodes.
    pub(crate) fn client(&self, number: usize) -> ClientConfig {
        let url = |step| format!("http://{}", self.doors[(number + step) % NODES]);
        ClientConfig::new((0..NODES).map(url))
    }

    /// The nodes that run.
    pub(crate) async fn living(&self) -> Vec<usize> {
        let mut living = Vec::new();
        for number in 0..NODES {
            if self.node(number).await.exited().is_none() {
                living.push(number);
            }
        }
        living
    }

    pub(crate) async fn metrics(&self, number: usize) -> Metrics {
        Metrics::read(self.ops[number]).await
    }

    /// The sum of one metric over all running nodes.
    pub(crate) async fn figure(&self, name: &str) -> f64 {
        let mut sum = 0.0;
        for number in self.living().await {
            sum += self.metrics(number).await.sum(name);
        }
        sum
    }
}

/// Reads `/readyz`: whether the node is ready, and why not; `None` if there is no answer in time.
pub(crate) async fn readiness(ops: SocketAddr) -> Option<(bool, String)> {
    let ask = http::try_get(ops, "/readyz");
    let answer = timeout(Duration::from_secs(1), ask).await.ok()??;
    Some((answer.status == 200, answer.body.trim().to_owned()))
}
