//! How a room's stream begins: above everything that it ever had. Where there is an archive, only
//! that knows how far earlier lives came, so it is asked before a life begins.

use std::collections::HashSet;
use std::time::Duration;

use hubbub_broker::{Begin, BrokerError, Page, Span};
use hubbub_protocol::{Envelope, Epoch, EventKind, RoomId};

use tokio::time::timeout;

use crate::node::Node;

/// While members of a room wait for it.
const PATIENCE: Duration = Duration::from_millis(300);
/// Changes of one page that are looked through for deletions.
const DELETIONS: usize = 5_000;

impl Node {
    /// What may happen to a room without a stream before the archive was asked. A room in which
    /// something was `seen` has one, unless Redis has lost it: to find that out costs another call
    /// once, an epoch for a new life would cost every publish.
    pub(crate) fn at_once(&self, seen: u64) -> Begin {
        match self.archive {
            None if seen == 0 => Begin::above(0),
            _ => Begin::Never,
        }
    }

    /// The same after it was.
    pub(crate) async fn begin(&self, room: &RoomId, seen: u64) -> Result<Begin, BrokerError> {
        let Some(archive) = &self.archive else {
            return Ok(Begin::above(seen));
        };
        let life = archive.life(room).await;
        let life = life.map_err(|error| BrokerError::Unavailable(error.to_string()))?;
        Ok(match life {
            None => Begin::above(seen),
            Some(life) => Begin::Above {
                offset: life.top.max(seen),
                is_private: life.private,
                epoch: life.epoch.filter(|_| life.top >= seen),
            },
        })
    }

    /// Reads from a room's stream, which begins if there is none.
    pub(crate) async fn read_life(
        &self,
        room: &RoomId,
        span: Span,
        limit: usize,
        seen: u64,
    ) -> Result<Page, BrokerError> {
        let at_once = self.at_once(seen);
        match self.broker.read(room, span, limit, &at_once).await {
            Err(BrokerError::NoLife) => {
                let begin = self.begin(room, seen).await?;
                self.broker.read(room, span, limit, &begin).await
            }
            read => read,
        }
    }

    /// The highest offset that the archive has of a room; 0 where it cannot tell.
    pub(crate) async fn archived_top(&self, room: &RoomId) -> u64 {
        let Some(archive) = &self.archive else {
            return 0;
        };
        match timeout(PATIENCE, archive.life(room)).await {
            Ok(Ok(life)) => life.map_or(0, |life| life.top),
            Ok(Err(error)) => {
                tracing::warn!(%room, %error, "the archive cannot tell how far a room came");
                0
            }
            Err(_) => {
                tracing::warn!(%room, "the archive does not tell in time how far a room came");
                0
            }
        }
    }

    /// Events after `after` as they were sent, from the archive; none where there is no archive.
    pub(crate) async fn archived_after(
        &self,
        room: &RoomId,
        epoch: &Epoch,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Envelope>, BrokerError> {
        match &self.archive {
            None => Ok(Vec::new()),
            Some(archive) => {
                let events = archive.events_after(room, epoch, after, limit).await;
                let events = events.map_err(|error| BrokerError::Unavailable(error.to_string()))?;
                self.bury_deleted(room, events).await
            }
        }
    }

    /// The archive may not know yet what was deleted just now; the stream does.
    async fn bury_deleted(
        &self,
        room: &RoomId,
        mut events: Vec<Envelope>,
    ) -> Result<Vec<Envelope>, BrokerError> {
        let message_of = |event: &Envelope| match event.kind() {
            EventKind::Message => Some(event.position.offset),
            EventKind::Edited => event.read().ok()?.target,
            EventKind::Deleted | EventKind::Reacted => None,
        };
        let messages: Vec<Option<u64>> = events.iter().map(message_of).collect();
        let known = messages.iter().flatten();
        let (Some(first), Some(last)) = (known.clone().min(), known.max()) else {
            return Ok(events);
        };
        let changes = self.broker.changes(room, *first, *last, DELETIONS).await?;
        let deletions = changes
            .iter()
            .filter(|event| event.kind() == EventKind::Deleted);
        let deleted: HashSet<u64> = deletions
            .filter_map(|event| event.read().ok()?.target)
            .collect();
        for (event, message) in events.iter_mut().zip(messages) {
            if message.is_some_and(|message| deleted.contains(&message))
                && event.bury(room).is_err()
            {
                tracing::error!(%room, "the archive holds an event that cannot be read");
            }
        }
        Ok(events)
    }
}
