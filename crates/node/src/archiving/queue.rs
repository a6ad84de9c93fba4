//! From the rooms' streams into the archive: the owner of a partition takes the rooms that wait, a few
//! at a time, and commits their new events in their order.
//!
//! A new owner goes on where the archive itself ends, so that nothing depends on the node that took a
//! message. Before a room is archived in a run of the broker, its stream is compared with the archive
//! ([`crate::reconcile`]). Events that have left a stream before they were archived are recorded as a
//! hole.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use futures_util::future::try_join_all;
use futures_util::stream;
use hubbub_archive::{Archive, ArchiveError, Hole, RoomBatch};
use hubbub_broker::{BrokerError, Page, Run, Span, StreamState};
use hubbub_outage::Outage;
use hubbub_protocol::{Epoch, Position, RoomId};
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use super::blocked::Blocked;
use super::progress::{Known, Progress};
use crate::node::Node;
use crate::reconcile::Need;

/// How often the queues are looked at while nothing waits.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Rows of one commit.
const BATCH_ROWS: usize = 500;
/// Rooms of one commit.
const BATCH_ROOMS: usize = 100;
/// Rooms that are read at once.
const ROOMS_AT_ONCE: usize = 16;
/// Between two looks for rooms that should wait and do not.
const COUNT_INTERVAL: Duration = Duration::from_secs(60);
/// While the archive or Redis is away; times a random number up to 1.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Rooms that cannot be archived.
static BLOCKED: Outage = Outage::new();

/// Why a room cannot be archived now.
#[derive(Debug, thiserror::Error)]
enum QueueError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// A room's next events, and where the archive stands with them.
#[derive(Debug)]
struct Next {
    batch: RoomBatch,
    position: Position,
    /// The stream's epoch.
    epoch: Epoch,
    run: Run,
}

impl Next {
    /// How long its oldest event has waited.
    fn waited(&self) -> Duration {
        let oldest = self.batch.events.first();
        let ts = oldest.and_then(|event| event.read().ok().map(|event| event.ts));
        ts.map_or(Duration::ZERO, since)
    }
}

impl QueueError {
    /// Whether it is nothing about the room: Redis or the archive is away.
    fn is_temporary(&self) -> bool {
        match self {
            Self::Archive(error) => error.is_retryable(),
            Self::Broker(BrokerError::Unavailable(_) | BrokerError::Unknown(_)) => true,
            Self::Broker(_) => false,
        }
    }
}

impl Node {
    /// Runs for as long as the node.
    pub(crate) async fn keep_archive(self: Arc<Self>, archive: Archive) {
        let (mut progress, mut blocked) = (Progress::default(), Blocked::default());
        let (outage, mut told) = (Outage::new(), None);
        let mut counted: Option<Instant> = None;
        loop {
            if counted.is_none_or(|at| at.elapsed() > COUNT_INTERVAL) {
                counted = Some(Instant::now());
                self.count_waiting().await;
            }
            match self
                .archive_some(&archive, &mut progress, &mut blocked)
                .await
            {
                Ok(rows) => {
                    let reason =
                        || format!("{} rooms cannot be archived, see the log", blocked.len());
                    self.tell(&mut told, (blocked.len() > 0).then(reason));
                    if let Some(over) = outage.end() {
                        info!(failures = over.failures, lasted = ?over.lasted,
                            "events reach the archive again");
                    }
                    // Events that come during this pause are committed together.
                    if rows < BATCH_ROWS / 2 {
                        sleep(LOOK_INTERVAL).await;
                    }
                }
                Err(error) => {
                    self.metrics.archive_errors.inc();
                    if matches!(error, QueueError::Archive(_)) {
                        self.tell(&mut told, Some("events wait for the archive".to_owned()));
                    }
                    if let Some(now) = outage.fail(&error) {
                        warn!(%error, failures = now.failures, lasted = ?now.lasted,
                            "events wait for the archive");
                    }
                    progress = Progress::default();
                    sleep(RETRY_PAUSE.mul_f64(fastrand::f64())).await;
                }
            }
        }
    }

