//! Missed events: reading a room's stream again when events may have been missed, and bringing members up to date.
//!
//! There is one way into a room's future, [`Node::catch_up`]: live events wait in the room's repair buffer
//! while the stream is read, then both are merged by offset. And one way through its past,
//! [`Node::page_after`], for whoever resumes or has fallen behind: from the room's log if it
//! reaches back far enough, else from the stream, one read at a time for a room.

use std::sync::Arc;
use std::time::Duration;

use hubbub_broker::{BrokerError, Head, Span};
use hubbub_protocol::command::{JoinFrom, Since};
use hubbub_protocol::{ConnectionId, Envelope, Epoch, MessageId, RoomId};
use tokio::time::sleep;
use tracing::{debug, info, warn};

use crate::error::CommandError;
use crate::node::Node;
use crate::reconcile::Need;
use crate::reservation::{Amount, Payer, Reservation};
use crate::room::log::{LOG_EVENTS, RoomLog};
use crate::room::{Cursor, PageOutcome, Room, RoomState, Stage};

/// Between two tries to read a stream while Redis is away; times a random number up to 1.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Before a stream is read again that could not be followed, and stands by now.
const FORK_PAUSE: Duration = Duration::from_millis(20);
/// Why older events cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PageError {
    /// They are older than the stream keeps, or of another life.
    #[error("the events have left the stream")]
    Lost,
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

fn unless_lost(
    page: Result<Vec<Envelope>, PageError>,
) -> Result<Option<Vec<Envelope>>, BrokerError> {
    match page {
        Ok(events) => Ok(Some(events)),
        Err(PageError::Lost) => Ok(None),
        Err(PageError::Broker(error)) => Err(error),
    }
}

fn is_other(ours: &MessageId, theirs: &str) -> bool {
    MessageId::new(theirs).map_or(true, |theirs| ours.is_other(&theirs))
}

/// The first frames for a joiner.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) recovered: bool,
    pub(crate) events: Vec<Envelope>,
    /// The life that `given` counts in.
    pub(crate) epoch: Epoch,
    /// The offset up to which `events` brings the joiner; `None`: to wherever the room is.
    pub(crate) given: Option<u64>,
}

impl Node {
    /// Reads the stream until the room is live. Whoever comes meanwhile waits for the same read.
    pub(crate) async fn catch_up(&self, room: &Arc<Room>) -> Result<(), BrokerError> {
        let _one_reader = room.catching_up.lock().await;
        while let Some((known, mark)) = room.mark() {
            let (span, limit) = match &known {
                None => (Span::Newest, LOG_EVENTS / 2),
                Some(known) => {
                    // One event back: it proves that this is still the same stream.
                    let before_head = known.offset.saturating_sub(1);
                    (Span::After(before_head), self.config.limits.resume_page + 1)
                }
            };
            self.metrics.stream_reads.inc();
            let mut page = self.read_stream(&room.id, span, limit).await?;
            if known.is_some_and(|known| known.epoch != page.head.epoch) {
                // Nothing that the new epoch has already is to be left out.
                let all = Span::After(page.base);
                page = self.read_stream(&room.id, all, limit).await?;
            }
            match room.take_page(page, mark) {
                PageOutcome::Live | PageOutcome::More => {}
                PageOutcome::Reset => {
                    self.metrics.resets.inc();
                    warn!(room = %room.id, "a new epoch was begun, members start over");
                }
                PageOutcome::Fork => {
                    if !self.reconcile(&room.id, Need::Follow).await? {
                        // Another node has begun a new epoch, or this one has heard more than it read.
                        sleep(FORK_PAUSE).await;
                    }
                }
            }
        }
        Ok(())
    }

    /// The room may have missed something: read it from the stream, however long that takes.
    pub(crate) fn repair(self: &Arc<Self>, room: Arc<Room>) {
        self.metrics.repairs.inc();
        let node = Arc::clone(self);
        self.spawn(async move {
            loop {
                let repaired = {
                    let _turn = node.repairs.acquire().await;
                    node.catch_up(&room).await
                };
                match repaired {
                    Ok(()) => return,
                    Err(error) => debug!(room = %room.id, %error, "cannot repair yet"),
                }
                sleep(RETRY_PAUSE.mul_f64(fastrand::f64())).await;
                if *room.stage.lock().await == Stage::Closed {
                    return;
                }
            }
        });
    }

    /// Nobody knows what these rooms have missed: events, who came and went, and who may be here.
    pub(crate) fn repair_all(self: &Arc<Self>, rooms: impl IntoIterator<Item = Arc<Room>>) {
        for room in rooms {
            self.recheck_access(Arc::clone(&room));
            self.refresh_presence_soon(&room);
            if room.begin_repair() {
                self.repair(room);
            }
        }
    }

