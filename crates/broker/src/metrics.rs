//! The broker's figures.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// What one node's broker counts; clones share the figures.
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
    /// Seconds from the publish call to the broker's answer.
    publish_seconds: Histogram,
}

impl Default for BrokerMetrics {
    fn default() -> Self {
        Self {
            redis_up: Gauge::default(),
            subscription_up: Gauge::default(),
            reconnects: Counter::default(),
            subscriptions: Gauge::default(),
            overflows: Counter::default(),
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
            "packets that found a full queue and put their room in doubt",
            self.overflows.clone(),
        );
        registry.register(
            "publish_seconds",
            "time from a publish call to the broker's answer",
            self.publish_seconds.clone(),
        );
    }

    pub(crate) fn observe_publish(&self, took: Duration) {
        self.publish_seconds.observe(took.as_secs_f64());
    }
}