    /// Has `/readyz` say why something is not archived, if that is another reason than was told before.
    fn tell(&self, told: &mut Option<String>, reason: Option<String>) {
        if *told != reason {
            self.degradations().set("archiving", reason.clone());
            *told = reason;
        }
    }

    /// Finds what should wait and does not, as after messages through a node of an older version.
    async fn count_waiting(&self) {
        match self.broker.find_waiting().await {
            Ok(0) => {}
            Ok(rooms) => info!(rooms, "rooms were not waiting for the archive, and do now"),
            Err(error) => debug!(%error, "cannot look for rooms that should wait"),
        }
    }

    /// Commits one batch; returns how many rows.
    async fn archive_some(
        &self,
        archive: &Archive,
        progress: &mut Progress,
        blocked: &mut Blocked,
    ) -> Result<usize, QueueError> {
        let limit = BATCH_ROOMS + blocked.len();
        let mut rooms = self.broker.waiting_rooms(limit).await?;
        let oldest = rooms.first().map(|(_, since)| *since);
        let mut waited = oldest.map_or(Duration::ZERO, since);
        self.metrics.archive_waits(waited);
        blocked.keep(rooms.iter().map(|(room, _)| room), rooms.len() < limit);
        rooms.retain(|(room, _)| !blocked.holds(room));
        rooms.truncate(BATCH_ROOMS);
        let known = &*progress;
        let nexts = rooms.into_iter().map(|(room, _)| async move {
            let next = self.next_of(archive, known, &room).await;
            (room, next)
        });
        let mut nexts = stream::iter(nexts).buffered(ROOMS_AT_ONCE);
        let (mut rows, mut all, mut stale) = (0, Vec::new(), Vec::new());
        while rows < BATCH_ROWS
            && let Some((room, next)) = nexts.next().await
        {
            match next {
                Ok(Some(next)) => {
                    rows += next.batch.events.len();
                    waited = waited.max(next.waited());
                    all.push(next);
                }
                Ok(None) => stale.push(room),
                Err(error) if error.is_temporary() => return Err(error),
                Err(error) => self.pass_by(&room, &error, blocked),
            }
        }
        drop(nexts);
        // A busy room that is behind waits from its last commit on, as the broker sees it.
        self.metrics.archive_waits(waited);
        stale.iter().for_each(|room| progress.forget(room));
        let all = self.commit(archive, all, progress, blocked).await?;
        let rows = all.iter().map(|next| next.batch.events.len()).sum();
        self.metrics.archived.inc_by(rows as u64);
        let told = all.iter().map(|next| {
            let Next {
                batch, position, ..
            } = next;
            self.broker.archived(&batch.room, position)
        });
        try_join_all(told).await?;
        for next in all {
            if blocked.release(&next.batch.room)
                && let Some(over) = BLOCKED.end()
            {
                info!(failures = over.failures, lasted = ?over.lasted, "all rooms can be archived again");
            }
            let known = Known::new(next.position, next.epoch, next.run);
            progress.set(next.batch.room, known);
        }
        Ok(rows)
    }

    /// A room that cannot be archived is not to hold up the others: it is tried again later and later.
    fn pass_by(&self, room: &RoomId, error: &QueueError, blocked: &mut Blocked) {
        self.metrics.archive_errors.inc();
        blocked.fail(room);
        if let Some(now) = BLOCKED.fail(error) {
            error!(%room, %error, failures = now.failures, rooms = blocked.len(),
                "a room cannot be archived");
        }
    }

