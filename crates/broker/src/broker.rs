//! [`Broker`]: the one line to all other nodes, whichever way it goes.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hubbub_protocol::frame::RoomSummary;
use hubbub_protocol::{
    ConnectionId, Draft, Envelope, Frame, Issued, NodeId, Order, Position, RoomId,
};

use hubbub_supervisor::Supervisor;
use tokio::sync::watch;

use crate::memory::MemoryBroker;
use crate::redis::RedisBroker;
use crate::{
    Answers, Attendance, BrokerConfig, BrokerError, BrokerMetrics, Claim, Due, Grant, Head, Inbox,
    Mark, MemoryCluster, Page, Presence, Published, Question, Reconciliation, Run, Seen, Span,
    StreamState, WaitingRooms, WebhookQueue,
};

/// One node's line to all others; clones share it.
///
/// Deliveries, presence changes and signals of subscribed rooms come out of the [`Inbox`], to
/// the publishing node too: nothing is delivered locally any other way, which is what makes one
/// order for all.
#[derive(Debug, Clone)]
pub enum Broker {
    /// Within this process.
    Memory(MemoryBroker),
    /// Over Redis.
    Redis(RedisBroker),
}

/// Whether the broker works, for `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerHealth {
    /// `None`: commands and subscription work. Else what is missing, in words.
    pub problem: Option<String>,
    /// Why it works with less than it promises; `None`: it does not.
    pub degraded: Option<String>,
}

/// Calls the same method on whichever broker it is.
macro_rules! either {
    ($self:ident, $broker:ident => $call:expr) => {
        match $self {
            Broker::Memory($broker) => $call,
            Broker::Redis($broker) => $call,
        }
    };
}

impl Broker {
    /// Connects to the cluster at `redis.url`; the node joins after [`Broker::declare`]. Returns at once
    /// even when Redis is away: it goes on trying for ever. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`BrokerError::BadUrl`] when the URL can never work.
    pub fn redis(
        config: &BrokerConfig,
        node: &NodeId,
        supervisor: &Supervisor,
    ) -> Result<(Self, Inbox), BrokerError> {
        let (broker, inbox) = RedisBroker::open(config, node, supervisor)?;
        Ok((Self::Redis(broker), inbox))
    }

    /// Looks at the cluster at `redis.url` without joining it, for operators' tools: it may only be
    /// asked for [`Broker::rooms_with_streams`] and by [`Broker::peek`].
    ///
    /// # Errors
    /// [`BrokerError::BadUrl`] when the URL can never work.
    pub fn onlooker(config: &BrokerConfig) -> Result<Self, BrokerError> {
        RedisBroker::look_on(config).map(Self::Redis)
    }

