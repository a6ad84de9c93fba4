//! Edited messages: the newest body takes the place of the old one, and earlier edits lose theirs.

use std::collections::BTreeMap;

use hubbub_protocol::{Envelope, RoomId};
use serde::Serialize;

use super::bury::{BURY, tombstone};
use super::change::{Changed, target_rows};
use super::insert::Fresh;
use super::rooms::Known;
use crate::ArchiveError;
use crate::archive::{EventColumns, Tx, envelope, json};
use crate::value::values;

#[derive(Serialize)]
struct FrameRow {
    id: i64,
    frame: String,
}

/// Messages by their ids: id, room, then the columns of an event.
const MESSAGES: &str = "SELECT e.id, e.room_id, e.epoch, e.number, e.message, e.frame \
    FROM json_each($1) AS j JOIN events e ON e.id = CAST(j.value->>0 AS BIGINT)";
const REWRITE: &str = "UPDATE events SET frame = j.value->>'frame' \
    FROM json_each($1) AS j WHERE events.id = CAST(j.value->>'id' AS BIGINT)";
/// Edits that have a body though a newer one of the same message is there: id, room, frame.
const SUPERSEDED: &str = "SELECT e.id, e.room_id, e.frame FROM json_each($1) AS j \
    JOIN events e ON e.room_id = CAST(j.value->>'room' AS BIGINT) \
        AND e.target = CAST(j.value->>'target' AS BIGINT) \
    WHERE e.kind = 1 AND NOT e.deleted AND e.number < (SELECT max(n.number) FROM events n \
        WHERE n.room_id = e.room_id AND n.target = e.target AND n.kind = 1 AND NOT n.deleted)";

type MessageRow = (i64, i64, String, i64, String, String);

/// Rewrites the frames of edited messages and of the edits that a newer one has replaced.
pub(super) async fn supersede(
    tx: &mut Tx,
    changed: &Changed<'_>,
    known: &Known,
) -> Result<(), ArchiveError> {
    if changed.edited.is_empty() {
        return Ok(());
    }
    rewrite(tx, &changed.edits, known).await?;
    let places = json(&target_rows(&changed.edited));
    let rows: Vec<(i64, i64, String)> = tx.rows(SUPERSEDED, values![places]).await?;
    let tombstones = rows
        .into_iter()
        .map(|(id, room, frame)| tombstone(name(known, room)?, id, &frame))
        .collect::<Result<Vec<_>, _>>()?;
    tx.run_many(BURY, &tombstones).await
}

async fn rewrite(
    tx: &mut Tx,
    edits: &[(i64, &Fresh<'_>)],
    known: &Known,
) -> Result<(), ArchiveError> {
    let edits: BTreeMap<i64, &Fresh<'_>> = edits.iter().copied().collect();
    let ids: Vec<[i64; 1]> = edits.keys().map(|id| [*id]).collect();
    let rows: Vec<MessageRow> = tx.rows(MESSAGES, values![json(&ids)]).await?;
    let mut frames = Vec::with_capacity(rows.len());
    for (id, room, epoch, number, message, frame) in rows {
        let columns: EventColumns = (epoch, number, message, frame);
        let mut event: Envelope = envelope(columns)?;
        if let Some(edit) = edits.get(&id) {
            let edited = event.take_edit(name(known, room)?, &edit.entry.event);
            edited.map_err(|_| ArchiveError::BadRow("a frame"))?;
        }
        let frame = event.frame.as_str().to_owned();
        frames.push(FrameRow { id, frame });
    }
    tx.run_many(REWRITE, &frames).await
}

fn name(known: &Known, room: i64) -> Result<&RoomId, ArchiveError> {
    let name = known.name(room);
    name.ok_or(ArchiveError::BadRow("a room's number"))
}
