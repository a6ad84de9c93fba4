//! How far users have read; it only goes forward.

use std::collections::BTreeMap;

use hubbub_protocol::{RoomId, UserId};
use serde::Serialize;

use crate::append::enter_rooms;
use crate::value::now;
use crate::{Archive, ArchiveError};

/// Up to where a user has read a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadMark {
    /// The user.
    pub user: UserId,
    /// Where.
    pub room: RoomId,
    /// The last event that was read.
    pub offset: u64,
    /// The user has joined: it counts only where there is no mark yet.
    pub is_join: bool,
}

#[derive(Serialize)]
struct Row<'a> {
    user: &'a UserId,
    room: i64,
    number: u64,
    now: u64,
}

const JOINED: &str = "INSERT INTO reads (user_id, room_id, number, updated) \
    SELECT value->>'user', CAST(value->>'room' AS BIGINT), CAST(value->>'number' AS BIGINT), \
        CAST(value->>'now' AS BIGINT) \
    FROM json_each($1) WHERE TRUE ON CONFLICT (user_id, room_id) DO NOTHING";
const READ: &str = "INSERT INTO reads (user_id, room_id, number, updated) \
    SELECT value->>'user', CAST(value->>'room' AS BIGINT), CAST(value->>'number' AS BIGINT), \
        CAST(value->>'now' AS BIGINT) \
    FROM json_each($1) WHERE TRUE ON CONFLICT (user_id, room_id) \
        DO UPDATE SET number = excluded.number, updated = excluded.updated \
        WHERE reads.number < excluded.number";

impl Archive {
    /// Saves marks in one transaction. The highest of a user and room wins.
    ///
    /// # Errors
    /// [`ArchiveError`] when the database does not answer; then none is saved, and it can be repeated.
    pub async fn save_reads(&self, marks: &[ReadMark]) -> Result<(), ArchiveError> {
        if marks.is_empty() {
            return Ok(());
        }
        let save = async {
            let mut tx = self.begin().await?;
            let known = enter_rooms(&mut tx, marks.iter().map(|mark| &mark.room)).await?;
            for (is_join, sql) in [(true, JOINED), (false, READ)] {
                let mut rows: BTreeMap<(&UserId, i64), Row<'_>> = BTreeMap::new();
                for mark in marks.iter().filter(|mark| mark.is_join == is_join) {
                    let (user, room) = (&mark.user, known.id(&mark.room)?);
                    let row = rows.entry((user, room)).or_insert(Row {
                        user,
                        room,
                        number: 0,
                        now: now(),
                    });
                    row.number = row.number.max(mark.offset);
                }
                tx.run_many(sql, &rows.into_values().collect::<Vec<_>>())
                    .await?;
            }
            tx.commit().await
        };
        self.state().watch(save).await
    }
}
