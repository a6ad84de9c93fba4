//! One webhook's endpoint, with the state that all its deliveries on this node share.

use std::time::Duration;

use hubbub_broker::{Broker, WebhookQueue};
use hubbub_outage::Outage;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::breaker::Breaker;
use crate::config::{Webhook, WebhookError};
use crate::metrics::WebhookMetrics;
use crate::poster::{Poster, REQUESTS};

/// One webhook's endpoint on this node.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) queue: WebhookQueue,
    pub(crate) broker: Broker,
    pub(crate) poster: Poster,
    pub(crate) give_up_after: Duration,
    pub(crate) breaker: Breaker,
    /// One permit per request in flight.
    pub(crate) requests: Semaphore,
    pub(crate) metrics: WebhookMetrics,
    /// Rooms whose events cannot be read.
    pub(crate) unreadable: Outage,
    /// Events that were given up.
    pub(crate) dead_letters: Outage,
    /// Events that left the stream before they were delivered.
    pub(crate) lost: Outage,
    /// Cancelled when no further request may start.
    pub(crate) stopping: CancellationToken,
}

impl Endpoint {
    /// # Errors
    /// The URL or the secret cannot be used, or the system has no CA certificates.
    pub(crate) fn new(
        webhook: &Webhook,
        queue: WebhookQueue,
        broker: Broker,
        metrics: WebhookMetrics,
        stopping: CancellationToken,
    ) -> Result<Self, WebhookError> {
        Ok(Self {
            poster: Poster::new(webhook)?,
            give_up_after: webhook.give_up_after,
            breaker: Breaker::new(&queue.name),
            requests: Semaphore::new(REQUESTS),
            metrics,
            unreadable: Outage::new(),
            dead_letters: Outage::new(),
            lost: Outage::new(),
            broker,
            stopping,
            queue,
        })
    }
}