    /// Returns those that were committed.
    async fn commit(
        &self,
        archive: &Archive,
        mut all: Vec<Next>,
        progress: &mut Progress,
        blocked: &mut Blocked,
    ) -> Result<Vec<Next>, QueueError> {
        while !all.is_empty() {
            let batch: Vec<RoomBatch> = all.iter().map(|next| next.batch.clone()).collect();
            match archive.append(&batch).await {
                Ok(()) => break,
                Err(ArchiveError::BadEvent {
                    room,
                    offset,
                    source,
                }) => {
                    error!(%room, offset, %source, "an event cannot be archived");
                    pass_over(&mut all, &room, offset, "it cannot be read");
                }
                Err(error) if error.is_retryable() => return Err(error.into()),
                Err(ArchiveError::Fenced { room }) => {
                    progress.forget(&room);
                    all.retain(|next| next.batch.room != room);
                }
                Err(ArchiveError::Taken { room, offset }) => {
                    progress.forget(&room);
                    if progress.is_refused_again(&room, offset) {
                        // Comparing it again has not helped: the others are not to wait for it.
                        pass_over(&mut all, &room, offset, "another event has its place")
                    } else {
                        // It is compared with the archive before the next try.
                        all.retain(|next| next.batch.room != room)
                    }
                }
                Err(error) if all.len() == 1 => {
                    self.pass_by(&batch[0].room, &error.into(), blocked);
                    all.clear();
                }
                Err(_) => {
                    let mut done = Vec::new();
                    for next in all {
                        let one = self.commit(archive, vec![next], progress, blocked);
                        done.extend(Box::pin(one).await?);
                    }
                    return Ok(done);
                }
            }
        }
        for hole in all.iter().flat_map(|next| &next.batch.holes) {
            self.metrics.archive_holes.inc();
            error!(epoch = %hole.epoch, first = hole.first, last = hole.last, reason = hole.reason,
                "events were lost to the archive");
        }
        Ok(all)
    }

    /// The next events of a room; `None`: there are none, or its stream has changed meanwhile.
    async fn next_of(
        &self,
        archive: &Archive,
        progress: &Progress,
        room: &RoomId,
    ) -> Result<Option<Next>, QueueError> {
        let run = self.broker.run(room);
        let known = progress.get(room, &run);
        let start = match &known {
            Some(known) => Start::after(known.position.clone()),
            None => match self.start_of_archiving(archive, room).await? {
                Some(start) => start,
                None => return Ok(None),
            },
        };
        let span = Span::After(start.offset);
        let Some(page) = self.broker.peek(room, span, BATCH_ROWS).await? else {
            return Ok(None);
        };
        let is_same = known.is_none_or(|known| known.epoch == page.head.epoch);
        if !is_same || page.head.offset < start.offset || *run != *self.broker.run(room) {
            return Ok(None);
        }
        Ok(Some(next_in(room, page, start, run)))
    }

    /// Where to go on in the room's stream, once that was compared with the archive.
    async fn start_of_archiving(
        &self,
        archive: &Archive,
        room: &RoomId,
    ) -> Result<Option<Start>, QueueError> {
        if self.broker.state(room).await?.is_none() {
            // Its stream and its place are gone: nothing waits any more.
            let nowhere = Position {
                epoch: Epoch::begin(0, 0),
                offset: 0,
            };
            self.broker.archived(room, &nowhere).await?;
            return Ok(None);
        }
        self.reconcile(room, Need::Archive).await?;
        let Some(state) = self.broker.state(room).await? else {
            return Ok(None);
        };
        let end = archive.incarnation(room).await?;
        let end = end.and_then(|life| Some((life.epoch?, life.top)));
        match end {
            Some((epoch, top)) if epoch == state.head.epoch => Ok(Some(Start {
                base: Some(state.base),
                ..Start::after(Position { epoch, offset: top })
            })),
            // A new epoch: the stream may hold events of older ones that are not archived yet.
            end => {
                let mut archived = end.clone().into_iter().collect::<Vec<_>>();
                for lost in &state.lost {
                    let top = archive.top_of(room, &lost.epoch).await?;
                    archived.extend(top.map(|top| (lost.epoch.clone(), top)));
                }
                Ok(Some(Start::of_epoch(&state, &archived)))
            }
        }
    }
}

