//! Events that have left a room's stream, from the archive.

use hubbub_broker::BrokerError;
use hubbub_protocol::{Envelope, Epoch, RoomId};

use crate::node::Node;

impl Node {
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
                self.bring_events_up_to_date(room, events).await
            }
        }
    }
}
