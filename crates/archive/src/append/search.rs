//! The search index in SQLite, a table of its own. In PostgreSQL the words are in the message's row.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::insert::{Fresh, is_message};
use crate::ArchiveError;
use crate::archive::Tx;
use crate::words::vector;

/// Words of a message; `None`: it can no longer be found.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct WordsRow<'a> {
    pub(crate) id: i64,
    pub(crate) room: i64,
    pub(crate) words: Option<&'a str>,
}

/// Words of a message as PostgreSQL gets them.
#[derive(Serialize)]
struct VectorRow {
    id: i64,
    vector: Option<String>,
}

#[derive(Serialize)]
struct IdRow {
    id: i64,
}

const DELETE: &str = "DELETE FROM search WHERE rowid IN (SELECT value->>'id' FROM json_each($1))";
/// The room stands beside the words, as a word.
const INSERT: &str = "INSERT INTO search (rowid, words, room) \
    SELECT value->>'id', value->>'words', 'r' || (value->>'room') FROM jsonb_each($1)";
const UPDATE: &str = "UPDATE events SET search = CAST(vector AS TSVECTOR) \
    FROM json_to_recordset($1::json) AS j (id BIGINT, vector TEXT) WHERE events.id = j.id";

/// Enters the words of new and of edited messages, and takes those of deleted ones away. It comes last in
/// its transaction and in two statements: FTS5 writes its index to the file whenever another statement
/// needs a savepoint.
pub(super) async fn index(
    tx: &mut Tx,
    fresh: &[Fresh<'_>],
    edits: &[WordsRow<'_>],
    buried: &[i64],
) -> Result<(), ArchiveError> {
    if !tx.is_sqlite() {
        return Ok(());
    }
    let fresh = fresh.iter().filter(|fresh| is_message(fresh.entry));
    let fresh = fresh.map(|fresh| WordsRow {
        id: fresh.id,
        room: fresh.entry.room_id,
        words: fresh.words.as_deref(),
    });
    let mut rows: BTreeMap<i64, WordsRow<'_>> = fresh.map(|row| (row.id, row)).collect();
    let mut gone = BTreeSet::new();
    for edit in edits {
        if rows.insert(edit.id, *edit).is_none() {
            gone.insert(edit.id);
        }
    }
    for id in buried {
        rows.remove(id);
        gone.insert(*id);
    }
    remove(tx, gone.into_iter()).await?;
    let rows = rows.into_values().filter(|row| row.words.is_some());
    tx.run_many(INSERT, &rows.collect::<Vec<_>>()).await
}

/// Replaces what messages can be found by.
pub(crate) async fn reindex(tx: &mut Tx, rows: &[WordsRow<'_>]) -> Result<(), ArchiveError> {
    if tx.is_sqlite() {
        remove(tx, rows.iter().map(|row| row.id)).await?;
        let rows = rows.iter().filter(|row| row.words.is_some()).copied();
        return tx.run_many(INSERT, &rows.collect::<Vec<_>>()).await;
    }
    let rows = rows.iter().map(|row| VectorRow {
        id: row.id,
        vector: row.words.map(vector),
    });
    tx.run_many(UPDATE, &rows.collect::<Vec<_>>()).await
}

/// Takes messages out of what can be searched.
pub(crate) async fn unsearch(tx: &mut Tx, ids: &[i64]) -> Result<(), ArchiveError> {
    if tx.is_sqlite() {
        remove(tx, ids.iter().copied()).await
    } else {
        Ok(())
    }
}

async fn remove(tx: &mut Tx, ids: impl Iterator<Item = i64>) -> Result<(), ArchiveError> {
    let rows: Vec<IdRow> = ids.map(|id| IdRow { id }).collect();
    tx.run_many(DELETE, &rows).await
}
