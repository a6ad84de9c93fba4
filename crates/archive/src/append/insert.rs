//! New rows, many by one statement.

use std::collections::HashMap;

use hubbub_protocol::EventKind;
use serde::Serialize;

use super::Entry;
use crate::ArchiveError;
use crate::archive::{Tx, json};
use crate::value::{to_i64, values};
use crate::words::{indexed, vector};

/// An event that was not there before.
pub(super) struct Fresh<'a> {
    pub(super) id: i64,
    pub(super) entry: &'a Entry<'a>,
    /// The words for the search index.
    pub(super) words: Option<String>,
}

/// A row of `events`. The names are short because they are repeated for each row.
#[derive(Serialize)]
struct Row<'a> {
    r: i64,
    n: u64,
    e: &'a str,
    m: &'a str,
    k: i16,
    s: &'a str,
    c: Option<&'a str>,
    t: Option<u64>,
    ts: u64,
    d: bool,
    f: &'a str,
    /// Of a message, in PostgreSQL; an edit's words go to its message.
    w: Option<&'a str>,
}

/// The users whom a message mentions.
#[derive(Serialize)]
pub(super) struct MentionRow<'a> {
    pub(super) room: i64,
    pub(super) number: u64,
    pub(super) user: &'a str,
}

const SQLITE: &str = "INSERT INTO events (room_id, number, epoch, message, kind, sender, nonce, \
        target, ts, deleted, frame) \
    SELECT value->>'r', value->>'n', value->>'e', value->>'m', value->>'k', value->>'s', \
        value->>'c', value->>'t', value->>'ts', value->>'d', value->>'f' \
    FROM jsonb_each($1) WHERE TRUE ON CONFLICT (room_id, number, epoch) DO NOTHING";
const SQLITE_LAST: &str = "SELECT COALESCE(max(id), 0) FROM events";
/// In one row, since each row that comes back wakes another thread.
const SQLITE_NEW: &str = "SELECT json_group_array(json_array(id, room_id, number, epoch)) \
    FROM events WHERE id > $1";
const POSTGRES: &str = "INSERT INTO events (room_id, number, epoch, message, kind, sender, nonce, \
        target, ts, deleted, frame, search) \
    SELECT r, n, e, m, k, s, c, t, ts, d, f, CAST(w AS TSVECTOR) \
    FROM json_to_recordset($1::json) AS j (r BIGINT, n BIGINT, e TEXT, m TEXT, k SMALLINT, \
        s TEXT, c TEXT, t BIGINT, ts BIGINT, d BOOLEAN, f TEXT, w TEXT) \
    ON CONFLICT (room_id, number, epoch) DO NOTHING \
    RETURNING id, room_id, number, epoch";
const MENTIONS: &str = "INSERT INTO mentions (room_id, user_id, number) \
    SELECT CAST(value->>'room' AS BIGINT), value->>'user', CAST(value->>'number' AS BIGINT) \
    FROM json_each($1) WHERE TRUE ON CONFLICT (room_id, user_id, number) DO NOTHING";

/// The id, room, number and epoch of a new row.
type Inserted = (i64, i64, i64, String);

/// Inserts what is not there yet, and says what that was, in order. With a new message goes whom it
/// names.
pub(super) async fn events<'a>(
    tx: &mut Tx,
    entries: &'a [Entry<'a>],
) -> Result<Vec<Fresh<'a>>, ArchiveError> {
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let words: Vec<Option<String>> = entries.iter().map(words).collect();
    let vectors: Vec<Option<String>> = if tx.is_sqlite() {
        vec![None; entries.len()]
    } else {
        entries.iter().zip(&words).map(vector_of).collect()
    };
    let rows: Vec<Row<'_>> = entries.iter().zip(&vectors).map(row).collect();
    let mut ids: HashMap<(i64, i64, String), i64> = insert(tx, &rows)
        .await?
        .into_iter()
        .map(|(id, room, number, epoch)| ((room, number, epoch), id))
        .collect();
    let fresh = entries.iter().zip(words).filter_map(|(entry, words)| {
        let event = &entry.event;
        let key = (entry.room_id, to_i64(event.offset), event.epoch.to_string());
        let id = ids.remove(&key)?;
        Some(Fresh { id, entry, words })
    });
    let fresh: Vec<Fresh<'_>> = fresh.collect();
    let messages = fresh.iter().filter(|fresh| is_message(fresh.entry));
    let mentions = messages.flat_map(|fresh| mentions(fresh.entry, fresh.entry.event.offset));
    let mentions: Vec<MentionRow<'_>> = mentions.collect();
    insert_mentions(tx, &mentions).await?;
    Ok(fresh)
}

async fn insert(tx: &mut Tx, rows: &[Row<'_>]) -> Result<Vec<Inserted>, ArchiveError> {
    let rows = values![json(rows)];
    if !tx.is_sqlite() {
        return tx.rows(POSTGRES, rows).await;
    }
    // New ids are above all others, and nobody else writes meanwhile.
    let last: Vec<(i64,)> = tx.rows(SQLITE_LAST, Vec::new()).await?;
    let last = last.first().map_or(0, |(last,)| *last);
    tx.run(SQLITE, rows).await?;
    let new: Vec<(String,)> = tx.rows(SQLITE_NEW, values![last]).await?;
    let new = new.first().map_or("[]", |(new,)| new.as_str());
    serde_json::from_str(new).map_err(|_| ArchiveError::BadRow("new rows"))
}

pub(super) async fn insert_mentions(
    tx: &mut Tx,
    rows: &[MentionRow<'_>],
) -> Result<(), ArchiveError> {
    tx.run_many(MENTIONS, rows).await
}

/// The mentions of an event as rows for the message at `number`, without its own author.
pub(super) fn mentions<'a>(
    entry: &'a Entry<'a>,
    number: u64,
) -> impl Iterator<Item = MentionRow<'a>> {
    let event = &entry.event;
    let sender = event.from.as_ref().map(|from| &from.id);
    let others = event
        .mentions
        .iter()
        .filter(move |user| Some(*user) != sender);
    others.map(move |user| MentionRow {
        room: entry.room_id,
        number,
        user: user.as_str(),
    })
}

pub(super) fn is_message(entry: &Entry<'_>) -> bool {
    entry.event.kind == EventKind::Message && !entry.event.deleted
}

fn words(entry: &Entry<'_>) -> Option<String> {
    if entry.event.deleted {
        None
    } else {
        indexed(&entry.event.text()?)
    }
}

fn vector_of((entry, words): (&Entry<'_>, &Option<String>)) -> Option<String> {
    words.as_deref().filter(|_| is_message(entry)).map(vector)
}

fn row<'a>((entry, vector): (&'a Entry<'a>, &'a Option<String>)) -> Row<'a> {
    let event = &entry.event;
    Row {
        r: entry.room_id,
        n: event.offset,
        e: event.epoch.as_str(),
        m: event.message.as_str(),
        k: match event.kind {
            EventKind::Message => 0,
            EventKind::Edited => 1,
            EventKind::Deleted => 2,
            EventKind::Reacted => 3,
        },
        // Where nothing but the place is left, nobody sent it.
        s: event.from.as_ref().map_or("", |from| from.id.as_str()),
        c: event.nonce.as_ref().map(|nonce| nonce.as_str()),
        t: event.target,
        ts: event.ts,
        d: event.deleted,
        f: entry.frame,
        w: vector.as_deref(),
    }
}
