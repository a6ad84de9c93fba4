//! Posts the events of rooms to other services, by signed HTTP requests.
//!
//! Each webhook has a queue in the broker ([`hubbub_broker::WebhookQueue`]). The owner of a room's
//! partition delivers the room's events. Delivery is at least once and in order per room. Webhooks do
//! not wait for each other.

mod breaker;
mod config;
mod endpoint;
mod metrics;
mod post;
mod poster;
mod retry;
mod room_delivery;
mod secret;
mod worker;

use std::sync::Arc;
use std::time::Duration;

pub use config::{Webhook, WebhookError, check};
use hubbub_broker::Broker;
use hubbub_supervisor::Supervisor;
use prometheus_client::registry::Registry;
pub use secret::Secret;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::endpoint::Endpoint;
use crate::metrics::Metrics;
use crate::worker::Worker;

/// How long the workers may take to stop: a little more than their requests may.
const STOP_PATIENCE: Duration = Duration::from_secs(4);

/// The deliveries of one node. Call [`Webhooks::stop`] before the broker is closed.
#[derive(Debug)]
pub struct Webhooks {
    metrics: Metrics,
    stopping: CancellationToken,
    workers: JoinSet<()>,
}

impl Webhooks {
    /// Starts one worker for each webhook. Needs a tokio runtime.
    ///
    /// # Errors
    /// The settings of a webhook are invalid, or the system has no CA certificates.
    pub fn start(
        webhooks: &[Webhook],
        broker: &Broker,
        supervisor: &Supervisor,
    ) -> Result<Self, WebhookError> {
        check(webhooks)?;
        let metrics = Metrics::default();
        let stopping = CancellationToken::new();
        let mut workers = JoinSet::new();
        for webhook in webhooks {
            let queue = webhook.queue();
            let metrics = metrics.of(&queue.name);
            let endpoint =
                Endpoint::new(webhook, queue, broker.clone(), metrics, stopping.clone())?;
            let endpoint = Arc::new(endpoint);
            let begin = move || {
                let endpoint = Arc::clone(&endpoint);
                Worker { endpoint }.run()
            };
            workers.spawn(supervisor.keep("webhooks", begin));
        }
        Ok(Self {
            metrics,
            stopping,
            workers,
        })
    }

    /// Adds the metrics to `registry`, which is expected to add the product's prefix.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// Starts no further requests and waits a few seconds for those in flight. Undelivered events wait
    /// for the next owner.
    pub async fn stop(mut self) {
        self.stopping.cancel();
        let ended = async { while self.workers.join_next().await.is_some() {} };
        if timeout(STOP_PATIENCE, ended).await.is_err() {
            // A worker that has panicked a moment ago still waits before it begins again.
            self.workers.shutdown().await;
        }
    }
}
