//! The fence: a room takes only what was read from its stream in the run in which it was compared last.
//!
//! A node that archives a room reads its stream and commits some time later. When Redis comes back with
//! less meanwhile, and the room is compared with the archive, that late commit must not take places
//! which are given again.

use std::collections::BTreeMap;

use hubbub_protocol::{Epoch, RoomId};
use serde::Serialize;

use crate::append::{RoomBatch, enter_rooms};
use crate::archive::{Pair, Tx, json};
use crate::incarnation::{Incarnation, IncarnationColumns, incarnation};
use crate::value::{to_u64, values};
use crate::{Archive, ArchiveError};

#[derive(Serialize)]
struct FenceRow<'a> {
    room: &'a RoomId,
    run: &'a str,
}

#[derive(Serialize)]
struct RunRow {
    part: usize,
    number: u64,
}

const RECORD: &str = "INSERT INTO runs (part, number) \
    SELECT CAST(value->>'part' AS BIGINT), CAST(value->>'number' AS BIGINT) \
    FROM json_each($1) WHERE TRUE ON CONFLICT (part) DO UPDATE SET number = excluded.number \
        WHERE runs.number < excluded.number";
/// Locks the rooms in the order of their names, as every writer does.
const LOCK: Pair = Pair {
    sqlite: "SELECT room, run FROM rooms \
        WHERE room IN (SELECT value->>'room' FROM json_each($1)) ORDER BY room",
    postgres: "SELECT room, run FROM rooms \
        WHERE room IN (SELECT value->>'room' FROM json_each($1)) ORDER BY room FOR NO KEY UPDATE",
};
const SET: &str = "UPDATE rooms SET run = j.value->>'run' FROM json_each($1) AS j \
    WHERE rooms.room = j.value->>'room'";
const LIVES: &str = "SELECT room, epoch, top, private FROM rooms \
    WHERE room IN (SELECT value->>'room' FROM json_each($1))";

impl Archive {
    /// Notes for each room the run of its stream, and returns where the archive has the room. From now
    /// on, events that were read in another run are refused ([`ArchiveError::Fenced`]).
    ///
    /// # Errors
    /// [`ArchiveError`] when the database does not answer; then nothing is noted.
    pub async fn fence<R: AsRef<str>>(
        &self,
        rooms: &[(RoomId, R)],
    ) -> Result<Vec<(RoomId, Incarnation)>, ArchiveError> {
        let fence = async {
            let mut tx = self.begin().await?;
            let lives = fence(&mut tx, rooms).await?;
            tx.commit().await?;
            Ok(lives)
        };
        self.state().watch(fence).await
    }

    /// Records the runs of all partitions, by their places in the order of runs. A newer one that was
    /// recorded before stays. Returns what is recorded then, in the order of partitions.
    ///
    /// # Errors
    /// [`ArchiveError`] when the database does not answer; then nothing is recorded.
    pub async fn record_runs(&self, runs: &[u64]) -> Result<Vec<u64>, ArchiveError> {
        let record = async {
            let mut tx = self.begin().await?;
            let rows = runs.iter().enumerate();
            let rows: Vec<RunRow> = rows
                .map(|(part, number)| RunRow {
                    part,
                    number: *number,
                })
                .collect();
            tx.run_many(RECORD, &rows).await?;
            let known: Vec<(i64,)> = tx
                .rows("SELECT number FROM runs ORDER BY part", values![])
                .await?;
            tx.commit().await?;
            Ok(known.into_iter().map(|(number,)| to_u64(number)).collect())
        };
        self.state().watch(record).await
    }

    /// The highest offset that is archived of one epoch of a room; `None`: none is.
    ///
    /// # Errors
    /// [`ArchiveError`] when the database does not answer.
    pub async fn top_of(&self, room: &RoomId, epoch: &Epoch) -> Result<Option<u64>, ArchiveError> {
        // An epoch that is not known is not looked for among all events of the room.
        let sql = "SELECT max(number) FROM events \
            WHERE room_id = (SELECT room_id FROM lives WHERE epoch = $2 \
                AND room_id = (SELECT id FROM rooms WHERE room = $1)) AND epoch = $2";
        let rows = self.rows::<(Option<i64>,)>(sql, values![room.as_str(), epoch.as_str()]);
        let row = self.state().watch(rows).await?.pop();
        Ok(row.and_then(|(top,)| top).map(to_u64))
    }
}

async fn fence<R: AsRef<str>>(
    tx: &mut Tx,
    rooms: &[(RoomId, R)],
) -> Result<Vec<(RoomId, Incarnation)>, ArchiveError> {
    enter_rooms(tx, rooms.iter().map(|(room, _)| room)).await?;
    let rows: BTreeMap<&RoomId, FenceRow<'_>> = rooms
        .iter()
        .map(|(room, run)| {
            (
                room,
                FenceRow {
                    room,
                    run: run.as_ref(),
                },
            )
        })
        .collect();
    let rows: Vec<FenceRow<'_>> = rows.into_values().collect();
    tx.rows::<(String, Option<String>)>(LOCK, values![json(&rows)])
        .await?;
    tx.run_many(SET, &rows).await?;
    let lives: Vec<(String, Option<String>, i64, bool)> =
        tx.rows(LIVES, values![json(&rows)]).await?;
    let read = |(room, epoch, top, private): (String, Option<String>, i64, bool)| {
        let room = RoomId::new(&room).map_err(|_| ArchiveError::BadRow("a room id"))?;
        let columns: IncarnationColumns = (epoch, top, private);
        Ok((room, incarnation(columns)?))
    };
    lives.into_iter().map(read).collect()
}

/// Refuses a batch that was read in another run than the room was compared in.
pub(crate) async fn check(tx: &mut Tx, batch: &[RoomBatch]) -> Result<(), ArchiveError> {
    let runs: BTreeMap<&RoomId, &str> = batch
        .iter()
        .filter_map(|part| Some((&part.room, part.run.as_deref()?)))
        .collect();
    if runs.is_empty() {
        return Ok(());
    }
    let rows: Vec<FenceRow<'_>> = runs
        .iter()
        .map(|(room, run)| FenceRow { room, run })
        .collect();
    let fences: Vec<(String, Option<String>)> = tx.rows(LOCK, values![json(&rows)]).await?;
    for (room, fence) in fences {
        let room = RoomId::new(&room).map_err(|_| ArchiveError::BadRow("a room id"))?;
        let read_in = runs.get(&room);
        if let (Some(fence), Some(read_in)) = (fence, read_in)
            && fence != **read_in
        {
            return Err(ArchiveError::Fenced { room });
        }
    }
    Ok(())
}
