//! One webhook on one node: looks for rooms that wait for it and gives each a lane.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hubbub_broker::{Broker, BrokerError, WebhookQueue};
use hubbub_outage::Outage;
use hubbub_protocol::RoomId;
use tokio::sync::Semaphore;
use tokio::task::{Id, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::breaker::Breaker;
use crate::lane::Lane;
use crate::metrics::WebhookMetrics;
use crate::poster::Poster;

/// Requests that are on their way at once; the others wait.
pub(crate) const REQUESTS: usize = 16;
/// Rooms that are delivered at once: some of them may be waiting for their next try.
const LANES: usize = 4 * REQUESTS;
/// Rooms that are asked for: some of them may have a lane already.
const ROOMS: usize = 2 * LANES;
/// How often the queue is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// While Redis is away; times a random number up to 1.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How long requests that are on their way may take when the node stops.
const GRACE: Duration = Duration::from_secs(3);

/// Delivers to one endpoint.
#[derive(Debug)]
pub(crate) struct Courier {
    pub(crate) queue: WebhookQueue,
    pub(crate) broker: Broker,
    pub(crate) poster: Poster,
    pub(crate) give_up_after: Duration,
    pub(crate) breaker: Breaker,
    pub(crate) requests: Semaphore,
    pub(crate) metrics: WebhookMetrics,
    /// Rooms whose events cannot be read.
    pub(crate) unreadable: Outage,
    /// Events that were given up.
    pub(crate) dead_letters: Outage,
    /// Events that were gone before they were delivered.
    pub(crate) lost: Outage,
    /// Cancelled when no further request may be begun.
    pub(crate) stopping: CancellationToken,
}

/// Rooms that are being delivered.
#[derive(Debug, Default)]
struct Lanes {
    tasks: JoinSet<()>,
    rooms: HashMap<Id, RoomId>,
}

impl Lanes {
    fn is_full(&self) -> bool {
        self.rooms.len() >= LANES
    }

    fn has(&self, room: &RoomId) -> bool {
        self.rooms.values().any(|other| other == room)
    }

    /// Forgets those that have ended.
    fn reap(&mut self) {
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            let id = match ended {
                Ok((id, ())) => id,
                Err(failed) => {
                    error!(%failed, "a room's deliveries failed, they begin again");
                    failed.id()
                }
            };
            self.rooms.remove(&id);
        }
    }
}

impl Courier {
    /// Runs until the node stops, and then until no request is on its way.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut lanes = Lanes::default();
        let outage = Outage::new();
        let looks = async {
            loop {
                lanes.reap();
                match self.look(&mut lanes).await {
                    Ok(()) => {
                        if let Some(over) = outage.end() {
                            info!(webhook = self.queue.name, failures = over.failures,
                                lasted = ?over.lasted, "can look for events to deliver again");
                        }
                        sleep(LOOK_INTERVAL).await;
                    }
                    Err(error) => {
                        if let Some(now) = outage.fail(&error) {
                            warn!(webhook = self.queue.name, %error, failures = now.failures,
                                lasted = ?now.lasted, "cannot look for events to deliver");
                        }
                        sleep(RETRY_PAUSE.mul_f64(fastrand::f64())).await;
                    }
                }
            }
        };
        self.stopping.run_until_cancelled(looks).await;
        let ended = async { while lanes.tasks.join_next().await.is_some() {} };
        if timeout(GRACE, ended).await.is_err() {
            warn!(
                webhook = self.queue.name,
                "requests were cut off, they are made again"
            );
        }
    }

    async fn look(self: &Arc<Self>, lanes: &mut Lanes) -> Result<(), BrokerError> {
        let waiting = self.broker.waiting_for(&self.queue, ROOMS).await?;
        let oldest = waiting.rooms.first().map(|(_, since)| since_ms(*since));
        self.metrics.look(
            waiting.count,
            oldest.unwrap_or_default(),
            self.breaker.is_open(),
        );
        for (room, _) in waiting.rooms {
            if lanes.is_full() {
                break;
            }
            if lanes.has(&room) {
                continue;
            }
            let lane = Lane {
                courier: Arc::clone(self),
                room: room.clone(),
            };
            let task = lanes.tasks.spawn(lane.run());
            lanes.rooms.insert(task.id(), room);
        }
        Ok(())
    }
}

/// From a time in milliseconds since 1970, by the broker's clock, to now, by ours.
fn since_ms(ms: u64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
        .saturating_sub(Duration::from_millis(ms))
}
