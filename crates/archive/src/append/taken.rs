//! Places that are taken already: by the same event, which is a repetition, or by another one.

use hubbub_protocol::MessageId;
use serde::Serialize;

use super::Entry;
use super::insert::Fresh;
use super::rooms::Known;
use crate::ArchiveError;
use crate::archive::{Tx, json};
use crate::value::{to_u64, values};

/// An event that was not inserted.
#[derive(Serialize)]
struct Repeated<'a> {
    room: i64,
    number: u64,
    epoch: &'a str,
    message: &'a MessageId,
}

/// Which of them stand beside another id: room, number, the id that is there, the id that came.
const OTHERS: &str = "SELECT e.room_id, e.number, e.message, j.value->>'message' \
    FROM json_each($1) AS j JOIN events e ON e.room_id = CAST(j.value->>'room' AS BIGINT) \
        AND e.number = CAST(j.value->>'number' AS BIGINT) AND e.epoch = j.value->>'epoch' \
    WHERE e.message <> j.value->>'message' ORDER BY e.room_id, e.number";

/// Refuses a batch of which an event would be lost, because another one has its place. What is at
/// most known by its place is no other one.
pub(super) async fn refuse(
    tx: &mut Tx,
    entries: &[Entry<'_>],
    fresh: &[Fresh<'_>],
    known: &Known,
) -> Result<(), ArchiveError> {
    let repeated = repeated(entries, fresh);
    if repeated.is_empty() {
        return Ok(());
    }
    let rows: Vec<(i64, i64, String, String)> = tx.rows(OTHERS, values![json(&repeated)]).await?;
    for (room, number, there, came) in rows {
        if id(&there)?.is_other(&id(&came)?) {
            let room = known.name(room);
            return Err(ArchiveError::Taken {
                room: room.ok_or(ArchiveError::BadRow("a room's number"))?.clone(),
                offset: to_u64(number),
            });
        }
    }
    Ok(())
}

/// Both are in the same order.
fn repeated<'a>(entries: &'a [Entry<'a>], fresh: &[Fresh<'_>]) -> Vec<Repeated<'a>> {
    let mut fresh = fresh.iter().peekable();
    let repeated = entries.iter().filter(|entry| {
        let is_new = |fresh: &&Fresh<'_>| std::ptr::eq(fresh.entry, *entry);
        fresh.next_if(is_new).is_none()
    });
    let rows = repeated.map(|entry| Repeated {
        room: entry.room_id,
        number: entry.event.offset,
        epoch: entry.event.epoch.as_str(),
        message: &entry.event.message,
    });
    rows.collect()
}

fn id(message: &str) -> Result<MessageId, ArchiveError> {
    MessageId::new(message).map_err(|_| ArchiveError::BadRow("a message id"))
}
