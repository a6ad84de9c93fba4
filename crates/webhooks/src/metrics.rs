//! The webhooks' metrics, each with the label `webhook`.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    webhook: String,
}

/// One node's metrics of all webhooks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    delivered: Family<Label, Counter>,
    failed_attempts: Family<Label, Counter>,
    dead_letters: Family<Label, Counter>,
    dropped: Family<Label, Counter>,
    waiting_rooms: Family<Label, Gauge>,
    lag: Family<Label, Gauge<f64, AtomicU64>>,
    broken: Family<Label, Gauge>,
}

/// One node's metrics of one webhook.
#[derive(Debug)]
pub(crate) struct WebhookMetrics {
    /// Events that the endpoint accepted.
    pub(crate) delivered: Counter,
    /// Requests that failed.
    pub(crate) failed_attempts: Counter,
    /// Events that were given up.
    pub(crate) dead_letters: Counter,
    /// Events that left the stream before they were delivered.
    pub(crate) dropped: Counter,
    waiting_rooms: Gauge,
    lag: Gauge<f64, AtomicU64>,
    broken: Gauge,
}

impl Metrics {
    pub(crate) fn of(&self, webhook: &str) -> WebhookMetrics {
        let label = Label {
            webhook: webhook.to_owned(),
        };
        WebhookMetrics {
            delivered: self.delivered.get_or_create_owned(&label),
            failed_attempts: self.failed_attempts.get_or_create_owned(&label),
            dead_letters: self.dead_letters.get_or_create_owned(&label),
            dropped: self.dropped.get_or_create_owned(&label),
            waiting_rooms: self.waiting_rooms.get_or_create_owned(&label),
            lag: self.lag.get_or_create_owned(&label),
            broken: self.broken.get_or_create_owned(&label),
        }
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "webhook_delivered",
            "events that a webhook's endpoint took",
            self.delivered.clone(),
        );
        registry.register(
            "webhook_failed_attempts",
            "requests to a webhook's endpoint that failed",
            self.failed_attempts.clone(),
        );
        registry.register(
            "webhook_dead_letters",
            "events given up because a webhook's endpoint did not take them",
            self.dead_letters.clone(),
        );
        registry.register(
            "webhook_dropped",
            "events that were gone before a webhook was told of them",
            self.dropped.clone(),
        );
        registry.register(
            "webhook_waiting_rooms",
            "rooms of this node's partitions in which a webhook has something to be told",
            self.waiting_rooms.clone(),
        );
        registry.register(
            "webhook_lag_seconds",
            "how long a room of this node's partitions has waited for a webhook without progress",
            self.lag.clone(),
        );
        registry.register(
            "webhook_broken",
            "1 while a webhook's endpoint fails at everything and is only asked now and then",
            self.broken.clone(),
        );
    }
}

impl WebhookMetrics {
    /// Sets the gauges after a look at the queue.
    pub(crate) fn look(&self, rooms: u64, oldest: Duration, is_broken: bool) {
        self.waiting_rooms
            .set(i64::try_from(rooms).unwrap_or(i64::MAX));
        self.lag.set(oldest.as_secs_f64());
        self.broken.set(i64::from(is_broken));
    }
}
