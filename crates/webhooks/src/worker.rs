//! One webhook on one node: the worker looks for waiting rooms and starts a delivery for each.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hubbub_broker::BrokerError;
use hubbub_outage::Outage;
use hubbub_protocol::RoomId;
use tokio::task::{Id, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use crate::endpoint::Endpoint;
use crate::poster::REQUESTS;
use crate::room_delivery::RoomDelivery;

/// Rooms delivered at once. There are more than requests, because some rooms wait for their next try.
const DELIVERIES: usize = 4 * REQUESTS;
/// Rooms read from the queue at once. Some of them may be in delivery already.
const ROOMS: usize = 2 * DELIVERIES;
/// How often the worker looks at the queue.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// The longest pause before the next look while Redis is away. The pause is random, up to this.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How long requests in flight may take when the node stops.
const GRACE: Duration = Duration::from_secs(3);

/// Delivers to one endpoint.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) endpoint: Arc<Endpoint>,
}

/// The rooms in delivery and their tasks.
#[derive(Debug, Default)]
struct Deliveries {
    tasks: JoinSet<()>,
    rooms: HashMap<Id, RoomId>,
}

impl Deliveries {
    fn is_full(&self) -> bool {
        self.rooms.len() >= DELIVERIES
    }

    fn has(&self, room: &RoomId) -> bool {
        self.rooms.values().any(|other| other == room)
    }

    /// Removes the rooms whose delivery has ended.
    fn reap(&mut self) {
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            let id = match ended {
                Ok((id, ())) => id,
                Err(failed) => {
                    error!(%failed, "a room's delivery panicked, it will be restarted");
                    failed.id()
                }
            };
            self.rooms.remove(&id);
        }
    }
}

impl Worker {
    /// Runs until the node stops, and then until the requests in flight have ended.
    pub(crate) async fn run(self) {
        let mut deliveries = Deliveries::default();
        let outage = Outage::new();
        let webhook = &self.endpoint.queue.name;
        let looks = async {
            loop {
                deliveries.reap();
                match self.look(&mut deliveries).await {
                    Ok(()) => {
                        if let Some(over) = outage.end() {
                            info!(webhook, failures = over.failures,
                                lasted = ?over.lasted, "webhook queue readable again");
                        }
                        sleep(LOOK_INTERVAL).await;
                    }
                    Err(error) => {
                        if let Some(now) = outage.fail(&error) {
                            warn!(webhook, %error, failures = now.failures,
                                lasted = ?now.lasted, "webhook queue unreadable, nothing is delivered");
                        }
                        sleep(RETRY_PAUSE.mul_f64(fastrand::f64())).await;
                    }
                }
            }
        };
        self.endpoint.stopping.run_until_cancelled(looks).await;
        let ended = async { while deliveries.tasks.join_next().await.is_some() {} };
        if timeout(GRACE, ended).await.is_err() {
            warn!(
                webhook,
                "requests were cut off at shutdown, the next owner repeats them"
            );
        }
    }

    async fn look(&self, deliveries: &mut Deliveries) -> Result<(), BrokerError> {
        let endpoint = &self.endpoint;
        let waiting = endpoint.broker.waiting_for(&endpoint.queue, ROOMS).await?;
        let oldest = waiting.rooms.first().map(|(_, since)| since_ms(*since));
        endpoint.metrics.look(
            waiting.count,
            oldest.unwrap_or_default(),
            endpoint.breaker.is_open(),
        );
        for (room, _) in waiting.rooms {
            if deliveries.is_full() {
                break;
            }
            if deliveries.has(&room) {
                continue;
            }
            let delivery = RoomDelivery {
                endpoint: Arc::clone(endpoint),
                room: room.clone(),
            };
            let task = deliveries.tasks.spawn(delivery.run());
            deliveries.rooms.insert(task.id(), room);
        }
        Ok(())
    }
}

/// The time since `ms`, in milliseconds since 1970 by the broker's clock, until now by this node's clock.
fn since_ms(ms: u64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
        .saturating_sub(Duration::from_millis(ms))
}