    /// The oldest events after `after`, without a hole; empty when there are none.
    pub(crate) async fn page_after(
        &self,
        room: &Room,
        after: u64,
    ) -> Result<Vec<Envelope>, PageError> {
        let limit = self.config.limits.resume_page;
        let cached = || {
            let state = room.state.lock();
            let log = state.log.as_ref().ok_or(PageError::Lost)?;
            Ok::<_, PageError>((log.after(after, limit), log.epoch().clone()))
        };
        if let (Some(events), _) = cached()? {
            return Ok(events);
        }
        let mut reads = room.reads.lock().await;
        reads.forget_before(room.deletions());
        let (events, epoch) = cached()?;
        if let Some(events) = events.or_else(|| reads.get(after, &epoch)) {
            return Ok(events);
        }
        let deletions = room.deletions();
        let events = self.read_after(room, after, limit, &epoch).await?;
        // It may have messages that were deleted meanwhile.
        if room.deletions() == deletions {
            reads.remember(after, &events);
            if let Some(log) = &mut room.state.lock().log {
                log.prepend(events.clone());
            }
        }
        Ok(events)
    }

    /// From the stream, or where that does not reach back so far, from the archive.
    async fn read_after(
        &self,
        room: &Room,
        after: u64,
        limit: usize,
        epoch: &Epoch,
    ) -> Result<Vec<Envelope>, PageError> {
        self.metrics.stream_reads.inc();
        let span = Span::After(after);
        let page = self.read_stream(&room.id, span, limit).await?;
        if page.head.epoch != *epoch {
            return Err(PageError::Lost);
        }
        let follows = |events: &[Envelope]| {
            let first = events.first();
            first.is_some_and(|first| {
                first.position.offset == after + 1 && first.position.epoch == *epoch
            })
        };
        if follows(&page.events) {
            return Ok(page.events);
        }
        let older = self.archived_after(&room.id, epoch, after, limit).await?;
        if follows(&older) {
            Ok(older)
        } else {
            Err(PageError::Lost)
        }
    }

    /// Reserves the read of a page that the room's log does not have.
    async fn pay_to_fill_up(
        &self,
        room: &Room,
        payer: &Payer,
        given: u64,
    ) -> Result<Option<Reservation>, CommandError> {
        let is_here = room
            .state
            .lock()
            .log
            .as_ref()
            .is_none_or(|log| given >= log.floor());
        if is_here {
            return Ok(None);
        }
        let cost = self.cost_of_page(self.config.limits.resume_page);
        self.reserve(payer, cost).await.map(Some)
    }

    /// Brings a member that has fallen behind one page further.
    pub(crate) async fn fill_up(&self, room: &Arc<Room>, connection: &ConnectionId, payer: &Payer) {
        let cursor = room
            .state
            .lock()
            .members
            .get(connection)
            .map(|member| member.cursor);
        // The code that changed the place has told the outbox, under the room's lock.
        let Some(Cursor::Behind(given)) = cursor else {
            return;
        };
        // Not charged to the client's pace of reading: these are live events, which a slow client may have to
        // be given in many parts.
        let Ok(_paid) = self.pay_to_fill_up(room, payer, given).await else {
            // The client waits until the node has less to do.
            return sleep(RETRY_PAUSE.mul_f64(fastrand::f64())).await;
        };
        match self.page_after(room, given).await {
            Ok(events) => {
                let mut state = room.state.lock();
                let RoomState {
                    log: Some(log),
                    members,
                    ..
                } = &mut *state
                else {
                    return;
                };
                members.fill(room, connection, given, &events, log.head());
            }
            Err(PageError::Lost) => {
                info!(room = %room.id, %connection, "a slow client's events have left the stream");
                self.metrics.resets.inc();
                let mut state = room.state.lock();
                let RoomState {
                    log: Some(log),
                    members,
                    ..
                } = &mut *state
                else {
                    return;
                };
                members.reset_one(room, connection, log);
            }
            Err(PageError::Broker(error)) => {
                debug!(room = %room.id, %error, "cannot fill up yet");
                sleep(RETRY_PAUSE.mul_f64(fastrand::f64())).await;
            }
        }
    }

    /// The cost of the read that a join needs; `None`: the room's log has everything, so that the join
    /// reads nothing, however many clients come at the same time.
    pub(crate) fn cost_of_start(&self, room: &Room, from: &JoinFrom) -> Option<Amount> {
        let state = room.state.lock();
        let log = state.log.as_ref()?;
        let most = self.config.limits.resume_page;
        let (after, events) = match from {
            JoinFrom::Now => return None,
            JoinFrom::Recent(count) => {
                let count = *count.min(&most);
                (log.head().saturating_sub(count as u64), count)
            }
            // The event at the position is compared, so it has to be there too.
            JoinFrom::Since(since) if since.position.epoch == *log.epoch() => {
                let after = since.position.offset;
                let before = after.min(log.head()).saturating_sub(1);
                (before, most)
            }
            JoinFrom::Since(_) => (log.head().saturating_sub(most as u64), most),
        };
        let is_here = after >= log.floor();
        (!is_here).then(|| self.cost_of_page(events))
    }

