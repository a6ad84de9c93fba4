//! What can be searched, in SQLite: a table of its own. In PostgreSQL the words stand in the message's row.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::insert::{Fresh, is_message};
use crate::ArchiveError;
use crate::archive::Tx;

/// Words of a message; `None`: it can no longer be found.
#[derive(Clone, Copy, Serialize)]
pub(super) struct WordsRow<'a> {
    pub(super) id: i64,
    pub(super) room: i64,
    pub(super) words: Option<&'a str>,
}

#[derive(Serialize)]
struct IdRow {
    id: i64,
}

const DELETE: &str = "DELETE FROM search WHERE rowid IN (SELECT value->>'id' FROM json_each($1))";
/// The room stands beside the words, as a word.
const INSERT: &str = "INSERT INTO search (rowid, words, room) \
    SELECT value->>'id', value->>'words', 'r' || (value->>'room') FROM jsonb_each($1)";

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

/// Takes messages out of what can be searched.
pub(crate) async fn unsearch(tx: &mut Tx, ids: &[i64]) -> Result<(), ArchiveError> {
    match tx.is_sqlite() {
        true => remove(tx, ids.iter().copied()).await,
        false => Ok(()),
    }
}

async fn remove(tx: &mut Tx, ids: impl Iterator<Item = i64>) -> Result<(), ArchiveError> {
    let rows: Vec<IdRow> = ids.map(|id| IdRow { id }).collect();
    tx.run_many(DELETE, &rows).await
}