/// Where to go on in a room's stream, and what is known to be lost.
struct Start {
    /// Events after this offset come next.
    offset: u64,
    /// The epoch that goes on there; `None`: the stream is read from its beginning.
    epoch: Option<Epoch>,
    /// Where the stream's epoch began, if that is not archived yet.
    base: Option<u64>,
    /// How far older epochs are archived.
    archived: Vec<(Epoch, u64)>,
    holes: Vec<Hole>,
}

impl Start {
    fn after(position: Position) -> Self {
        Self {
            offset: position.offset,
            epoch: Some(position.epoch),
            base: None,
            archived: Vec::new(),
            holes: Vec::new(),
        }
    }

    /// From the beginning of a stream whose epoch the archive does not know yet. `archived`: how far
    /// it has older epochs.
    fn of_epoch(state: &StreamState, archived: &[(Epoch, u64)]) -> Self {
        let holes = state.lost.iter().filter_map(|lost| {
            let of_epoch = archived.iter().filter(|(epoch, _)| *epoch == lost.epoch);
            let first = of_epoch.map(|(_, top)| top + 1).max();
            let first = first.unwrap_or(0).max(lost.first);
            (first <= lost.last).then(|| Hole {
                epoch: lost.epoch.clone(),
                first,
                last: lost.last,
                reason: "the broker lost them before they were archived".to_owned(),
            })
        });
        Self {
            offset: 0,
            epoch: None,
            base: Some(state.base),
            archived: archived.to_vec(),
            holes: holes.collect(),
        }
    }
}

/// The page as a batch. Events that should stand before or between those of the page, and do not, are
/// a hole.
fn next_in(room: &RoomId, page: Page, start: Start, run: Run) -> Next {
    let (mut holes, archived) = (start.holes, start.archived);
    let mut before = start.epoch.map(|epoch| Position {
        epoch,
        offset: start.offset,
    });
    let head = Position {
        epoch: page.head.epoch,
        offset: page.head.offset,
    };
    let mut step = |next: &Position, is_there: bool| {
        // The first event of an epoch follows its base, where that is known.
        let expected = match &before {
            Some(before) if before.epoch == next.epoch => before.offset,
            Some(_) | None if next.epoch == head.epoch => page.base,
            Some(_) | None => {
                let of_epoch = archived.iter().filter(|(epoch, _)| *epoch == next.epoch);
                let top = of_epoch.map(|(_, top)| *top).max();
                top.unwrap_or(next.offset - u64::from(is_there))
            }
        };
        let last = next.offset - u64::from(is_there);
        if last > expected {
            holes.push(Hole {
                epoch: next.epoch.clone(),
                first: expected + 1,
                last,
                reason: "they left the stream before they were archived".to_owned(),
            });
        }
        before = Some(next.clone());
    };
    for event in &page.events {
        step(&event.position, true);
    }
    if page.events.is_empty() {
        step(&head, false);
    }
    let last = page.events.last().map(|last| last.position.clone());
    let base = start.base.or(Some(page.base));
    Next {
        epoch: head.epoch.clone(),
        position: last.unwrap_or(head),
        batch: RoomBatch {
            room: room.clone(),
            base,
            events: page.events,
            holes,
            run: Some(run.to_string()),
        },
        run,
    }
}

/// Takes an event out that can never be archived, and records that.
fn pass_over(all: &mut [Next], room: &RoomId, offset: u64, reason: &str) {
    for next in all.iter_mut().filter(|next| next.batch.room == *room) {
        let events = &mut next.batch.events;
        let Some(index) = events.iter().position(|e| e.position.offset == offset) else {
            continue;
        };
        next.batch.holes.push(Hole {
            epoch: events.remove(index).position.epoch,
            first: offset,
            last: offset,
            reason: reason.to_owned(),
        });
    }
}

/// From a time in milliseconds since 1970, by the broker's clock, to now, by ours.
fn since(ms: u64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
        .saturating_sub(Duration::from_millis(ms))
}
