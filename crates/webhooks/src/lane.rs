//! One room's deliveries to one webhook: one event after the other, each until it is taken or given up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hubbub_broker::{BrokerError, Mark, Tiding};
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
/// An event that was read longer ago is read again before it is posted: its message may have been
/// deleted or edited since.
const FRESH: Duration = Duration::from_millis(5);
/// Between two tries to read an event or to move a mark while Redis is away; times a random number up to 1.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// One room that waits for one webhook.
pub(crate) struct Lane {
    pub(crate) courier: Arc<Courier>,
    pub(crate) room: RoomId,
}

/// The result of delivering an event.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// Delivered, given up, or gone from the stream.
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
                if let Some(now) = self.courier.unreadable.fail(error) {
                    error!(webhook, room = %self.room, %error, failures = now.failures,
                        lasted = ?now.lasted, "cannot read the events to deliver");
                }
                // Moves no mark back. If that fails too, the room stays where it is.
                drop(broker.told(queue, &self.room, Mark::default()).await);
            }
            BrokerError::BadUrl(_)
            | BrokerError::Unfit(_)
            | BrokerError::TooManyRules
            | BrokerError::Unreconciled
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
        self.count_lost(due.lost);
        let read_at = Instant::now();
        let mut mark = due.from;
        let (mut unmarked, mut marked) = (0, Instant::now());
        for tiding in &due.tidings {
            if queue.wants(tiding.event()) {
                if self.deliver(tiding, read_at).await? == Outcome::Left {
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

    /// Reads an event again, so that a body that was deleted or replaced meanwhile is not posted.
    /// `None`: it has left the stream. While Redis is away this waits, as long as the node delivers.
    async fn reread(&self, tiding: &Tiding) -> Result<Option<Tiding>, BrokerError> {
        let Tiding::Event(event) = tiding else {
            return Ok(Some(tiding.clone()));
        };
        loop {
            let read = self.courier.broker.event_at(&self.room, &event.position);
            match read.await {
                Err(BrokerError::Unavailable(_) | BrokerError::Unknown(_)) if self.goes_on() => {
                    sleep(RETRY_PAUSE.mul_f64(fastrand::f64())).await;
                }
                read => return Ok(read?.map(Tiding::Event)),
            }
        }
    }

    /// The newest form of an event to be posted; `None`: it is gone, which is counted.
    async fn current(
        &self,
        tiding: &Tiding,
        read_at: Instant,
    ) -> Result<Option<Post>, BrokerError> {
        if read_at.elapsed() < FRESH {
            return Ok(Some(Post::new(&self.room, tiding)));
        }
        let current = self.reread(tiding).await?;
        if current.is_none() {
            self.count_lost(1);
        }
        Ok(current.map(|tiding| Post::new(&self.room, &tiding)))
    }

    async fn deliver(&self, tiding: &Tiding, read_at: Instant) -> Result<Outcome, BrokerError> {
        let courier = &*self.courier;
        let mut trial = Trial::new();
        loop {
            let turn = async {
                (
                    courier.requests.acquire().await,
                    courier.breaker.turn().await,
                )
            };
            let Some((permit, turn)) = courier.stopping.run_until_cancelled(turn).await else {
                return Ok(Outcome::Left);
            };
            if !self.goes_on() {
                return Ok(Outcome::Left);
            }
            let Some(post) = self.current(tiding, read_at).await? else {
                return Ok(Outcome::Done);
            };
            let failure = match courier.poster.post(&post).await {
                Ok(()) => {
                    turn.succeed();
                    courier.metrics.delivered.inc();
                    return Ok(Outcome::Done);
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
                if let Some(now) = courier.dead_letters.fail(&failure) {
                    error!(webhook, id = post.id, event = post.event, tries = trial.tries, %failure,
                        dead_letters = now.failures, "gave up an event, it is a dead letter");
                }
                return Ok(Outcome::Done);
            };
            let paused = courier.stopping.run_until_cancelled(sleep(pause)).await;
            if paused.is_none() {
                return Ok(Outcome::Left);
            }
        }
    }

    fn count_lost(&self, events: u64) {
        if events > 0 {
            let webhook = &self.courier.queue.name;
            self.courier.metrics.dropped.inc_by(events);
            if let Some(now) = self.courier.lost.fail(&self.room) {
                warn!(webhook, room = %self.room, events, times = now.failures,
                    "events left the room's stream before they were delivered");
            }
        }
    }
}
