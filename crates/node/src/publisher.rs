//! From sessions to the broker: one publish in flight for a room, what queues meanwhile goes in
//! the next one.
//!
//! That keeps each sender's order even over retries. In a busy room, or on a busy node, sends also
//! wait some milliseconds for each other ([`crate::batching`]). A send is answered by its deadline: with
//! its place, or with `unavailable` (certainly not stored) or `unknown` (perhaps stored).

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use hubbub_broker::{Broker, BrokerError, Place, Published};
use hubbub_protocol::command::RequestId;
use hubbub_protocol::frame::ServerFrame;
use hubbub_protocol::{AckLevel, Draft, Frame, MessageId, Position, RoomId, StoredEvent};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::timeout_at;
use tracing::debug;

use crate::address::line_of;
use crate::error::{CommandError, UNREADABLE};
use crate::node::Node;
use crate::outbox::DueAnswer;
use crate::posts::Receipt;
use crate::reconcile::Need;

/// Bytes of sends that wait for the broker on one node; beyond: `unavailable`.
const PENDING_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of one publish call.
const BATCH_BYTES: usize = 512 * 1024;
/// How often a room is reconciled for one publish.
const RECONCILIATIONS: usize = 4;
/// After a publish failed at once, before the next try.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// A send that waits for its place.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) draft: Draft,
    /// The level that the answer promises, if it is reached by the deadline.
    pub(crate) ack: AckLevel,
    pub(crate) answer: Answer,
    pub(crate) deadline: Instant,
    /// A call that held it got no answer.
    pub(crate) may_be_stored: bool,
}

/// The waiter for an answer.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A client that gets it in its place among everything else.
    Session {
        id: Option<RequestId>,
        due: DueAnswer,
        /// Bounds what one connection has in flight.
        _permit: OwnedSemaphorePermit,
    },
    /// Someone without a session, who may have gone.
    Caller(oneshot::Sender<Result<Receipt, CommandError>>),
}

/// The queues of all rooms that something is being sent to.
#[derive(Debug, Default)]
pub(crate) struct Publisher(Mutex<Queues>);

#[derive(Debug, Default)]
struct Queues {
    by_room: HashMap<RoomId, VecDeque<Pending>>,
    bytes: usize,
}

impl Publisher {
    /// Queues a send. Returns whether the room's queue was not being worked on.
    fn push(&self, room: &RoomId, pending: Pending) -> Result<bool, Box<Pending>> {
        let mut queues = self.0.lock();
        if queues.bytes + pending.draft.open.len() > PENDING_BYTES {
            return Err(Box::new(pending));
        }
        queues.bytes += pending.draft.open.len();
        let is_new = !queues.by_room.contains_key(room);
        queues
            .by_room
            .entry(room.clone())
            .or_default()
            .push_back(pending);
        Ok(is_new)
    }

    /// The next batch; empty when the room has nothing more, and is forgotten. Deletions are in batches
    /// of their own, since a full Redis takes only those.
    fn take(&self, room: &RoomId) -> Vec<Pending> {
        let mut queues = self.0.lock();
        let Some(queue) = queues.by_room.get_mut(room) else {
            return Vec::new();
        };
        let mut bytes = 0;
        let mut batch: Vec<Pending> = Vec::new();
        while let Some(next) = queue.front() {
            bytes += next.draft.open.len();
            let is_full = batch.len() == Broker::BATCH || bytes > BATCH_BYTES;
            let is_other = |first: &Pending| first.draft.is_deletion() != next.draft.is_deletion();
            if batch
                .first()
                .is_some_and(|first| is_full || is_other(first))
            {
                break;
            }
            batch.extend(queue.pop_front());
        }
        if batch.is_empty() {
            queues.by_room.remove(room);
        }
        queues.bytes -= batch
            .iter()
            .map(|pending| pending.draft.open.len())
            .sum::<usize>();
        batch
    }

    /// Forgets the room's queue: what waits in it is not answered any more.
    fn forget(&self, room: &RoomId) {
        let mut queues = self.0.lock();
        let waiting = queues.by_room.remove(room).unwrap_or_default();
        let bytes: usize = waiting.iter().map(|pending| pending.draft.open.len()).sum();
        queues.bytes -= bytes;
        drop(queues);
        // Outside the lock, since each lets go of its outbox.
        drop(waiting);
    }