    /// Waits at most `patience` for Redis to answer for the first time. That it does not is no
    /// error: the broker goes on trying.
    ///
    /// # Errors
    /// [`BrokerError::Unfit`] when it has answered and cannot be used as it is set.
    pub async fn first_contact(&self, patience: Duration) -> Result<(), BrokerError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Redis(broker) => broker.first_contact(patience).await,
        }
    }

    /// Joins a cluster within this process.
    #[must_use]
    pub fn memory(cluster: &MemoryCluster) -> (Self, Inbox) {
        let (broker, inbox) = cluster.join();
        (Self::Memory(broker), inbox)
    }

    /// Numbers, stores and publishes `drafts` in their order, all in one step. A draft whose
    /// sender has used its nonce before is not stored again.
    ///
    /// `seen` says the highest place that the caller knows of: a stream that ends below it, or is of
    /// an older epoch, takes nothing. It is asked at each try, since more may be heard between two.
    /// At most [`Broker::BATCH`] drafts.
    ///
    /// # Errors
    /// [`BrokerError::Unreconciled`] and [`BrokerError::Unavailable`]: none is stored.
    /// [`BrokerError::Unknown`]: all or none is.
    pub async fn publish(
        &self,
        room: &RoomId,
        drafts: &[Draft],
        seen: Seen<'_>,
        deadline: Instant,
    ) -> Result<Vec<Published>, BrokerError> {
        either!(self, broker => broker.publish(room, drafts, seen, deadline).await)
    }

    /// The most drafts of one publish.
    pub const BATCH: usize = 64;

    /// Hands `frame` to the members of the room at this moment, except to `origin`. Best effort:
    /// it has no offset, and a subscriber that misses it does not learn so.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub async fn signal(
        &self,
        room: &RoomId,
        origin: &ConnectionId,
        frame: &Frame,
    ) -> Result<(), BrokerError> {
        either!(self, broker => broker.signal(room, origin, frame).await)
    }

    /// From the moment this returns, the room's packets reach the inbox.
    ///
    /// # Errors
    /// When Redis did not confirm; the room is then not subscribed.
    pub async fn subscribe(&self, room: &RoomId) -> Result<(), BrokerError> {
        either!(self, broker => broker.subscribe(room).await)
    }

    /// Ends a subscription. Packets already queued may still come.
    pub async fn unsubscribe(&self, room: &RoomId) {
        either!(self, broker => broker.unsubscribe(room).await);
    }

    /// Reads at most `limit` events and the head of the stream at the same moment. `None`: the room
    /// has no stream.
    ///
    /// # Errors
    /// When Redis cannot be reached or gives no answer in time.
    pub async fn peek(
        &self,
        room: &RoomId,
        span: Span,
        limit: usize,
    ) -> Result<Option<Page>, BrokerError> {
        either!(self, broker => broker.peek(room, span, limit).await)
    }

    /// Where the room's stream stands, and whether it was reconciled in this run. `None`: the room
    /// has no stream.
    ///
    /// # Errors
    /// When Redis cannot be reached or gives no answer in time.
    pub async fn state(&self, room: &RoomId) -> Result<Option<StreamState>, BrokerError> {
        either!(self, broker => broker.state(room).await)
    }

    /// The run in which the room's stream is now; see [`Run`].
    #[must_use]
    pub fn run(&self, room: &RoomId) -> Run {
        match self {
            // A process is its run.
            Self::Memory(_) => Run::from(""),
            Self::Redis(broker) => broker.run(room),
        }
    }

    /// The runs of all partitions; an empty one is not known yet.
    #[must_use]
    pub fn runs(&self) -> Vec<Run> {
        match self {
            Self::Memory(_) => Vec::new(),
            Self::Redis(broker) => broker.runs(),
        }
    }

    /// Ends all runs, since there was one up to `newest` ([`crate::run_order`]): every room is compared
    /// again before something is stored in it.
    pub fn end_runs(&self, newest: u64) {
        match self {
            Self::Memory(_) => {}
            Self::Redis(broker) => broker.end_runs(newest),
        }
    }

    /// Counts the runs that this node has known: it grows with each change.
    #[must_use]
    pub fn run_number(&self) -> u64 {
        match self {
            Self::Memory(_) => 0,
            Self::Redis(broker) => broker.run_number(),
        }
    }

    /// How long the present run has been known to this node.
    #[must_use]
    pub fn run_age(&self) -> Duration {
        match self {
            Self::Memory(_) => Duration::MAX,
            Self::Redis(broker) => broker.run_age(),
        }
    }

    /// Carries out what was decided about a room's stream, and tells every node if a new epoch
    /// begins. `None`: the stream or its run is another one by now, so nothing was done, and the
    /// caller looks again.
    ///
    /// # Errors
    /// When Redis cannot be reached or gives no answer in time.
    pub async fn reconcile(
        &self,
        room: &RoomId,
        decision: &Reconciliation,
    ) -> Result<Option<Head>, BrokerError> {
        either!(self, broker => broker.reconcile(room, decision).await)
    }

    /// Reads one event as it stands in the stream now: a deleted one without its body. `None`: the
    /// stream has no event of that epoch there any more.
    ///
    /// # Errors
    /// When Redis cannot be reached or gives no answer in time.
    pub async fn event_at(
        &self,
        room: &RoomId,
        position: &Position,
    ) -> Result<Option<Envelope>, BrokerError> {
        let Some(before) = position.offset.checked_sub(1) else {
            return Ok(None);
        };
        let page = self.peek(room, Span::After(before), 1).await?;
        let mut events = page.into_iter().flat_map(|page| page.events);
        Ok(events.find(|event| event.position == *position))
    }

    /// The changes of these messages that the stream has above the offset `above`, in their order:
    /// the newest edit and the deletion of each message, and at most `reactions` reactions: those of the
    /// newest messages, and of each message the newest. Each part of `messages` is a range of offsets;
    /// the parts are in order and do not overlap.
    ///
    /// # Errors
    /// When Redis cannot be reached or gives no answer in time.
    pub async fn changes(
        &self,
        room: &RoomId,
        messages: &[RangeInclusive<u64>],
        above: u64,
        reactions: usize,
    ) -> Result<Vec<Envelope>, BrokerError> {
        either!(self, broker => broker.changes(room, messages, above, reactions).await)
    }

    /// Takes events that were stored before `cutoff` (milliseconds since 1970) out of the room's
    /// stream. It ends at the first that is younger, so no hole arises, and the offsets of the others
    /// stay. One call does a bounded part; returns whether there may be more.
    ///
    /// # Errors
    /// When Redis cannot be reached or gives no answer in time.
    pub async fn expire(&self, room: &RoomId, cutoff: u64) -> Result<bool, BrokerError> {
        either!(self, broker => broker.expire(room, cutoff).await)
    }

    /// Rooms whose newest events wait for the archive, and which this node is to archive: those of
    /// the partitions that it owns. Another node may think the same for a moment. Those that wait
    /// the longest come first, with milliseconds since 1970 by the broker's clock when they began to.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub async fn waiting_rooms(&self, limit: usize) -> Result<Vec<(RoomId, u64)>, BrokerError> {
        match self {
            // Events are committed before they are stored.
            Self::Memory(_) => Ok(Vec::new()),
            Self::Redis(broker) => broker.waiting_rooms(limit).await,
        }
    }

    /// Has rooms wait for the archive that should and do not, among those that this node is to
    /// archive; how many there were.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub async fn find_waiting(&self) -> Result<u64, BrokerError> {
        match self {
            Self::Memory(_) => Ok(0),
            Self::Redis(broker) => broker.find_waiting().await,
        }
    }

    /// The archive has the room's events up to here.
    ///
    /// # Errors
    /// When Redis cannot be reached: say it again.
    pub async fn archived(&self, room: &RoomId, position: &Position) -> Result<(), BrokerError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Redis(broker) => broker.archived(room, position).await,
        }
    }

    /// Whether what is published is in the archive before it is acked.
    #[must_use]
    pub fn is_archived(&self) -> bool {
        match self {
            Self::Memory(broker) => broker.is_archived(),
            Self::Redis(_) => false,
        }
    }

    /// Waits until at least one replica has everything that was published before this call.
    /// `false`: none had it in time, or there is none.
    pub async fn replicated(&self, deadline: Instant) -> bool {
        match self {
            Self::Memory(_) => false,
            Self::Redis(broker) => broker.replicated(deadline).await,
        }
    }

    /// Says which users this node has in `room` now, or has no more; each user at most once in a
    /// call. Who comes to the first or leaves the last node is announced. Idempotent. Returns the
    /// count and version after it, without names.
    ///
    /// # Errors
    /// When Redis cannot be reached: call again later.
    pub async fn register(
        &self,
        room: &RoomId,
        users: &[Attendance],
    ) -> Result<Presence, BrokerError> {
        either!(self, broker => broker.register(room, users).await)
    }

    /// The users in the room, on all nodes; their names only up to `limit`.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub async fn presence(&self, room: &RoomId, limit: usize) -> Result<Presence, BrokerError> {
        either!(self, broker => broker.presence(room, limit).await)
    }

    /// Notes whether only its members may be in a room, for the time when the archive cannot say
    /// (`None`: as it was noted before), and has all nodes look again at who is in it.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub async fn set_private(
        &self,
        room: &RoomId,
        is_private: Option<bool>,
    ) -> Result<(), BrokerError> {
        either!(self, broker => broker.set_private(room, is_private).await)
    }

    /// Whether it is this node that looks after a room's part of the archive.
    #[must_use]
    pub fn owns(&self, room: &RoomId) -> bool {
        either!(self, broker => broker.owns(room))
    }

    /// Rooms in which this node is to tell a webhook of something: those of the partitions that it
    /// owns, and every other node knows it. Those that wait the longest come first.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub async fn waiting_for(
        &self,
        webhook: &WebhookQueue,
        limit: usize,
    ) -> Result<WaitingRooms, BrokerError> {
        either!(self, broker => broker.waiting_for(webhook, limit).await)
    }

    /// The items of a room that a webhook has not received: at most `limit` events and as many joins and leaves.
    /// `None`: the room does not wait for it.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub async fn due(
        &self,
        webhook: &WebhookQueue,
        room: &RoomId,
        limit: usize,
    ) -> Result<Option<Due>, BrokerError> {
        either!(self, broker => broker.due(webhook, room, limit).await)
    }

    /// A webhook was told of a room up to here, or what it was not told is given up. Says whether
    /// there is more by now; if not, the room waits no longer.
    ///
    /// # Errors
    /// When Redis cannot be reached: say it again, or the next owner tells some of it once more.
    pub async fn told(
        &self,
        webhook: &WebhookQueue,
        room: &RoomId,
        mark: Mark,
    ) -> Result<bool, BrokerError> {
        either!(self, broker => broker.told(webhook, room, mark).await)
    }

    /// Whether it is this node, and by now no other, that tells webhooks of a room.
    #[must_use]
    pub fn tells(&self, room: &RoomId) -> bool {
        match self {
            Self::Memory(broker) => broker.owns(room),
            Self::Redis(broker) => broker.is_settled(room),
        }
    }

    /// Where these rooms stand.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub async fn summaries(&self, rooms: Vec<RoomId>) -> Result<Vec<RoomSummary>, BrokerError> {
        either!(self, broker => broker.summaries(rooms).await)
    }

    /// The rooms that had an event or a presence change most recently, without private ones: `limit` that
    /// are no direct messages, then `limit` that are.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub async fn rooms(&self, limit: usize) -> Result<Vec<RoomSummary>, BrokerError> {
        either!(self, broker => broker.rooms(limit).await)
    }

    /// All rooms that may have a stream, private ones too, in the order of their names.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub async fn rooms_with_streams(&self) -> Result<Vec<RoomId>, BrokerError> {
        match self {
            Self::Memory(broker) => Ok(broker.rooms_with_streams()),
            Self::Redis(broker) => broker.rooms_with_streams().await,
        }
    }

    /// The rooms that may have a stream and whose part of the archive this node looks after.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub async fn owned_rooms(&self) -> Result<Vec<RoomId>, BrokerError> {
        match self {
            Self::Memory(broker) => Ok(broker.owned_rooms()),
            Self::Redis(broker) => broker.owned_rooms().await,
        }
    }

    /// The most bans, mutes, revocations and kicks that are kept at once.
    pub const MAX_RULES: usize = 100_000;

    /// Gives an order to all nodes, this one too: it comes out of every [`crate::ControlReceiver`]. A
    /// lasting one is kept as a rule, for `life` or until it is lifted; nodes that come later get it.
    ///
    /// # Errors
    /// [`BrokerError::TooManyRules`]; or when Redis cannot be reached or gives no answer in time.
    pub async fn issue(
        &self,
        order: &Order,
        life: Option<Duration>,
    ) -> Result<Issued, BrokerError> {
        either!(self, broker => broker.issue(order, life).await)
    }

    /// Gives rules back that were lost; those that are there stay as they are. The embedded broker loses
    /// none.
    ///
    /// # Errors
    /// When Redis cannot be reached or gives no answer in time.
    pub async fn restore_rules(&self, rules: &[Issued]) -> Result<(), BrokerError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Redis(broker) => broker.restore_rules(rules).await,
        }
    }

    /// Asks all nodes, this one too, and waits at most `patience` for their answers.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub async fn ask(&self, text: &str, patience: Duration) -> Result<Answers, BrokerError> {
        either!(self, broker => broker.ask(text, patience).await)
    }

    /// Answers for this node. An answer that comes late is dropped.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub async fn answer(&self, question: &Question, text: &str) -> Result<(), BrokerError> {
        either!(self, broker => broker.answer(question, text).await)
    }

    /// How many nodes lived when that was last looked at, this one among them.
    #[must_use]
    pub fn living_nodes(&self) -> usize {
        either!(self, broker => broker.living_nodes())
    }

    /// One more of something that is limited over the whole cluster, if it may be. Asked again after
    /// no answer, it may count twice.
    ///
    /// # Errors
    /// When Redis cannot be reached or gives no answer in time.
    pub async fn claim(&self, claim: &Claim, deadline: Instant) -> Result<Grant, BrokerError> {
        either!(self, broker => broker.claim(claim, deadline).await)
    }

    /// Keeps what a ticket stands for, by the ticket's digest, for so long.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub async fn keep_ticket(
        &self,
        digest: &str,
        content: &str,
        life: Duration,
    ) -> Result<(), BrokerError> {
        match self {
            Self::Memory(broker) => {
                broker.keep_ticket(digest, content, life);
                Ok(())
            }
            Self::Redis(broker) => broker.keep_ticket(digest, content, life).await,
        }
    }

    /// The content of a ticket; `once` uses the ticket up.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub async fn ticket(&self, digest: &str, once: bool) -> Result<Option<String>, BrokerError> {
        match self {
            Self::Memory(broker) => Ok(broker.ticket(digest, once)),
            Self::Redis(broker) => broker.ticket(digest, once).await,
        }
    }

    /// The cluster's one random secret, made by the first node that asks.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub async fn cluster_secret(&self) -> Result<[u8; 32], BrokerError> {
        either!(self, broker => broker.cluster_secret().await)
    }

    /// The cluster's secrets and every change of them: the first signs, and those that follow gave way to
    /// it, so that what they have signed still counts. Empty until Redis has been reached.
    #[must_use]
    pub fn cluster_secrets(&self) -> watch::Receiver<Arc<[[u8; 32]]>> {
        match self {
            Self::Memory(broker) => broker.cluster_secrets(),
            Self::Redis(broker) => broker.cluster_secrets(),
        }
    }

    /// Whether commands may reach the broker now.
    #[must_use]
    pub fn is_up(&self) -> bool {
        match self {
            Self::Memory(_) => true,
            Self::Redis(broker) => broker.is_up(),
        }
    }

    /// Proves that commands and subscription work.
    #[must_use]
    pub fn health(&self) -> BrokerHealth {
        match self {
            Self::Memory(_) => BrokerHealth {
                problem: None,
                degraded: None,
            },
            Self::Redis(broker) => broker.health(),
        }
    }

    /// The broker's figures.
    #[must_use]
    pub fn metrics(&self) -> &BrokerMetrics {
        either!(self, broker => broker.metrics())
    }

    /// Ends the node's line: nothing comes any more. The connections to Redis are closed.
    pub async fn close(&self) {
        either!(self, broker => broker.close().await);
    }
}
