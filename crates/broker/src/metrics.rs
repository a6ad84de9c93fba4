//! The broker's figures.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The metrics of one node's broker; clones share the values.
#[derive(Debug, Clone)]
pub struct BrokerMetrics {
    /// 1 while commands to Redis are answered.
    pub(crate) redis_up: Gauge,
    /// 1 while the subscription brings the node's own probe.
    pub(crate) subscription_up: Gauge,
    /// Times that a connection to Redis had to be made again.
    pub(crate) reconnects: Counter,
    /// Rooms that the node is subscribed to.
    pub(crate) subscriptions: Gauge,
    /// Packets that found a full queue.
    pub(crate) overflows: Counter,
    /// Bytes that Redis uses, and its `maxmemory`; 0: it has no limit, or does not say.
    redis_memory: Gauge,
    redis_memory_limit: Gauge,
    /// Bytes of all streams, and how many they may have; 0: this node does not keep the budgets, or
    /// there is no limit.
    stream_bytes: Gauge,
    stream_budget: Gauge,
    /// Streams that gave up events because they, or what belongs to one user or address, were too large.
    pub(crate) shed_streams: Counter,
    /// Seconds from the publish call to the broker's answer.
    publish_seconds: Histogram,
}

/// A number of bytes as gauges take it.
fn gauge(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

impl Default for BrokerMetrics {
    fn default() -> Self {
        Self {
            redis_up: Gauge::default(),
            subscription_up: Gauge::default(),
            reconnects: Counter::default(),
            subscriptions: Gauge::default(),
            overflows: Counter::default(),
            redis_memory: Gauge::default(),
            redis_memory_limit: Gauge::default(),
            stream_bytes: Gauge::default(),
            stream_budget: Gauge::default(),
            shed_streams: Counter::default(),
            publish_seconds: Histogram::new([
                0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                0.5, 1.0, 2.5,
            ]),
        }
    }
}

impl BrokerMetrics {
    /// Adds the figures to `registry`, which is expected to add the product's prefix.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "redis_up",
            "1 while Redis answers commands",
            self.redis_up.clone(),
        );
        registry.register(
            "subscription_up",
            "1 while the subscription brings the node's own probe",
            self.subscription_up.clone(),
        );
        registry.register(
            "redis_reconnects",
            "connections to Redis made again",
            self.reconnects.clone(),
        );
        registry.register(
            "subscriptions",
            "rooms that the node is subscribed to",
            self.subscriptions.clone(),
        );
        registry.register(
            "inbox_overflows",
            "packets that found a full queue, so that their room was read again",
            self.overflows.clone(),
        );
        registry.register(
            "redis_memory_bytes",
            "memory that Redis uses, as it counts against its limit",
            self.redis_memory.clone(),
        );
        registry.register(
            "redis_memory_limit_bytes",
            "maxmemory of Redis; 0: no limit",
            self.redis_memory_limit.clone(),
        );
        registry.register(
            "stream_bytes",
            "bytes of all rooms' streams, told by the node that keeps the budgets; 0 on the others",
            self.stream_bytes.clone(),
        );
        registry.register(
            "stream_budget_bytes",
            "bytes that all rooms' streams may have together; 0: no limit, or another node keeps it",
            self.stream_budget.clone(),
        );
        registry.register(
            "shed_streams",
            "times a stream gave up its oldest events since the cluster, a user or an address had too many",
            self.shed_streams.clone(),
        );
        registry.register(
            "publish_seconds",
            "time from a publish call to the broker's answer",
            self.publish_seconds.clone(),
        );
    }

    pub(crate) fn set_redis_memory(&self, used: u64, limit: u64) {
        self.redis_memory.set(gauge(used));
        self.redis_memory_limit.set(gauge(limit));
    }

    /// All streams have so many bytes, of so many that they may have.
    pub(crate) fn set_streams(&self, bytes: u64, budget: Option<u64>) {
        self.stream_bytes.set(gauge(bytes));
        self.stream_budget.set(gauge(budget.unwrap_or(0)));
    }

    pub(crate) fn observe_publish(&self, took: Duration) {
        self.publish_seconds.observe(took.as_secs_f64());
    }
}
