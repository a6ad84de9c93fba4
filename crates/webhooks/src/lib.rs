//! Posts the events of rooms to other services, by signed HTTP requests.
//!
//! Each webhook has a queue in the broker ([`hubbub_broker::WebhookQueue`]). Of all nodes the owner of a
//! room's partition delivers: in order in each room, at least once, and each webhook for itself.

mod breaker;
mod config;
mod courier;
mod lane;
mod metrics;
mod post;
mod poster;
mod secret;
mod trial;

use std::sync::Arc;

pub use config::{Webhook, WebhookError, check};
use hubbub_broker::Broker;
use hubbub_outage::Outage;
use prometheus_client::registry::Registry;
pub use secret::Secret;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::courier::{Courier, REQUESTS};
use crate::metrics::Metrics;
use crate::poster::Poster;

/// The deliveries of one node. Call [`Webhooks::stop`] before the broker is closed.
#[derive(Debug)]
pub struct Webhooks {
    metrics: Metrics,
    stopping: CancellationToken,
    couriers: JoinSet<()>,
}

impl Webhooks {
    /// Begins to deliver; needs a tokio runtime.
    ///
    /// # Errors
    /// [`WebhookError`] says what can never work.
    pub fn start(webhooks: &[Webhook], broker: &Broker) -> Result<Self, WebhookError> {
        check(webhooks)?;
        let metrics = Metrics::default();
        let stopping = CancellationToken::new();
        let mut couriers = JoinSet::new();
        for webhook in webhooks {
            let queue = webhook.queue();
            let courier = Courier {
                poster: Poster::new(webhook)?,
                give_up_after: webhook.give_up_after,
                breaker: breaker::Breaker::new(&queue.name),
                requests: Semaphore::new(REQUESTS),
                metrics: metrics.of(&queue.name),
                unreadable: Outage::new(),
                dead_letters: Outage::new(),
                lost: Outage::new(),
                broker: broker.clone(),
                stopping: stopping.clone(),
                queue,
            };
            couriers.spawn(Arc::new(courier).run());
        }
        Ok(Self {
            metrics,
            stopping,
            couriers,
        })
    }

    /// Adds the figures to `registry`, which is expected to add the product's prefix.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// Lets requests that are on their way end, for a few seconds, and begins no others. What is not
    /// delivered waits for the next owner.
    pub async fn stop(mut self) {
        self.stopping.cancel();
        while self.couriers.join_next().await.is_some() {}
    }
}
