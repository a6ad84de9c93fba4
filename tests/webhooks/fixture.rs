//! Clusters that know endpoints.

use std::time::Duration;

use hubbub_tests::cluster::Cluster;
use hubbub_tests::http;
use hubbub_tests::people::SIGNED;
use hubbub_tests::process::FILE;

/// Deliveries take milliseconds; a busy machine some more.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// What the nodes share.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Brokers {
    Memory,
    Redis,
}

/// Three nodes in this process with these `[[webhook]]` tables.
pub(crate) async fn cluster(brokers: Brokers, tables: &str) -> Cluster {
    let settings = [SIGNED, (FILE, tables)];
    match brokers {
        Brokers::Memory => Cluster::memory(3, &settings).await,
        Brokers::Redis => Cluster::redis(3, &settings).await,
    }
}

/// The sum of a figure over all nodes and webhooks.
pub(crate) async fn sum(cluster: &Cluster, metric: &str) -> f64 {
    let mut sum = 0.0;
    for node in 0..cluster.len() {
        let answer = http::try_get(cluster.ops(node), "/metrics").await;
        let text = answer.expect("metrics").body;
        let lines = text.lines().filter(|line| line.starts_with(metric));
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        sum += values.sum::<f64>();
    }
    sum
}
