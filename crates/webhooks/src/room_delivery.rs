//! One room's delivery to one webhook. Each event is tried until the endpoint accepts it or it is
//! given up; only then comes the next.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hubbub_broker::{BrokerError, Item, Mark};
use hubbub_protocol::RoomId;
use tokio::time::sleep;
use tracing::{debug, error, warn};

use crate::endpoint::Endpoint;
use crate::post::Post;
use crate::retry::Retry;

/// Items read at once. They are held until they are delivered.
const PAGE: usize = 16;
/// Pages delivered before other rooms get their turn.
const PAGES: usize = 32;
/// Deliveries, and the time, after which the mark is moved. At most so many are repeated after a node's
/// death.
const UNMARKED: usize = 8;
const UNMARKED_TIME: Duration = Duration::from_millis(500);
/// An event that was read longer ago is read again before it is posted, because its message may have
/// been deleted or edited since.
const FRESH: Duration = Duration::from_millis(5);
/// The longest pause between two tries to read an event or to move a mark while Redis is away. The
/// pause is random, up to this.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// One room that waits for one webhook.
pub(crate) struct RoomDelivery {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) room: RoomId,
}

/// The result of delivering an event.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// Delivered, given up, or gone from the stream.
    Done,
    /// The node stops, or no longer owns the partition. Another node takes over.
    Left,
}

