//! Deleted messages: what they said goes, their place stays.

use std::collections::BTreeMap;

use hubbub_protocol::{RoomId, StoredEvent};
use serde::Serialize;

use super::change::{Changed, strip, target_rows};
use super::rooms::Known;
use crate::ArchiveError;
use crate::archive::{Pair, Tx, json};
use crate::value::values;

#[derive(Serialize)]
pub(super) struct Tombstone {
    id: i64,
    frame: String,
}

/// The deleted messages, their edits, and edits that came too late.
const BODIES: &str = "SELECT e.id, e.room_id, e.frame FROM json_each($1) AS j \
        JOIN events e ON e.room_id = CAST(j.value->>'room' AS BIGINT) \
            AND e.number = CAST(j.value->>'target' AS BIGINT) WHERE e.kind = 0 \
    UNION SELECT e.id, e.room_id, e.frame FROM json_each($1) AS j \
        JOIN events e ON e.room_id = CAST(j.value->>'room' AS BIGINT) \
            AND e.target = CAST(j.value->>'target' AS BIGINT) WHERE e.kind = 1 \
    UNION SELECT e.id, e.room_id, e.frame FROM json_each($2) AS j \
        JOIN events e ON e.id = CAST(j.value->>0 AS BIGINT)";
pub(super) const BURY: Pair = Pair {
    sqlite: "UPDATE events SET frame = j.value->>'frame', deleted = TRUE, edit_id = NULL, \
            edit_number = NULL \
        FROM json_each($1) AS j WHERE events.id = j.value->>'id'",
    postgres: "UPDATE events SET frame = j.value->>'frame', deleted = TRUE, edit_id = NULL, \
            edit_number = NULL, search = NULL \
        FROM json_each($1) AS j WHERE events.id = CAST(j.value->>'id' AS BIGINT)",
};

/// Takes bodies, words, mentions and reactions away, and leaves tombstones; their ids.
pub(super) async fn bury(
    tx: &mut Tx,
    changed: &Changed<'_>,
    known: &Known,
) -> Result<Vec<i64>, ArchiveError> {
    if changed.messages.is_empty() && changed.late_edits.is_empty() {
        return Ok(Vec::new());
    }
    let places = target_rows(&changed.messages);
    let late: Vec<[i64; 1]> = changed.late_edits.iter().map(|id| [*id]).collect();
    let values = values![json(&places), json(&late)];
    let bodies: Vec<(i64, i64, String)> = tx.rows(BODIES, values).await?;
    let mut tombstones = BTreeMap::new();
    for (id, room, frame) in bodies {
        let room = known
            .name(room)
            .ok_or(ArchiveError::BadRow("a room's number"))?;
        tombstones.insert(id, tombstone(room, id, &frame)?);
    }
    let ids: Vec<i64> = tombstones.keys().copied().collect();
    tx.run_many(BURY, &tombstones.into_values().collect::<Vec<_>>())
        .await?;
    strip(tx, &places).await?;
    Ok(ids)
}

pub(super) fn tombstone(room: &RoomId, id: i64, frame: &str) -> Result<Tombstone, ArchiveError> {
    let event = StoredEvent::parse(frame).map_err(|_| ArchiveError::BadRow("a frame"))?;
    let frame = event.tombstone(room).as_str().to_owned();
    Ok(Tombstone { id, frame })
}
