//! The rooms of a batch: entered when they are new, moved on to their newest event.

use std::collections::BTreeMap;

use hubbub_protocol::{Epoch, RoomId};
use serde::Serialize;

use super::batch::RoomBatch;
use crate::ArchiveError;
use crate::archive::{Tx, json};
use crate::value::{now, values};

/// Rooms as they were before a batch.
pub(crate) struct Known(BTreeMap<RoomId, Row>);

struct Row {
    id: i64,
    /// No event is in it yet.
    is_new: bool,
}

/// A life and where it began.
#[derive(Serialize)]
struct LifeRow<'a> {
    room: i64,
    epoch: &'a str,
    base: Option<u64>,
    now: u64,
}

#[derive(Serialize)]
struct TopRow<'a> {
    room: i64,
    epoch: &'a str,
    top: u64,
}

#[derive(Serialize)]
struct HoleRow<'a> {
    room: i64,
    epoch: &'a str,
    first: u64,
    last: u64,
    reason: &'a str,
    now: u64,
}

#[derive(Serialize)]
struct MemberRow<'a> {
    room: i64,
    user: &'a str,
    now: u64,
}

impl Known {
    pub(crate) fn id(&self, room: &RoomId) -> Result<i64, ArchiveError> {
        let row = self.0.get(room).map(|row| row.id);
        row.ok_or(ArchiveError::BadRow("a room without a number"))
    }

    pub(super) fn name(&self, id: i64) -> Option<&RoomId> {
        self.0
            .iter()
            .find(|(_, row)| row.id == id)
            .map(|(room, _)| room)
    }
}

/// Gives every room a number; in the order of names, so that two writers do not wait for each other in
/// a circle.
pub(crate) async fn enter<'a>(
    tx: &mut Tx,
    rooms: impl Iterator<Item = &'a RoomId>,
) -> Result<Known, ArchiveError> {
    let mut names: Vec<&RoomId> = rooms.collect();
    names.sort_unstable();
    names.dedup();
    let insert = "INSERT INTO rooms (room) SELECT value->>0 FROM json_each($1) WHERE TRUE \
        ON CONFLICT (room) DO NOTHING";
    let wrapped: Vec<[&RoomId; 1]> = names.iter().map(|name| [*name]).collect();
    tx.run_many(insert, &wrapped).await?;
    let select = "SELECT room, id, epoch IS NULL FROM rooms \
        WHERE room IN (SELECT value->>0 FROM json_each($1))";
    let rows: Vec<(String, i64, bool)> = tx.rows(select, values![json(&wrapped)]).await?;
    let known = rows.into_iter().map(|(room, id, is_new)| {
        let room = RoomId::new(&room).map_err(|_| ArchiveError::BadRow("a room id"))?;
        Ok((room, Row { id, is_new }))
    });
    Ok(Known(known.collect::<Result<_, ArchiveError>>()?))
}

/// The first event of a direct message's room makes both its members.
pub(super) async fn open_direct(tx: &mut Tx, known: &Known) -> Result<(), ArchiveError> {
    let now = now();
    let mut members = Vec::new();
    for (room, row) in known.0.iter().filter(|(_, row)| row.is_new) {
        for user in room.pair().into_iter().flatten() {
            let room = row.id;
            members.push(MemberRow { room, user, now });
        }
    }
    let insert = "INSERT INTO members (room_id, user_id, added) \
        SELECT CAST(value->>'room' AS BIGINT), value->>'user', CAST(value->>'now' AS BIGINT) \
        FROM json_each($1) WHERE TRUE ON CONFLICT (room_id, user_id) DO NOTHING";
    tx.run_many(insert, &members).await?;
    let close = "UPDATE rooms SET private = TRUE \
        WHERE id IN (SELECT CAST(value->>'room' AS BIGINT) FROM json_each($1))";
    tx.run_many(close, &members).await
}

/// Notes each life that the batch tells of, and moves the rooms on. A room never goes back: its newest
/// life is the one with the highest offset, since a new one begins above all that was seen.
pub(super) async fn advance(
    tx: &mut Tx,
    batch: &[RoomBatch],
    known: &Known,
) -> Result<(), ArchiveError> {
    let now = now();
    let mut lives: BTreeMap<(i64, &Epoch), LifeRow<'_>> = BTreeMap::new();
    let mut tops: BTreeMap<i64, TopRow<'_>> = BTreeMap::new();
    for part in batch {
        let room = known.id(&part.room)?;
        let newest = part.events.last().map(|event| &event.position.epoch);
        for (epoch, top) in reached(part) {
            let known = part.base.filter(|_| Some(epoch) == newest);
            let life = lives.entry((room, epoch)).or_insert(LifeRow {
                room,
                epoch: epoch.as_str(),
                base: None,
                now,
            });
            life.base = life.base.or(known);
            let epoch = epoch.as_str();
            let row = tops.entry(room).or_insert(TopRow { room, epoch, top });
            if row.top < top {
                *row = TopRow { room, epoch, top };
            }
        }
    }
    let insert = "INSERT INTO lives (room_id, epoch, base, first_seen) \
        SELECT CAST(value->>'room' AS BIGINT), value->>'epoch', CAST(value->>'base' AS BIGINT), \
            CAST(value->>'now' AS BIGINT) \
        FROM json_each($1) WHERE TRUE \
        ON CONFLICT (room_id, epoch) DO UPDATE SET base = excluded.base \
            WHERE lives.base IS NULL AND excluded.base IS NOT NULL";
    tx.run_many(insert, &lives.into_values().collect::<Vec<_>>())
        .await?;
    let update = "UPDATE rooms SET epoch = j.value->>'epoch', top = CAST(j.value->>'top' AS BIGINT) \
        FROM json_each($1) AS j WHERE rooms.id = CAST(j.value->>'room' AS BIGINT) \
            AND rooms.top < CAST(j.value->>'top' AS BIGINT)";
    tx.run_many(update, &tops.into_values().collect::<Vec<_>>())
        .await
}

/// The lives of a part, and how far each goes there.
fn reached(part: &RoomBatch) -> impl Iterator<Item = (&Epoch, u64)> {
    let events = part.events.iter();
    let events = events.map(|event| (&event.position.epoch, event.position.offset));
    events.chain(part.holes.iter().map(|hole| (&hole.epoch, hole.last)))
}

pub(super) async fn note_holes(
    tx: &mut Tx,
    batch: &[RoomBatch],
    known: &Known,
) -> Result<(), ArchiveError> {
    let now = now();
    let mut rows = Vec::new();
    for part in batch {
        let room = known.id(&part.room)?;
        rows.extend(part.holes.iter().map(|hole| HoleRow {
            room,
            epoch: hole.epoch.as_str(),
            first: hole.first,
            last: hole.last,
            reason: &hole.reason,
            now,
        }));
    }
    let insert = "INSERT INTO holes (room_id, epoch, first, last, reason, at) \
        SELECT CAST(value->>'room' AS BIGINT), value->>'epoch', CAST(value->>'first' AS BIGINT), \
            CAST(value->>'last' AS BIGINT), value->>'reason', CAST(value->>'now' AS BIGINT) \
        FROM json_each($1) WHERE TRUE ON CONFLICT (room_id, epoch, first, last) DO NOTHING";
    tx.run_many(insert, &rows).await
}
