//! Reading back: raw events for a resume, folded messages for people.

use std::collections::BTreeMap;

use hubbub_protocol::fold::{MESSAGE_REACTIONS, NAMED_USERS, Reactions, fold};
use hubbub_protocol::{Envelope, Epoch, Nonce, Position, ReactionKey, RoomId, UserId};

use crate::archive::{EventColumns, envelope, json, to_frame};
use crate::value::{to_i64, to_u64, values};
use crate::{Archive, ArchiveError};

/// Which messages of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistorySpan {
    /// The newest below an offset, or the newest of all.
    Before(Option<u64>),
    /// The oldest above an offset.
    After(u64),
}

const NEWEST: &str = "SELECT m.room_id, m.epoch, m.number, m.message, m.frame, e.frame FROM events m \
    LEFT JOIN events e ON e.id = m.edit_id \
    WHERE m.room_id = (SELECT id FROM rooms WHERE room = $1) AND m.kind = 0 AND m.number < $2 \
    ORDER BY m.number DESC LIMIT $3";
const OLDEST: &str = "SELECT m.room_id, m.epoch, m.number, m.message, m.frame, e.frame FROM events m \
    LEFT JOIN events e ON e.id = m.edit_id \
    WHERE m.room_id = (SELECT id FROM rooms WHERE room = $1) AND m.kind = 0 AND m.number > $2 \
    ORDER BY m.number LIMIT $3";
/// The first users of each reaction to some messages, and how many there are.
const REACTIONS: &str = "SELECT room_id, target, key, user_id, total FROM ( \
        SELECT r.room_id, r.target, r.key, r.user_id, \
            count(*) OVER (PARTITION BY r.room_id, r.target, r.key) AS total, \
            min(r.number) OVER (PARTITION BY r.room_id, r.target, r.key) AS since, \
            row_number() OVER (PARTITION BY r.room_id, r.target, r.key \
                ORDER BY r.number, r.user_id) AS place \
        FROM json_each($1) AS j JOIN reactions r ON r.room_id = CAST(j.value->>0 AS BIGINT) \
            AND r.target = CAST(j.value->>1 AS BIGINT)) AS found \
    WHERE place <= $2 ORDER BY room_id, target, since, key, place";

/// A message as it is stored, and its newest edit's frame: room, epoch, number, message, frame, edit.
pub(crate) type MessageColumns = (i64, String, i64, String, String, Option<String>);

/// Reactions by the number of the room and the offset of the message.
type Reacted = BTreeMap<(i64, i64), Vec<Reactions>>;

impl Archive {
    /// A page of messages as they stand now, oldest first.
    ///
    /// # Errors
    /// [`ArchiveError`] when the database does not answer.
    pub async fn history(
        &self,
        room: &RoomId,
        span: HistorySpan,
        limit: usize,
    ) -> Result<Vec<Envelope>, ArchiveError> {
        self.state().watch(self.page(room, span, limit)).await
    }

    async fn page(
        &self,
        room: &RoomId,
        span: HistorySpan,
        limit: usize,
    ) -> Result<Vec<Envelope>, ArchiveError> {
        let (sql, from) = match span {
            HistorySpan::Before(before) => (NEWEST, before.map_or(i64::MAX, to_i64)),
            HistorySpan::After(after) => (OLDEST, to_i64(after)),
        };
        let mut rows: Vec<MessageColumns> =
            self.rows(sql, values![room.as_str(), from, limit]).await?;
        if matches!(span, HistorySpan::Before(_)) {
            rows.reverse();
        }
        self.fold_all(rows).await
    }