    /// The first frames for a joiner.
    pub(crate) async fn start_of(
        self: &Arc<Self>,
        room: &Arc<Room>,
        from: &JoinFrom,
    ) -> Result<Start, BrokerError> {
        match from {
            JoinFrom::Now => {
                let (epoch, _) = self.known_head(room);
                Ok(Start {
                    recovered: true,
                    events: Vec::new(),
                    epoch,
                    given: None,
                })
            }
            JoinFrom::Recent(count) => self.newest(room, *count, true).await,
            JoinFrom::Since(since) => self.resume(room, since).await,
        }
    }

    async fn resume(
        self: &Arc<Self>,
        room: &Arc<Room>,
        since: &Since,
    ) -> Result<Start, BrokerError> {
        let (mut epoch, mut head) = self.known_head(room);
        if since.position.epoch == epoch && since.position.offset > head {
            // The client saw it on another node, and ours has not heard of it yet.
            if room.begin_repair() {
                // Goes on with it even if this join gives up.
                self.repair(Arc::clone(room));
            }
            self.catch_up(room).await?;
            (epoch, head) = self.known_head(room);
        }
        let given = since.position.offset;
        let is_near = since.position.epoch == epoch
            && given <= head
            && head - given <= self.config.limits.resume_events as u64;
        if is_near && let Some(events) = self.follow(room, since).await? {
            self.metrics.resumes.inc();
            let given = events.last().map_or(given, |last| last.position.offset);
            return Ok(Start {
                recovered: true,
                events,
                epoch,
                given: Some(given),
            });
        }
        self.metrics.lost_resumes.inc();
        self.newest(room, self.config.limits.resume_page, false)
            .await
    }

    /// The events after the client's position; `None`: they cannot be followed from there.
    async fn follow(
        &self,
        room: &Arc<Room>,
        since: &Since,
    ) -> Result<Option<Vec<Envelope>>, BrokerError> {
        let given = since.position.offset;
        let pages = match &since.message {
            Some(theirs) => match self.message_at(room, given).await? {
                Some(ours) if is_other(&ours, theirs) => return Ok(None),
                // An event that has left the stream can no longer be compared.
                Some(_) | None => self.page_after(room, given).await,
            },
            None => self.page_after(room, given).await,
        };
        unless_lost(pages)
    }

    /// The id of the event at `offset`, if it is still known.
    async fn message_at(
        &self,
        room: &Arc<Room>,
        offset: u64,
    ) -> Result<Option<MessageId>, BrokerError> {
        let known = room
            .state
            .lock()
            .log
            .as_ref()
            .and_then(|log| log.message_at(offset).cloned());
        let (None, Some(before)) = (&known, offset.checked_sub(1)) else {
            return Ok(known);
        };
        let events = unless_lost(self.page_after(room, before).await)?.unwrap_or_default();
        Ok(events.first().map(|event| event.message.clone()))
    }

    async fn newest(
        &self,
        room: &Arc<Room>,
        count: usize,
        recovered: bool,
    ) -> Result<Start, BrokerError> {
        let count = count.min(self.config.limits.resume_page);
        let (epoch, head) = self.known_head(room);
        let after = head.saturating_sub(count as u64);
        let cached = room
            .state
            .lock()
            .log
            .as_ref()
            .and_then(|log| log.after(after, count));
        let events = match cached {
            Some(events) => events,
            None => {
                self.metrics.stream_reads.inc();
                let span = Span::Before(head + 1);
                let page = self.read_stream(&room.id, span, count).await?;
                if page.head.epoch == epoch {
                    let mut events = page.events;
                    // Those of older epochs are history.
                    events.retain(|event| event.position.epoch == epoch);
                    self.complete(&room.id, after.max(page.base), &page.head, events)
                        .await
                } else {
                    Vec::new()
                }
            }
        };
        let given = events.last().map_or(head, |last| last.position.offset);
        Ok(Start {
            recovered,
            events,
            epoch,
            given: Some(given),
        })
    }

    /// Adds what is missing between `after` and `events`, which lead up to the head, if the archive
    /// has all of it.
    async fn complete(
        &self,
        room: &RoomId,
        after: u64,
        head: &Head,
        events: Vec<Envelope>,
    ) -> Vec<Envelope> {
        let first = events.first().map(|first| first.position.offset);
        let first = first.unwrap_or(head.offset + 1);
        let missing = usize::try_from(first.saturating_sub(after + 1)).unwrap_or(usize::MAX);
        if missing == 0 {
            return events;
        }
        let older = self.archived_after(room, &head.epoch, after, missing).await;
        let mut older = older.unwrap_or_default();
        if older.len() != missing {
            return events;
        }
        older.extend(events);
        older
    }

    /// Where an open room is.
    fn known_head(&self, room: &Room) -> (Epoch, u64) {
        let state = room.state.lock();
        let log = state.log.as_ref().expect("an open room has a log");
        (log.epoch().clone(), RoomLog::head(log))
    }
}
