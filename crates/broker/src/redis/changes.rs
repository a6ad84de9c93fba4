//! Reads the changes of messages: their newest edits, their deletions and their reactions.

use std::ops::RangeInclusive;

use hubbub_protocol::{Envelope, RoomId};
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
            call.arg(above).arg(reactions).arg(READ_AT_ONCE);
            for part in messages.iter().rev() {
                call.arg(part.start()).arg(part.end());
            }
            call.invoke::<(Vec<Value>, Vec<String>)>(connection).await
        };
        let (entries, offsets) = self.0.link.call(self.deadline(), find).await?;
        let mut changes = parse(entries)?;
        for part in offsets.chunks(READ_AT_ONCE) {
            let read = async |mut connection: MultiplexedConnection| {
                let mut pipe = redis::pipe();
                for offset in part {
                    let id = format!("{}-0", offset.trim_start_matches('0'));
                    pipe.cmd("XRANGE").arg(keys.stream()).arg(&id).arg(&id);
                }
                pipe.query_async::<Vec<Vec<Value>>>(&mut connection).await
            };
            let entries = self.0.link.call(self.deadline(), read).await?;
            changes.extend(parse(entries.into_iter().flatten().collect())?);
        }
        changes.sort_unstable_by_key(|change| change.position.offset);
        Ok(changes)
    }
}

fn parse(entries: Vec<Value>) -> Result<Vec<Envelope>, BrokerError> {
    entries.into_iter().map(parse_entry).collect()
}
