//! Reads the changes of messages: their newest edits, their deletions and their reactions.

use std::ops::RangeInclusive;

use hubbub_protocol::{Envelope, EventKind, RoomId};
use redis::Value;
use redis::aio::MultiplexedConnection;

use super::RedisBroker;
use super::values::parse_entry;
use crate::BrokerError;

/// Reactions that one call reads. A thousand would hold up everybody else in Redis for milliseconds.
const READ_AT_ONCE: usize = 200;

impl RedisBroker {
    pub(crate) async fn changes(
        &self,
        room: &RoomId,
        messages: &[RangeInclusive<u64>],
        above: u64,
        reactions: usize,
    ) -> Result<Vec<Envelope>, BrokerError> {
        let keys = self.0.keys.room(room);
        let find = async |connection: MultiplexedConnection| {
            let mut call = self.0.scripts.changes.call(&[keys.stream(), keys.edits()]);
            call.arg(above).arg(reactions.min(READ_AT_ONCE));
            for part in messages {
                call.arg(part.start()).arg(part.end());
            }
            call.invoke::<(Vec<Value>, Vec<String>)>(connection).await
        };
        let (entries, offsets) = self.0.link.call(self.deadline(), find).await?;
        let mut changes = parse(entries)?;
        let mut offsets: Vec<u64> = offsets.iter().filter_map(|it| it.parse().ok()).collect();
        offsets.sort_unstable();
        let first = offsets.len().saturating_sub(reactions);
        for part in offsets[first..].chunks(READ_AT_ONCE) {
            let read = async |mut connection: MultiplexedConnection| {
                let mut pipe = redis::pipe();
                for offset in part {
                    let id = format!("{offset}-0");
                    pipe.cmd("XRANGE").arg(keys.stream()).arg(&id).arg(&id);
                }
                pipe.query_async::<Vec<Vec<Value>>>(&mut connection).await
            };
            let entries = self.0.link.call(self.deadline(), read).await?;
            changes.extend(parse(entries.into_iter().flatten().collect())?);
        }
        changes.sort_unstable_by_key(|change| change.position.offset);
        keep_newest(&mut changes, reactions);
        Ok(changes)
    }
}

fn parse(entries: Vec<Value>) -> Result<Vec<Envelope>, BrokerError> {
    entries.into_iter().map(parse_entry).collect()
}

/// Removes the oldest reactions, so that at most `most` of them stay.
fn keep_newest(changes: &mut Vec<Envelope>, most: usize) {
    let is_reaction = |change: &Envelope| change.kind() == EventKind::Reacted;
    let reactions = changes.iter().filter(|change| is_reaction(change)).count();
    let mut extra = reactions.saturating_sub(most);
    changes.retain(|change| {
        let goes = extra > 0 && is_reaction(change);
        extra -= usize::from(goes);
        !goes
    });
}
