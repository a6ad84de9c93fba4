//! Taking away what is older than a room keeps, a little at a time: from its stream and the archive
//! by the node that looks after the room, from the memory of every node by itself.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hubbub_archive::{Archive, ArchiveError, RoomPattern};
use hubbub_broker::BrokerError;
use hubbub_outage::Outage;
use hubbub_protocol::RoomId;
use tokio::time::sleep;

use crate::RoomRule;
use crate::node::Node;

/// Between two rounds, at most; a round comes at least ten times within what a table keeps.
const INTERVAL: Duration = Duration::from_secs(60);
/// Events of one transaction.
const BATCH: usize = 1_000;
/// Rooms that are listed at once.
const ROOMS: usize = 500;
/// Between two transactions: others write too.
const PAUSE: Duration = Duration::from_millis(50);

/// Why old events are still there.
#[derive(Debug, thiserror::Error)]
enum RetentionError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

impl Node {
    /// Runs for as long as the node. Each room has one node that takes its events away.
    pub(crate) async fn keep_retention(&self) {
        let shortest = self.config.rooms.iter().filter_map(|rule| rule.keep).min();
        let Some(shortest) = shortest else { return };
        let interval = INTERVAL.min(shortest / 10);
        let outage = Outage::new();
        loop {
            sleep(interval).await;
            // The stream first: what is read from it meanwhile is not put into a node's memory again.
            if let Err(error) = self.expire_streams().await
                && let Some(now) = outage.fail(&error)
            {
                tracing::warn!(%error, failures = now.failures, lasted = ?now.lasted,
                    "old events stay in the streams for now");
            }
            self.expire_logs();
            let Some(archive) = &self.archive else {
                continue;
            };
            for rule in &self.config.rooms {
                if let Err(error) = self.expire_archive(archive, rule).await
                    && let Some(now) = outage.fail(&error)
                {
                    tracing::warn!(%error, failures = now.failures, lasted = ?now.lasted,
                        "old events stay in the archive for now");
                }
            }
        }
    }

    /// The time before which a room keeps nothing, in milliseconds since 1970.
    fn cutoff_of(&self, room: &RoomId) -> Option<u64> {
        self.config.retention_of(room)?.keep.map(cutoff)
    }

    async fn expire_streams(&self) -> Result<(), RetentionError> {
        for room in self.broker.owned_rooms().await? {
            if let Some(cutoff) = self.cutoff_of(&room) {
                self.expire_stream(&room, cutoff).await?;
            }
        }
        Ok(())
    }

    async fn expire_stream(&self, room: &RoomId, cutoff: u64) -> Result<(), RetentionError> {
        while self.broker.expire(room, cutoff).await? {
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Gives up what this node holds of its open rooms.
    fn expire_logs(&self) {
        for room in self.hub.rooms() {
            if let Some(cutoff) = self.cutoff_of(&room.id) {
                room.expire_events(cutoff);
            }
        }
    }

    /// Streams are looked at once more: one that waits for the archive may outlast its entry in the
    /// list of streams.
    async fn expire_archive(
        &self,
        archive: &Archive,
        rule: &RoomRule,
    ) -> Result<(), RetentionError> {
        let Some(keep) = rule.keep else { return Ok(()) };
        let pattern = match rule.pattern.strip_suffix('*') {
            Some(beginning) => RoomPattern::Prefix(beginning.to_owned()),
            None => RoomPattern::Exact(rule.pattern.clone()),
        };
        let mut after: Option<RoomId> = None;
        loop {
            let rooms = archive.rooms(&pattern, after.as_ref(), ROOMS).await?;
            for room in &rooms {
                let is_ruled = self.config.retention_of(room) == Some(rule);
                if is_ruled && self.broker.owns(room) {
                    self.expire_stream(room, cutoff(keep)).await?;
                    expire_archived(archive, room, cutoff(keep)).await?;
                }
            }
            if rooms.len() < ROOMS {
                return Ok(());
            }
            after = rooms.last().cloned();
        }
    }
}

async fn expire_archived(
    archive: &Archive,
    room: &RoomId,
    cutoff: u64,
) -> Result<(), RetentionError> {
    while archive.expire(room, cutoff, BATCH).await? == BATCH as u64 {
        sleep(PAUSE).await;
    }
    Ok(())
}

/// The time before which nothing is kept, in milliseconds since 1970.
fn cutoff(keep: Duration) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let cutoff = now.unwrap_or_default().saturating_sub(keep).as_millis();
    u64::try_from(cutoff).expect("milliseconds since 1970 fit for ages")
}