    /// Puts sends back in front, in their order.
    fn put_back(&self, room: &RoomId, batch: Vec<Pending>) {
        let mut queues = self.0.lock();
        queues.bytes += batch
            .iter()
            .map(|pending| pending.draft.open.len())
            .sum::<usize>();
        let queue = queues.by_room.entry(room.clone()).or_default();
        for pending in batch.into_iter().rev() {
            queue.push_front(pending);
        }
    }
}

/// A queue that somebody works on. Dropped before it is empty, the node stops or the work has
/// panicked: whoever sends next begins anew.
struct WorkedOn {
    node: Arc<Node>,
    room: RoomId,
    is_done: bool,
}

impl Drop for WorkedOn {
    fn drop(&mut self) {
        if !self.is_done {
            self.node.publisher.forget(&self.room);
        }
    }
}

impl WorkedOn {
    async fn work_off(mut self) {
        let (node, room) = (&*self.node, &self.room);
        let mut is_first = true;
        loop {
            let here = node.hub.room(room);
            let busy = here.as_ref().filter(|here| here.is_busy());
            match busy {
                Some(busy) if busy.has_published(&node.batch_tick) => {
                    node.batch_tick.next().await;
                    // Senders rest until then too: what they say now is in it.
                    make_way().await;
                }
                None if is_first => node.node_batching.wait().await,
                // A busy room's first of this batch interval, or what came while others were on their way.
                Some(_) | None => {}
            }
            is_first = false;
            let batch = node.publisher.take(room);
            let Some(deadline) = batch.iter().map(|pending| pending.deadline).min() else {
                break;
            };
            if let Some(here) = &here {
                here.count_sends(batch.len());
            }
            if busy.is_none() {
                node.node_batching.count(batch.len());
            }
            let drafts: Vec<Draft> = batch.iter().map(|pending| pending.draft.clone()).collect();
            match node.store(room, &drafts, deadline).await {
                Ok(outcomes) => {
                    let nonces = batch.iter().map(|pending| &pending.draft.nonce);
                    node.config.failpoints.after_publish(nonces);
                    for (pending, outcome) in batch.into_iter().zip(outcomes) {
                        self.node.answer(room, pending, outcome);
                    }
                }
                Err(error) => node.retry_later(room, batch, &error, deadline).await,
            }
        }
        // Empty, and forgotten: somebody else may have begun another one by now.
        self.is_done = true;
    }
}