    /// Messages as they stand now.
    pub(crate) async fn fold_all(
        &self,
        rows: Vec<MessageColumns>,
    ) -> Result<Vec<Envelope>, ArchiveError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let places: Vec<(i64, i64)> = rows.iter().map(|row| (row.0, row.2)).collect();
        let reactions = self.rows(REACTIONS, values![json(&places), NAMED_USERS]);
        let mut reactions = gather(reactions.await?)?;
        rows.into_iter()
            .map(|row| {
                let reactions = reactions.remove(&(row.0, row.2)).unwrap_or_default();
                folded(row, &reactions)
            })
            .collect()
    }

    /// The events after `after` in one life, as clients got them, or tombstones; the list ends before the first
    /// event that is not there.
    ///
    /// # Errors
    /// [`ArchiveError`] when the database does not answer.
    pub async fn events_after(
        &self,
        room: &RoomId,
        epoch: &Epoch,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Envelope>, ArchiveError> {
        let sql = "SELECT epoch, number, message, frame FROM events \
            WHERE room_id = (SELECT id FROM rooms WHERE room = $1) AND number > $2 AND epoch = $3 \
            ORDER BY number LIMIT $4";
        let values = values![room.as_str(), after, epoch.as_str(), limit];
        let rows = self.rows::<EventColumns>(sql, values);
        let rows = self.state().watch(rows).await?;
        let expected = (to_i64(after)..).skip(1);
        let consecutive = rows.into_iter().zip(expected);
        consecutive
            .take_while(|((_, number, _, _), expected)| number == expected)
            .map(|(row, _)| envelope(row))
            .collect()
    }

    /// The event at an offset, as clients got it, or its tombstone.
    ///
    /// # Errors
    /// [`ArchiveError`] when the database does not answer.
    pub async fn event(
        &self,
        room: &RoomId,
        offset: u64,
    ) -> Result<Option<Envelope>, ArchiveError> {
        let sql = "SELECT epoch, number, message, frame FROM events \
            WHERE room_id = (SELECT id FROM rooms WHERE room = $1) AND number = $2 \
            ORDER BY id DESC LIMIT 1";
        let rows = self.rows::<EventColumns>(sql, values![room.as_str(), offset]);
        let row = self.state().watch(rows).await?.pop();
        row.map(envelope).transpose()
    }

    /// The first event of `user` with this nonce that is not older than `since` (milliseconds since
    /// 1970).
    ///
    /// # Errors
    /// [`ArchiveError`] when the database does not answer.
    pub async fn nonce(
        &self,
        room: &RoomId,
        user: &UserId,
        nonce: &Nonce,
        since: u64,
    ) -> Result<Option<Position>, ArchiveError> {
        let sql = "SELECT epoch, number, message, frame FROM events \
            WHERE room_id = (SELECT id FROM rooms WHERE room = $1) AND sender = $2 AND nonce = $3 \
                AND ts >= $4 \
            ORDER BY number LIMIT 1";
        let values = values![room.as_str(), user.as_str(), nonce.as_str(), since];
        let rows = self.rows::<EventColumns>(sql, values);
        let row = self.state().watch(rows).await?.pop();
        Ok(row.map(envelope).transpose()?.map(|event| event.position))
    }

    /// The different reactions to the message at `target`, and whether they are also of `user`: those
    /// of the user first, at most `limit`.
    ///
    /// # Errors
    /// [`ArchiveError`] when the database does not answer.
    pub async fn reaction_keys(
        &self,
        room: &RoomId,
        target: u64,
        user: &UserId,
        limit: usize,
    ) -> Result<Vec<(ReactionKey, bool)>, ArchiveError> {
        let sql = "SELECT key, CAST(max(CASE WHEN user_id = $3 THEN 1 ELSE 0 END) AS BIGINT) AS own \
            FROM reactions WHERE room_id = (SELECT id FROM rooms WHERE room = $1) AND target = $2 \
            GROUP BY key ORDER BY own DESC, key LIMIT $4";
        let values = values![room.as_str(), target, user.as_str(), limit];
        let rows = self.rows::<(String, i64)>(sql, values);
        let rows = self.state().watch(rows).await?.into_iter();
        rows.map(|(key, own)| {
            let key = ReactionKey::new(&key).map_err(|_| ArchiveError::BadRow("a reaction"))?;
            Ok((key, own > 0))
        })
        .collect()
    }

    /// The offsets of the edits of the message at `target`, in order.
    ///
    /// # Errors
    /// [`ArchiveError`] when the database does not answer.
    pub async fn edits_of(&self, room: &RoomId, target: u64) -> Result<Vec<u64>, ArchiveError> {
        let sql = "SELECT number FROM events \
            WHERE room_id = (SELECT id FROM rooms WHERE room = $1) AND target = $2 AND kind = 1 \
            ORDER BY number";
        let rows = self.rows::<(i64,)>(sql, values![room.as_str(), target]);
        let rows = self.state().watch(rows).await?;
        Ok(rows.into_iter().map(|(number,)| to_u64(number)).collect())
    }
}

/// A message as it stands now.
fn folded(row: MessageColumns, reactions: &[Reactions]) -> Result<Envelope, ArchiveError> {
    let (_, epoch, number, message, frame, edit) = row;
    let mut event = envelope((epoch, number, message, frame))?;
    event.frame = fold(&event.frame, edit.map(to_frame).as_ref(), reactions);
    Ok(event)
}

/// Rows in the order of [`REACTIONS`].
fn gather(rows: Vec<(i64, i64, String, String, i64)>) -> Result<Reacted, ArchiveError> {
    let mut all = Reacted::new();
    for (room, target, key, user, total) in rows {
        let user = UserId::new(&user).map_err(|_| ArchiveError::BadRow("a user id"))?;
        let reactions = all.entry((room, target)).or_default();
        let is_full = reactions.len() >= MESSAGE_REACTIONS;
        match reactions.last_mut() {
            Some(same) if same.key.as_str() == key => same.users.push(user),
            _ if is_full => {}
            _ => reactions.push(Reactions {
                key: ReactionKey::new(&key).map_err(|_| ArchiveError::BadRow("a reaction"))?,
                count: to_u64(total),
                users: vec![user],
            }),
        }
    }
    Ok(all)
}
