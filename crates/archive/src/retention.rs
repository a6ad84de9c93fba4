//! Events that are too old, taken away in small batches.

use std::collections::BTreeMap;

use hubbub_protocol::RoomId;
use serde::Serialize;

use crate::append::{TargetRow, strip, unsearch};
use crate::archive::{Tx, json};
use crate::value::{to_i64, to_u64, values};
use crate::{Archive, ArchiveError, RoomPattern};

#[derive(Serialize)]
struct ExpiredRow<'a> {
    room: i64,
    epoch: &'a str,
    number: i64,
}

/// The oldest events: id, number, epoch, ts.
const OLDEST: &str = "SELECT id, number, epoch, ts FROM events WHERE room_id = $1 \
    ORDER BY number LIMIT $2";
const NOTE: &str = "UPDATE lives SET expired = CAST(j.value->>'number' AS BIGINT) \
    FROM json_each($1) AS j WHERE lives.room_id = CAST(j.value->>'room' AS BIGINT) \
        AND lives.epoch = j.value->>'epoch' AND lives.expired < CAST(j.value->>'number' AS BIGINT)";
const DELETE: &str = "DELETE FROM events \
    WHERE id IN (SELECT CAST(value->>0 AS BIGINT) FROM json_each($1))";

impl Archive {
    /// Takes the oldest events of a room away that are older than `cutoff` (milliseconds since 1970), at
    /// most `limit`; how many. It ends at the first that is younger, so that no hole arises, and notes how
    /// far it got.
    ///
    /// # Errors
    /// [`ArchiveError`] when the database does not answer; then nothing is gone.
    pub async fn expire(
        &self,
        room: &RoomId,
        cutoff: u64,
        limit: usize,
    ) -> Result<u64, ArchiveError> {
        let expire = async {
            let mut tx = self.begin().await?;
            let gone = expire(&mut tx, room, cutoff, limit).await?;
            tx.commit().await?;
            Ok(gone)
        };
        self.state().watch(expire).await
    }

    /// Rooms that match, in the order of their names, after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`ArchiveError`] when the database does not answer.
    pub async fn rooms(
        &self,
        matching: &RoomPattern,
        after: Option<&RoomId>,
        limit: usize,
    ) -> Result<Vec<RoomId>, ArchiveError> {
        // Room ids are ASCII, so all that begin with a prefix lie between it and it followed by DEL.
        let (first, last) = match matching {
            RoomPattern::Exact(name) => (name.clone(), name.clone()),
            RoomPattern::Prefix(prefix) => (prefix.clone(), format!("{prefix}\u{7f}")),
        };
        let sql = "SELECT room FROM rooms WHERE room BETWEEN $1 AND $2 AND room > $3 \
            ORDER BY room LIMIT $4";
        let after = after.map_or("", RoomId::as_str);
        let rows = self.rows::<(String,)>(sql, values![first, last, after, limit]);
        let rows = self.state().watch(rows).await?.into_iter();
        rows.map(|(room,)| RoomId::new(&room).map_err(|_| ArchiveError::BadRow("a room id")))
            .collect()
    }
}

async fn expire(
    tx: &mut Tx,
    room: &RoomId,
    cutoff: u64,
    limit: usize,
) -> Result<u64, ArchiveError> {
    let find = "SELECT id FROM rooms WHERE room = $1";
    let Some((room,)) = tx.rows::<(i64,)>(find, values![room.as_str()]).await?.pop() else {
        return Ok(0);
    };
    let mut old: Vec<(i64, i64, String, i64)> = tx.rows(OLDEST, values![room, limit]).await?;
    let is_old = |(_, _, _, ts): &(i64, i64, String, i64)| *ts < to_i64(cutoff);
    old.truncate(old.iter().take_while(|event| is_old(event)).count());
    if old.is_empty() {
        return Ok(0);
    }
    let mut reached: BTreeMap<&str, ExpiredRow<'_>> = BTreeMap::new();
    for (_, number, epoch, _) in &old {
        let row = ExpiredRow {
            room,
            epoch,
            number: *number,
        };
        reached.insert(epoch, row);
    }
    tx.run_many(NOTE, &reached.into_values().collect::<Vec<_>>())
        .await?;
    let places = old.iter().map(|(_, number, ..)| TargetRow {
        room,
        target: to_u64(*number),
    });
    strip(tx, &places.collect::<Vec<_>>()).await?;
    let ids: Vec<i64> = old.iter().map(|(id, ..)| *id).collect();
    unsearch(tx, &ids).await?;
    let wrapped: Vec<[i64; 1]> = ids.iter().map(|id| [*id]).collect();
    tx.run(DELETE, values![json(&wrapped)]).await
}
