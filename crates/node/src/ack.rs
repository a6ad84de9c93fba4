//! What a `sent` reply may promise beyond the stream: a replica, or the archive.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hubbub_broker::Span;
use hubbub_protocol::{AckLevel, Position, RoomId};
use tokio::sync::watch;
use tokio::time::{sleep, timeout_at};

use crate::lock::lock;
use crate::node::Node;

/// How often a room is looked at while somebody waits for the archive to have it.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

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
        match is_reached {
            true => wanted,
            false => AckLevel::Stream,
        }
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
        let mut rooms = lock(&self.archive_progress.0);
        if let Some(sender) = rooms.get(room) {
            return sender.subscribe();
        }
        let (sender, receiver) = watch::channel(None);
        rooms.insert(room.clone(), sender);
        drop(rooms);
        let (node, room) = (Arc::clone(self), room.clone());
        self.spawn(async move {
            while node.look_at_progress(&room).await {
                sleep(LOOK_INTERVAL).await;
            }
        });
        receiver
    }

    /// Returns whether somebody waits still.
    async fn look_at_progress(&self, room: &RoomId) -> bool {
        let page = self.broker.peek(room, Span::Newest, 0).await;
        let mut rooms = lock(&self.archive_progress.0);
        let Some(sender) = rooms.get(room) else {
            return false;
        };
        if sender.receiver_count() == 0 {
            rooms.remove(room);
            return false;
        }
        if let Ok(Some(page)) = page
            && let Some(offset) = page.archived
        {
            sender.send_replace(Some(Position {
                epoch: page.head.epoch,
                offset,
            }));
        }
        true
    }
}
