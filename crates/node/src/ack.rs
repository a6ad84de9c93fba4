//! The levels that a `sent` reply may promise beyond the stream: a replica, or the archive.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hubbub_broker::Span;
use hubbub_protocol::{AckLevel, Position, RoomId};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{sleep, timeout_at};

use crate::node::Node;

/// The pause between two looks at a room while somebody waits for the archive to have it. It grows while
/// nothing changes, so that an archive that is away costs Redis little.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// How far the archive has rooms that somebody waits for: one look serves all who wait.
#[derive(Debug, Default)]
pub(crate) struct ArchiveProgress(Mutex<HashMap<RoomId, watch::Sender<Option<Position>>>>);

impl Node {
    /// The highest level up to `wanted` that a stored event reaches by the deadline.
    pub(crate) async fn reached(
        self: &Arc<Self>,
        room: &RoomId,
        position: &Position,
        wanted: AckLevel,
        deadline: Instant,
    ) -> AckLevel {
        let is_reached = match wanted {
            AckLevel::Stream => true,
            AckLevel::Replicated => self.broker.replicated(deadline).await,
            AckLevel::Archived => self.is_archived(room, position, deadline).await,
        };
        if is_reached { wanted } else { AckLevel::Stream }
    }

    async fn is_archived(
        self: &Arc<Self>,
        room: &RoomId,
        position: &Position,
        deadline: Instant,
    ) -> bool {
        if self.broker.is_archived() || self.archive.is_none() {
            return self.archive.is_some();
        }
        let mut progress = self.progress_of(room);
        let has_it = |archived: &Option<Position>| {
            let archived = archived.as_ref();
            archived.is_some_and(|archived| {
                archived.epoch == position.epoch && archived.offset >= position.offset
            })
        };
        let reached = timeout_at(deadline.into(), progress.wait_for(has_it)).await;
        matches!(reached, Ok(Ok(_)))
    }

    /// Looks at the room for as long as somebody holds what this returns.
    fn progress_of(self: &Arc<Self>, room: &RoomId) -> watch::Receiver<Option<Position>> {
        let mut rooms = self.archive_progress.0.lock();
        if let Some(sender) = rooms.get(room) {
            return sender.subscribe();
        }
        let (sender, receiver) = watch::channel(None);
        rooms.insert(room.clone(), sender);
        drop(rooms);
        let (node, room) = (Arc::clone(self), room.clone());
        self.spawn(async move {
            let mut pause = FIRST_PAUSE;
            while let Some(has_moved) = node.look_at_progress(&room).await {
                pause = if has_moved {
                    FIRST_PAUSE
                } else {
                    (pause * 2).min(LONGEST_PAUSE)
                };
                sleep(pause).await;
            }
        });
        receiver
    }

    /// Returns whether the archive has got more since the last look; `None`: nobody waits any more.
    async fn look_at_progress(&self, room: &RoomId) -> Option<bool> {
        let page = self.broker.peek(room, Span::Newest, 0).await;
        let mut rooms = self.archive_progress.0.lock();
        let sender = rooms.get(room)?;
        if sender.receiver_count() == 0 {
            rooms.remove(room);
            return None;
        }
        let Ok(Some(page)) = page else {
            return Some(false);
        };
        let now = page.archived.map(|offset| Position {
            epoch: page.head.epoch,
            offset,
        });
        Some(sender.send_if_modified(|known| {
            let has_moved = *known != now;
            *known = now;
            has_moved
        }))
    }
}
