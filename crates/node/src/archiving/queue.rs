//! From the rooms' streams into the archive: the owner of a partition takes the rooms that wait, a few
//! at a time, and commits their new events in their order.
//!
//! Whoever takes a partition over goes on where the archive itself ends, so that nothing depends on
//! the node that took a message. What has left a stream before it was archived is recorded as a hole.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use futures_util::future::try_join_all;
use futures_util::stream;
use hubbub_archive::{Archive, ArchiveError, Hole, RoomBatch};
use hubbub_broker::{BrokerError, Fork, Page, Span};
use hubbub_protocol::{Position, RoomId};
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use crate::node::Node;

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
/// A stream is compared with what the archive has of it once in so long, in case that Redis came
/// back with another one.
const TRUST: Duration = Duration::from_secs(30);

/// Why a room cannot be archived now.
#[derive(Debug, thiserror::Error)]
enum QueueError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// How far the archive has a room, and when that was last compared with the stream.
#[derive(Debug)]
struct Known {
    position: Position,
    compared: Instant,
}

/// What one owner knows of its rooms; what it does not know it asks for.
#[derive(Debug, Default)]
struct Progress(HashMap<RoomId, Known>);

/// A room's next events, and where the archive stands with them.
#[derive(Debug)]
struct Next {
    batch: RoomBatch,
    position: Position,
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
        let mut progress = Progress::default();
        let mut is_in_trouble = false;
        let mut counted: Option<Instant> = None;
        loop {
            if counted.is_none_or(|at| at.elapsed() > COUNT_INTERVAL) {
                counted = Some(Instant::now());
                self.count_waiting().await;
            }
            match self.archive_some(&archive, &mut progress).await {
                Ok(rows) => {
                    is_in_trouble = false;
                    // What comes meanwhile is committed together.
                    if rows < BATCH_ROWS / 2 {
                        sleep(LOOK_INTERVAL).await;
                    }
                }
                Err(error) => {
                    // Once a fault: the metrics say how long it lasts.
                    if !std::mem::replace(&mut is_in_trouble, true) {
                        warn!(%error, "events wait for the archive");
                    }
                    progress = Progress::default();
                    sleep(RETRY_PAUSE.mul_f64(fastrand::f64())).await;
                }
            }
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
    ) -> Result<usize, QueueError> {
        let rooms = self.broker.waiting_rooms(BATCH_ROOMS).await?;
        let oldest = rooms.first().map(|(_, since)| *since);
        self.metrics
            .archive_waits(oldest.map_or(Duration::ZERO, since));
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
                    all.push(next);
                }
                Ok(None) => stale.push(room),
                Err(error) if error.is_temporary() => return Err(error),
                Err(error) => self.pass_by(&room, &error).await?,
            }
        }
        drop(nexts);
        stale.iter().for_each(|room| progress.forget(room));
        let all = self.commit(archive, all).await?;
        self.metrics.archived.inc_by(rows as u64);
        let told = all.iter().map(|next| {
            let Next { batch, position } = next;
            self.broker.archived(&batch.room, position)
        });
        try_join_all(told).await?;
        for Next { batch, position } in all {
            progress.set(batch.room, position);
        }
        Ok(rows)
    }

    /// A room that cannot be archived is not to hold up the others.
    async fn pass_by(&self, room: &RoomId, error: &QueueError) -> Result<(), QueueError> {
        error!(%room, %error, "a room cannot be archived");
        Ok(self.broker.postpone(room).await?)
    }

    /// Returns those that were committed.
    async fn commit(&self, archive: &Archive, mut all: Vec<Next>) -> Result<Vec<Next>, QueueError> {
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
                    pass_over(&mut all, &room, offset);
                }
                Err(error) if error.is_retryable() => return Err(error.into()),
                Err(error) if all.len() == 1 => {
                    self.pass_by(&batch[0].room, &error.into()).await?;
                    all.clear();
                }
                Err(_) => {
                    let mut done = Vec::new();
                    for next in all {
                        done.extend(Box::pin(self.commit(archive, vec![next])).await?);
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

    /// What comes next of a room; `None`: nothing, or its stream is no longer the one that was
    /// archived and begins a new life first.
    async fn next_of(
        &self,
        archive: &Archive,
        progress: &Progress,
        room: &RoomId,
    ) -> Result<Option<Next>, QueueError> {
        let Some(start) = self.start_of_archiving(archive, progress, room).await? else {
            return Ok(None);
        };
        let span = Span::After(start.position.offset);
        let page = self.broker.peek(room, span, BATCH_ROWS).await?;
        let follows = |page: &Page| {
            page.head.epoch == start.position.epoch && page.head.offset >= start.position.offset
        };
        let Some(page) = page.filter(follows) else {
            return Ok(None);
        };
        Ok(Some(next_in(room, page, start)))
    }

    /// Up to where the archive has the room's present life.
    async fn start_of_archiving(
        &self,
        archive: &Archive,
        progress: &Progress,
        room: &RoomId,
    ) -> Result<Option<Start>, QueueError> {
        if let Some(position) = progress.get(room) {
            return Ok(Some(Start {
                position: position.clone(),
                base: None,
                hole: None,
            }));
        }
        let Some(page) = self.broker.peek(room, Span::Newest, 0).await? else {
            // Its stream and its place are gone: nothing waits any more.
            let nowhere = Position {
                epoch: hubbub_protocol::Epoch::generate(),
                offset: 0,
            };
            self.broker.archived(room, &nowhere).await?;
            return Ok(None);
        };
        let (head, base) = (page.head, page.base);
        let life = archive.life(room).await?;
        let archived = life.and_then(|life| Some((life.epoch?, life.top)));
        let Some((epoch, top)) = archived else {
            return Ok(Some(Start::of_life(head.epoch, base, None)));
        };
        if epoch != head.epoch {
            let hole = (top < base).then(|| Hole {
                epoch,
                first: top + 1,
                last: base,
                reason: "the broker lost them before they were archived".to_owned(),
            });
            return Ok(Some(Start::of_life(head.epoch, base, hole)));
        }
        let event = archive.event(room, top).await?;
        let fork = Fork {
            epoch: epoch.clone(),
            seen: top,
            event: event.map(|event| (top, event.message)),
            only_empty: false,
        };
        if self.is_forked(room, &fork, head.offset).await? {
            warn!(%room, top, "the stream is another one than was archived");
            self.broker.fork(room, &fork).await?;
            return Ok(None);
        }
        Ok(Some(Start {
            position: Position { epoch, offset: top },
            base: Some(base),
            hole: None,
        }))
    }

    /// Whether the stream ends below what was archived, or has another event in its place.
    async fn is_forked(&self, room: &RoomId, fork: &Fork, head: u64) -> Result<bool, QueueError> {
        if head < fork.seen {
            return Ok(true);
        }
        let Some((offset, message)) = &fork.event else {
            return Ok(false);
        };
        let before = Span::After(offset.saturating_sub(1));
        let page = self.broker.peek(room, before, 1).await?;
        let here = page.and_then(|page| page.events.into_iter().next());
        let here = here.filter(|here| here.position.offset == *offset);
        Ok(here.is_some_and(|here| here.message.is_other(message)))
    }
}

/// Where to go on, and what is known to be lost before it.
struct Start {
    position: Position,
    base: Option<u64>,
    hole: Option<Hole>,
}

impl Start {
    fn of_life(epoch: hubbub_protocol::Epoch, base: u64, hole: Option<Hole>) -> Self {
        Self {
            position: Position {
                epoch,
                offset: base,
            },
            base: Some(base),
            hole,
        }
    }
}

/// The page as a batch. What should be before it, or in its place, and is not, is a hole.
fn next_in(room: &RoomId, page: Page, start: Start) -> Next {
    let Position { epoch, offset } = start.position;
    let mut holes: Vec<Hole> = start.hole.into_iter().collect();
    let first = page.events.first().map(|first| first.position.offset);
    let first = first.unwrap_or(page.head.offset + 1);
    if first > offset + 1 {
        holes.push(Hole {
            epoch: epoch.clone(),
            first: offset + 1,
            last: first - 1,
            reason: "they left the stream before they were archived".to_owned(),
        });
    }
    let last = page.events.last().map(|last| last.position.offset);
    Next {
        position: Position {
            epoch,
            offset: last.unwrap_or(page.head.offset),
        },
        batch: RoomBatch {
            room: room.clone(),
            base: start.base.or(Some(page.base)),
            events: page.events,
            holes,
        },
    }
}

/// Takes an event out that can never be archived, and records that.
fn pass_over(all: &mut [Next], room: &RoomId, offset: u64) {
    for next in all.iter_mut().filter(|next| next.batch.room == *room) {
        next.batch
            .events
            .retain(|event| event.position.offset != offset);
        next.batch.holes.push(Hole {
            epoch: next.position.epoch.clone(),
            first: offset,
            last: offset,
            reason: "it cannot be read".to_owned(),
        });
    }
}

/// From a time in milliseconds since 1970, by the broker's clock, to now, by ours.
fn since(ms: u64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
        .saturating_sub(Duration::from_millis(ms))
}

impl Progress {
    /// Rooms that are remembered; beyond, all are asked for again.
    const ROOMS: usize = 10_000;

    fn get(&self, room: &RoomId) -> Option<&Position> {
        let known = self.0.get(room)?;
        (known.compared.elapsed() < TRUST).then_some(&known.position)
    }

    fn forget(&mut self, room: &RoomId) {
        self.0.remove(room);
    }

    fn set(&mut self, room: RoomId, position: Position) {
        if self.0.len() >= Self::ROOMS {
            self.0.clear();
        }
        let now = Instant::now();
        let compared = self.0.get(&room).map_or(now, |known| known.compared);
        let compared = match compared.elapsed() < TRUST {
            true => compared,
            false => now,
        };
        self.0.insert(room, Known { position, compared });
    }
}
