//! Taking away what is older than the archive is to keep, a little at a time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hubbub_archive::{Archive, ArchiveError, RoomPattern};
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

impl Node {
    /// Runs for as long as the node. Each room has one node that does it.
    pub(crate) async fn keep_retention(&self, archive: Archive) {
        let shortest = self.config.rooms.iter().filter_map(|rule| rule.keep).min();
        let Some(shortest) = shortest else { return };
        let interval = INTERVAL.min(shortest / 10);
        loop {
            sleep(interval).await;
            for rule in &self.config.rooms {
                if let Err(error) = self.expire(&archive, rule).await {
                    tracing::warn!(%error, "old events are not taken away yet");
                }
            }
        }
    }

    async fn expire(&self, archive: &Archive, rule: &RoomRule) -> Result<(), ArchiveError> {
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
                    expire_room(archive, room, keep).await?;
                }
            }
            if rooms.len() < ROOMS {
                return Ok(());
            }
            after = rooms.last().cloned();
        }
    }
}

async fn expire_room(archive: &Archive, room: &RoomId, keep: Duration) -> Result<(), ArchiveError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let cutoff = now.unwrap_or_default().saturating_sub(keep).as_millis();
    let cutoff = u64::try_from(cutoff).expect("milliseconds since 1970 fit for ages");
    while archive.expire(room, cutoff, BATCH).await? == BATCH as u64 {
        sleep(PAUSE).await;
    }
    Ok(())
}
