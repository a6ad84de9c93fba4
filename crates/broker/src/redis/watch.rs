//! Asks once a second which rooms have changed, and tells the node where they stand now. Looks too whether
//! Redis is the one that it was: its runs and the cluster's secret.
//!
//! Pub/sub may lose a message and then stay silent: the channel does not show the loss. The index
//! of changes does, at a cost that grows only with the active rooms. Each look reaches a little
//! behind the one before, so that each change is seen at least twice. A node that is behind at one
//! look may only be waiting for its socket; a node that is still behind at the next look has lost
//! something.

use std::time::{Duration, Instant};

use hubbub_protocol::{Epoch, RoomId};
use redis::aio::MultiplexedConnection;
use tokio::time::sleep;
use tracing::debug;

use super::keys::{Keys, partition_of};
use super::link::Link;
use super::runs::Runs;
use super::secrets::Secrets;
use super::subscriber::Subscriber;
use crate::BrokerError;
use crate::inbox::{InboxSender, RoomHead};

const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How far a look reaches behind the one before.
const OVERLAP_MS: u64 = 2_500;
/// After a pause longer than this, changes may have been missed, so all rooms are read again.
const LATE: Duration = Duration::from_secs(5);

/// A room's epoch, top offset, presence version and count of changes of access.
type FoundHead = (Option<String>, Option<u64>, Option<u64>, Option<u64>);

/// The task that looks for changes.
pub(crate) struct Watch {
    pub(crate) link: Link,
    pub(crate) keys: Keys,
    pub(crate) subscriber: Subscriber,
    pub(super) runs: Runs,
    pub(super) secrets: Secrets,
    pub(crate) inbox: InboxSender,
}

impl Watch {
    /// Runs as long as the node.
    pub(crate) async fn run(self) {
        let mut looked: Option<(Instant, u64)> = None;
        loop {
            sleep(LOOK_INTERVAL).await;
            let began = Instant::now();
            let since = looked.map_or(0, |(_, ms)| ms.saturating_sub(OVERLAP_MS));
            if let Err(error) = self.check_runs().await {
                debug!(%error, "cannot look whether redis still is the same");
            }
            match self.look(since).await {
                Ok(ms) => {
                    let is_late = looked.is_some_and(|(last, last_ms)| {
                        began.duration_since(last) > LATE || ms < last_ms
                    });
                    if is_late {
                        debug!("looked late for changed rooms, all rooms are read again");
                        self.inbox.resync_all();
                    }
                    looked = Some((began, ms));
                }
                Err(error) => debug!(%error, "cannot look at what changed"),
            }
        }
    }

    /// Detects a Redis that was emptied or put back while the connection stayed open.
    async fn check_runs(&self) -> Result<(), BrokerError> {
        let check = async |mut connection: MultiplexedConnection| {
            self.secrets.agree(&mut connection).await?;
            self.runs.check(&mut connection).await
        };
        if self
            .link
            .call(Instant::now() + LOOK_INTERVAL, check)
            .await?
        {
            self.inbox.resync_run();
        }
        Ok(())
    }

    /// Reports the changed rooms. Returns the time of Redis at the look, in milliseconds.
    async fn look(&self, since: u64) -> Result<u64, BrokerError> {
        let rooms = self.subscriber.subscribed();
        let mut partitions: Vec<usize> = rooms.iter().map(partition_of).collect();
        partitions.sort_unstable();
        partitions.dedup();
        let ask = async |mut connection: MultiplexedConnection| {
            let mut pipe = redis::pipe();
            pipe.cmd("TIME");
            for partition in &partitions {
                pipe.zrangebyscore(self.keys.changes(*partition), since, "+inf");
            }
            pipe.query_async::<Vec<Vec<String>>>(&mut connection).await
        };
        let mut answers = self
            .link
            .call(Instant::now() + LOOK_INTERVAL, ask)
            .await?
            .into_iter();
        let ms = milliseconds(&answers.next().unwrap_or_default())?;
        let changed: Vec<RoomId> = answers
            .flatten()
            .filter_map(|room| RoomId::new(&room).ok())
            .filter(|room| rooms.contains(room))
            .collect();
        self.tell_heads(changed).await?;
        Ok(ms)
    }

    async fn tell_heads(&self, rooms: Vec<RoomId>) -> Result<(), BrokerError> {
        if rooms.is_empty() {
            return Ok(());
        }
        let ask = async |mut connection: MultiplexedConnection| {
            let mut pipe = redis::pipe();
            for room in &rooms {
                pipe.cmd("HMGET")
                    .arg(self.keys.room(room).meta())
                    .arg("epoch")
                    .arg("top")
                    .arg("presence")
                    .arg("access");
            }
            let heads: Vec<FoundHead> = pipe.query_async(&mut connection).await?;
            Ok(heads)
        };
        let heads = self.link.call(Instant::now() + LOOK_INTERVAL, ask).await?;
        for (room, (epoch, offset, presence, access)) in rooms.iter().zip(heads) {
            let epoch = epoch.and_then(|epoch| Epoch::new(&epoch).ok());
            let (offset, presence) = (offset.unwrap_or(0), presence.unwrap_or(0));
            self.inbox.head(
                room,
                RoomHead {
                    epoch,
                    offset,
                    presence,
                    access: access.unwrap_or(0),
                },
            );
        }
        Ok(())
    }
}

fn milliseconds(time: &[String]) -> Result<u64, BrokerError> {
    let parse = |index: usize| time.get(index)?.parse::<u64>().ok();
    match (parse(0), parse(1)) {
        (Some(seconds), Some(micros)) => Ok(seconds * 1_000 + micros / 1_000),
        _ => Err(BrokerError::Unexpected("TIME".to_owned())),
    }
}