impl RoomDelivery {
    /// Runs until nothing waits in this room, or until other rooms must get their turn.
    pub(crate) async fn run(self) {
        for _ in 0..PAGES {
            match self.deliver_page().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return self.wait_behind(&error).await,
            }
        }
    }

    /// Handles a read error. A room that cannot be read loses its turn, so that it does not hold up the
    /// others.
    async fn wait_behind(&self, error: &BrokerError) {
        let Endpoint { broker, queue, .. } = &*self.endpoint;
        let webhook = &queue.name;
        match error {
            BrokerError::Unexpected(_) => {
                if let Some(now) = self.endpoint.unreadable.fail(error) {
                    error!(webhook, room = %self.room, %error, failures = now.failures,
                        lasted = ?now.lasted, "events of a room unreadable, its deliveries wait");
                }
                // The default mark moves no mark back. If this call fails too, the room keeps its place.
                drop(broker.told(queue, &self.room, Mark::default()).await);
            }
            BrokerError::BadUrl(_)
            | BrokerError::Unfit(_)
            | BrokerError::TooManyRules
            | BrokerError::Unreconciled
            | BrokerError::Unavailable(_)
            | BrokerError::Unknown(_) => {
                debug!(webhook, room = %self.room, %error, "delivery interrupted, the room waits for its next turn");
            }
        }
    }

    /// Delivers one page. Returns whether the room has more.
    async fn deliver_page(&self) -> Result<bool, BrokerError> {
        let Endpoint { broker, queue, .. } = &*self.endpoint;
        let Some(due) = broker.due(queue, &self.room, PAGE).await? else {
            // Nothing waits any more, because another owner was quicker.
            return broker.told(queue, &self.room, Mark::default()).await;
        };
        self.count_lost(due.lost);
        let read_at = Instant::now();
        let mut mark = due.from;
        let (mut unmarked, mut marked) = (0, Instant::now());
        for item in &due.items {
            if queue.wants(item.event()) {
                if self.deliver(item, read_at).await? == Outcome::Left {
                    self.move_mark(mark).await?;
                    return Ok(false);
                }
                unmarked += 1;
            }
            match item {
                Item::Event(event) => mark.offset = event.position.offset,
                Item::Attended(attended) => mark.step = attended.step,
            }
            if unmarked >= UNMARKED || (unmarked > 0 && marked.elapsed() > UNMARKED_TIME) {
                self.move_mark(mark).await?;
                (unmarked, marked) = (0, Instant::now());
            }
        }
        self.move_mark(due.through).await
    }

    /// Moves the mark and returns whether the room has more. It retries while Redis is away, because
    /// events behind an unmoved mark are delivered again.
    async fn move_mark(&self, mark: Mark) -> Result<bool, BrokerError> {
        let Endpoint { broker, queue, .. } = &*self.endpoint;
        loop {
            match broker.told(queue, &self.room, mark).await {
                Err(BrokerError::Unavailable(_) | BrokerError::Unknown(_))
                    if self.may_deliver() =>
                {
                    sleep(RETRY_PAUSE.mul_f64(fastrand::f64())).await;
                }
                told => return told,
            }
        }
    }

    fn may_deliver(&self) -> bool {
        !self.endpoint.stopping.is_cancelled() && self.endpoint.broker.tells(&self.room)
    }

    /// Reads an event again, so that a body that was deleted or replaced meanwhile is not posted.
    /// Returns `None` if it has left the stream. While Redis is away, this waits as long as this node
    /// may deliver.
    async fn reread(&self, item: &Item) -> Result<Option<Item>, BrokerError> {
        let Item::Event(event) = item else {
            return Ok(Some(item.clone()));
        };
        loop {
            let read = self.endpoint.broker.event_at(&self.room, &event.position);
            match read.await {
                Err(BrokerError::Unavailable(_) | BrokerError::Unknown(_))
                    if self.may_deliver() =>
                {
                    sleep(RETRY_PAUSE.mul_f64(fastrand::f64())).await;
                }
                read => return Ok(read?.map(Item::Event)),
            }
        }
    }

    /// The post with the newest form of an item, or `None` if the event has left the stream, which is
    /// counted.
    async fn current(&self, item: &Item, read_at: Instant) -> Result<Option<Post>, BrokerError> {
        if read_at.elapsed() < FRESH {
            return Ok(Some(Post::new(&self.room, item)));
        }
        let current = self.reread(item).await?;
        if current.is_none() {
            self.count_lost(1);
        }
        Ok(current.map(|item| Post::new(&self.room, &item)))
    }

    async fn deliver(&self, item: &Item, read_at: Instant) -> Result<Outcome, BrokerError> {
        let endpoint = &*self.endpoint;
        let mut retry = Retry::new();
        loop {
            let turn = async {
                (
                    endpoint.requests.acquire().await,
                    endpoint.breaker.turn().await,
                )
            };
            let Some((permit, turn)) = endpoint.stopping.run_until_cancelled(turn).await else {
                return Ok(Outcome::Left);
            };
            if !self.may_deliver() {
                return Ok(Outcome::Left);
            }
            let Some(post) = self.current(item, read_at).await? else {
                return Ok(Outcome::Done);
            };
            let failure = match endpoint.poster.post(&post).await {
                Ok(()) => {
                    turn.succeed();
                    endpoint.metrics.delivered.inc();
                    return Ok(Outcome::Done);
                }
                Err(failure) => failure,
            };
            turn.fail(&failure);
            drop(permit);
            endpoint.metrics.failed_attempts.inc();
            let webhook = &endpoint.queue.name;
            debug!(webhook, id = post.id, %failure, "delivery attempt failed");
            let Some(pause) = retry.fail(endpoint.give_up_after, failure.retry_after()) else {
                endpoint.metrics.dead_letters.inc();
                if let Some(now) = endpoint.dead_letters.fail(&failure) {
                    error!(webhook, id = post.id, event = post.event, tries = retry.tries, %failure,
                        dead_letters = now.failures, "event given up, it is a dead letter");
                }
                return Ok(Outcome::Done);
            };
            let paused = endpoint.stopping.run_until_cancelled(sleep(pause)).await;
            if paused.is_none() {
                return Ok(Outcome::Left);
            }
        }
    }

    fn count_lost(&self, events: u64) {
        if events > 0 {
            let webhook = &self.endpoint.queue.name;
            self.endpoint.metrics.dropped.inc_by(events);
            if let Some(now) = self.endpoint.lost.fail(&self.room) {
                warn!(webhook, room = %self.room, events, times = now.failures,
                    "events left the room's stream before they were delivered");
            }
        }
    }
}