/// Lets every task run once that could run already, without a look at the sockets.
async fn make_way() {
    let mut has_waited = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Node {
    /// Takes a send; its answer goes into its outbox by its deadline.
    pub(crate) fn publish(self: &Arc<Self>, room: &RoomId, pending: Pending) {
        match self.publisher.push(room, pending) {
            Ok(false) => {}
            Ok(true) => {
                let queue = WorkedOn {
                    node: Arc::clone(self),
                    room: room.clone(),
                    is_done: false,
                };
                self.spawn(async move { queue.work_off().await });
            }
            Err(pending) => pending.fail(CommandError::Unavailable),
        }
    }

    /// The address, or the IPv6 /56 network, that pays for the room if it begins now. `None`: the settings
    /// name the room, so it is everybody's.
    pub(crate) fn payer_of(&self, room: &RoomId, address: Option<IpAddr>) -> Option<IpAddr> {
        let address = address.filter(|_| !self.config.is_named(room));
        address.map(line_of)
    }

    /// Publishes, once the room's stream is known to be what was seen of it.
    pub(crate) async fn store(
        &self,
        room: &RoomId,
        drafts: &[Draft],
        deadline: Instant,
    ) -> Result<Vec<Published>, BrokerError> {
        let seen = || self.newest_seen(room);
        for _ in 0..RECONCILIATIONS {
            match self.broker.publish(room, drafts, &seen, deadline).await {
                Err(BrokerError::Unreconciled) => {
                    let reconciled = timeout_at(deadline.into(), self.reconcile(room, Need::Store));
                    let late = |_| {
                        BrokerError::Unavailable("the room was not compared in time".to_owned())
                    };
                    reconciled.await.map_err(late)??;
                }
                Ok(outcomes) => {
                    self.remember(room, drafts, &outcomes);
                    return Ok(outcomes);
                }
                Err(error) => return Err(error),
            }
        }
        Err(BrokerError::Unavailable(
            "the room's stream changes again and again".to_owned(),
        ))
    }

    /// Remembers the newest place that was given.
    fn remember(&self, room: &RoomId, drafts: &[Draft], outcomes: &[Published]) {
        let stored = drafts.iter().zip(outcomes).rev();
        let mut newest = stored.filter_map(|(draft, outcome)| match outcome {
            Published::Stored { position, .. } => Some(Place {
                position: position.clone(),
                message: Some(draft.message.clone()),
            }),
            Published::Duplicate { .. } | Published::Gone | Published::Crowded => None,
        });
        if let Some(place) = newest.next() {
            self.places.note(room, place);
        }
    }

    /// Answers a send that has a place, or is refused for good.
    fn answer(self: &Arc<Self>, room: &RoomId, pending: Pending, outcome: Published) {
        let place = match outcome {
            Published::Stored { position, ts } => SentPlace {
                message: Some(pending.draft.message.clone()),
                position,
                ts: Some(ts),
                duplicate: false,
            },
            Published::Duplicate { position, original } => {
                match pending.place_of(room, position, original.as_ref()) {
                    Ok(place) => place,
                    Err(error) => return pending.fail(error),
                }
            }
            Published::Gone => return pending.fail(CommandError::NotFound),
            Published::Crowded => return pending.fail(CommandError::Crowded),
        };
        if pending.ack == AckLevel::Stream {
            return pending.acknowledge(room, &place, AckLevel::Stream);
        }
        let (node, room) = (Arc::clone(self), room.clone());
        self.spawn(async move {
            let (ack, deadline) = (pending.ack, pending.deadline);
            let reached = node.reached(&room, &place.position, ack, deadline).await;
            pending.acknowledge(&room, &place, reached);
        });
    }

    /// Requeues the sends whose deadline has not passed, in order. Nonces make the retry safe. An error
    /// before the call's own `deadline` is a refusal, and it is told at once.
    async fn retry_later(
        &self,
        room: &RoomId,
        batch: Vec<Pending>,
        error: &BrokerError,
        deadline: Instant,
    ) {
        let now = Instant::now();
        let is_refused = now < deadline;
        debug!(%room, %error, is_refused, "publish failed");
        let may_be_stored = !matches!(error, BrokerError::Unavailable(_));
        let mut left = Vec::new();
        for mut pending in batch {
            pending.may_be_stored |= may_be_stored;
            if !is_refused && pending.deadline > now + RETRY_PAUSE {
                left.push(pending);
            } else if pending.may_be_stored {
                pending.fail(CommandError::Unknown);
            } else {
                pending.fail(CommandError::Unavailable);
            }
        }
        if !left.is_empty() {
            self.publisher.put_back(room, left);
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}

/// Where a send is, as its answer says.
struct SentPlace {
    position: Position,
    message: Option<MessageId>,
    ts: Option<u64>,
    duplicate: bool,
}

impl Pending {
    /// The place of the first send under the same nonce, if that said the same.
    fn place_of(
        &self,
        room: &RoomId,
        position: Position,
        original: Option<&Frame>,
    ) -> Result<SentPlace, CommandError> {
        let original = original.map(|frame| StoredEvent::parse(frame.as_str()));
        let original = original.transpose().map_err(|error| {
            if let Some(now) = UNREADABLE.fail(&error) {
 tracing::error!(%room, %error, events = now.failures, "the stream holds an event that cannot be read");
}
            CommandError::Internal
        })?;
        if original
            .as_ref()
            .is_some_and(|event| !self.draft.is_stored_as(event))
        {
            return Err(CommandError::Conflict);
        }
        let (message, ts) = original.map(|event| (event.message, event.ts)).unzip();
        Ok(SentPlace {
            position,
            message,
            ts,
            duplicate: true,
        })
    }

    fn acknowledge(self, room: &RoomId, place: &SentPlace, reached: AckLevel) {
        match self.answer {
            Answer::Session { id, due, .. } => due.give(place.sent(id.as_ref(), room, reached)),
            Answer::Caller(caller) => {
                let receipt = Receipt {
                    frame: place.sent(None, room, reached),
                    duplicate: place.duplicate,
                };
                // A caller who has gone needs no receipt.
                drop(caller.send(Ok(receipt)));
            }
        }
    }

    fn fail(self, error: CommandError) {
        match self.answer {
            Answer::Session { id, due, .. } => due.give(error.to_wire(id.as_ref())),
            Answer::Caller(caller) => drop(caller.send(Err(error))),
        }
    }
}

impl SentPlace {
    fn sent(&self, id: Option<&RequestId>, room: &RoomId, reached: AckLevel) -> Frame {
        Frame::encode(&ServerFrame::Sent {
            id,
            room,
            epoch: &self.position.epoch,
            offset: self.position.offset,
            message: self.message.as_ref(),
            ts: self.ts,
            duplicate: self.duplicate,
            ack: reached.as_str(),
        })
    }
}
