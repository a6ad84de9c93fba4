//! One room's deliveries to one webhook: one event after the other, each until it is taken or given up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hubbub_broker::{BrokerError, Due, Mark, Tiding};
use hubbub_protocol::RoomId;
use tokio::time::sleep;
use tracing::{debug, error, warn};

use crate::courier::Courier;
use crate::post::Post;
use crate::trial::Trial;

/// Events, and joins and leaves, that are read at once: they are held until they are delivered.
const PAGE: usize = 16;
/// Pages after which other rooms have their turn.
const PAGES: usize = 32;
/// Deliveries, and how long, until the mark is moved: so many are made again after a node's death.
const UNMARKED: usize = 8;
const UNMARKED_TIME: Duration = Duration::from_millis(500);
/// Between two tries to move a mark while Redis is away; times a random number up to 1.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// One room that waits for one webhook.
pub(crate) struct Lane {
    pub(crate) courier: Arc<Courier>,
    pub(crate) room: RoomId,
}

/// What became of an event.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// Delivered, or given up.
    Done,
    /// The node stops, or is not the owner any more: somebody else goes on.
    Left,
}

impl Lane {
    /// Until nothing waits here, or others must have their turn.
    pub(crate) async fn run(self) {
        for _ in 0..PAGES {
            match self.deliver_page().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return self.wait_behind(&error).await,
            }
        }
    }

    /// A room that cannot be read is not to hold up the others.
    async fn wait_behind(&self, error: &BrokerError) {
        let Courier { broker, queue, .. } = &*self.courier;
        let webhook = &queue.name;
        match error {
            BrokerError::Unexpected(_) => {
                error!(webhook, room = %self.room, %error, "cannot read what to deliver");
                // Moves no mark back. If that fails too, the room stays where it is.
                drop(broker.told(queue, &self.room, Mark::default()).await);
            }
            BrokerError::BadUrl(_)
            | BrokerError::Unfit(_)
            | BrokerError::TooManyRules
            | BrokerError::NoLife
            | BrokerError::Unavailable(_)
            | BrokerError::Unknown(_) => {
                debug!(webhook, room = %self.room, %error, "cannot deliver now");
            }
        }
    }

    /// Says whether there is more to be done here.
    async fn deliver_page(&self) -> Result<bool, BrokerError> {
        let Courier { broker, queue, .. } = &*self.courier;
        let Some(due) = broker.due(queue, &self.room, PAGE).await? else {
            // Nothing waits any more: another owner was quicker.
            return broker.told(queue, &self.room, Mark::default()).await;
        };
        self.count_lost(&due);
        let mut mark = due.from;
        let (mut unmarked, mut marked) = (0, Instant::now());
        for tiding in &due.tidings {
            if queue.wants(tiding.event()) {
                if self.deliver(tiding).await == Outcome::Left {
                    self.tell(mark).await?;
                    return Ok(false);
                }
                unmarked += 1;
            }
            match tiding {
                Tiding::Event(event) => mark.offset = event.position.offset,
                Tiding::Attended(attended) => mark.step = attended.step,
            }
            if unmarked >= UNMARKED || (unmarked > 0 && marked.elapsed() > UNMARKED_TIME) {
                self.tell(mark).await?;
                (unmarked, marked) = (0, Instant::now());
            }
        }
        self.tell(due.through).await
    }

    /// Moves the mark; while Redis is away again and again, since what was delivered would be
    /// delivered once more.
    async fn tell(&self, mark: Mark) -> Result<bool, BrokerError> {
        let Courier { broker, queue, .. } = &*self.courier;
        loop {
            match broker.told(queue, &self.room, mark).await {
                Err(BrokerError::Unavailable(_) | BrokerError::Unknown(_)) if self.goes_on() => {
                    sleep(RETRY_PAUSE.mul_f64(fastrand::f64())).await;
                }
                told => return told,
            }
        }
    }

    fn goes_on(&self) -> bool {
        !self.courier.stopping.is_cancelled() && self.courier.broker.tells(&self.room)
    }

    async fn deliver(&self, tiding: &Tiding) -> Outcome {
        let courier = &*self.courier;
        let post = Post::new(&self.room, tiding);
        let mut trial = Trial::new();
        loop {
            let turn = async {
                (
                    courier.requests.acquire().await,
                    courier.breaker.turn().await,
                )
            };
            let Some((permit, turn)) = courier.stopping.run_until_cancelled(turn).await else {
                return Outcome::Left;
            };
            if !self.goes_on() {
                return Outcome::Left;
            }
            let failure = match courier.poster.post(&post).await {
                Ok(()) => {
                    turn.succeed();
                    courier.metrics.delivered.inc();
                    return Outcome::Done;
                }
                Err(failure) => failure,
            };
            turn.fail(&failure);
            drop(permit);
            courier.metrics.failed_attempts.inc();
            let webhook = &courier.queue.name;
            debug!(webhook, id = post.id, %failure, "not delivered");
            let Some(pause) = trial.fail(courier.give_up_after, failure.retry_after()) else {
                courier.metrics.dead_letters.inc();
                error!(webhook, id = post.id, event = post.event, tries = trial.tries, %failure,
                    "given up: a dead letter");
                return Outcome::Done;
            };
            let paused = courier.stopping.run_until_cancelled(sleep(pause)).await;
            if paused.is_none() {
                return Outcome::Left;
            }
        }
    }

    fn count_lost(&self, due: &Due) {
        if due.lost > 0 {
            let webhook = &self.courier.queue.name;
            self.courier.metrics.dropped.inc_by(due.lost);
            warn!(webhook, room = %self.room, events = due.lost,
                "they left the room's stream before they were delivered");
        }
    }
}
