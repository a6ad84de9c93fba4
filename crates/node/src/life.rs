//! How a room's stream begins: above everything that it ever had. Where there is an archive, only
//! that knows how far earlier lives came, so it is asked before a life begins.

use hubbub_broker::{Begin, BrokerError, Page, Span};
use hubbub_protocol::{Envelope, Epoch, RoomId};

use crate::node::Node;

impl Node {
    /// What may happen to a room without a stream before the archive was asked.
    pub(crate) fn at_once(&self, seen: u64) -> Begin {
        match self.archive {
            Some(_) => Begin::Never,
            None => Begin::above(seen),
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
                let read = self.broker.read(room, span, limit, &begin).await?;
                self.tell_privacy(room).await?;
                Ok(read)
            }
            read => read,
        }
    }

    /// A life that begins knows nothing of who may be in the room.
    pub(crate) async fn tell_privacy(&self, room: &RoomId) -> Result<(), BrokerError> {
        let Some(archive) = &self.archive else {
            return Ok(());
        };
        match archive.life(room).await {
            Ok(Some(life)) if life.private => self.broker.set_private(room, true).await,
            Ok(_) => Ok(()),
            Err(error) => Err(BrokerError::Unavailable(error.to_string())),
        }
    }

    /// The highest offset that the archive has of a room; 0 where it cannot tell.
    pub(crate) async fn archived_top(&self, room: &RoomId) -> u64 {
        let Some(archive) = &self.archive else {
            return 0;
        };
        match archive.life(room).await {
            Ok(life) => life.map_or(0, |life| life.top),
            Err(error) => {
                tracing::warn!(%room, %error, "the archive cannot tell how far a room came");
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
            Some(archive) => archive
                .events_after(room, epoch, after, limit)
                .await
                .map_err(|error| BrokerError::Unavailable(error.to_string())),
        }
    }
}
