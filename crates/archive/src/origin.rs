//! Finds out at the start whether an SQLite file is the one that was written last.
//!
//! The sidecar file beside the database says which incarnation of the database was written last and how
//! many events it held. A database that holds fewer events, or is another incarnation, is an older copy
//! or has lost its write-ahead log: clients have seen events that it lacks. Every room in it then begins a
//! new life, above all that may have been given out, so that clients are told.

use hubbub_protocol::random_name;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Sqlite, Transaction};

use crate::ArchiveError;
use crate::sidecar::{Origin, Sidecar};

/// The comparison of the database's origin with the sidecar's.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The database is the one that was written last.
    Same,
    /// Nothing is known of it: it is new, or from a version that kept no origin.
    Unknown,
    /// It lacks events; at most so many, as far as that can be told.
    Restored(u64),
}

/// Compares the database with its sidecar, and ends all lives in a restored one. Afterwards both say the
/// same.
pub(crate) async fn settle(
    connection: &mut SqliteConnection,
    sidecar: &Sidecar,
) -> Result<(), ArchiveError> {
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    let found = read(&mut tx).await?;
    let noted = sidecar.read();
    let origin = match judge(&found, noted.as_ref()) {
        Verdict::Same => found,
        Verdict::Unknown => stamp(&mut tx, found.events).await?,
        Verdict::Restored(lost) => {
            let rooms = end_lives(&mut tx, lost).await?;
            if rooms > 0 {
                tracing::warn!(
                    rooms,
                    lost,
                    "the archive's file is not the one that was written last, all rooms begin a new epoch"
                );
            }
            let written = noted.map_or(0, |noted| noted.events);
            stamp(&mut tx, found.events.max(written)).await?
        }
    };
    tx.commit().await?;
    sidecar.write(&origin);
    sidecar.sync();
    Ok(())
}

/// Counts appended events in the transaction that appends them; returns the origin as of its commit.
pub(crate) async fn count(
    connection: &mut SqliteConnection,
    events: u64,
) -> Result<Origin, ArchiveError> {
    let sql = "UPDATE origin SET events = events + $1 RETURNING incarnation, events";
    let row = sqlx::query_as(sql).bind(to_i64(events));
    Ok(origin(row.fetch_one(connection).await?))
}

fn judge(database: &Origin, sidecar: Option<&Origin>) -> Verdict {
    let is_stamped = !database.incarnation.is_empty();
    match sidecar {
        None if is_stamped && database.events > 0 => Verdict::Restored(0),
        None => Verdict::Unknown,
        Some(sidecar) => {
            let lost = sidecar.events.saturating_sub(database.events);
            if lost > 0 || sidecar.incarnation != database.incarnation {
                Verdict::Restored(lost)
            } else {
                Verdict::Same
            }
        }
    }
}

async fn read(tx: &mut Transaction<'_, Sqlite>) -> Result<Origin, ArchiveError> {
    let row = sqlx::query_as("SELECT incarnation, events FROM origin");
    Ok(origin(row.fetch_one(&mut **tx).await?))
}

async fn stamp(tx: &mut Transaction<'_, Sqlite>, events: u64) -> Result<Origin, ArchiveError> {
    let sql = "UPDATE origin SET incarnation = $1, events = $2 RETURNING incarnation, events";
    let incarnation = random_name(16);
    let row = sqlx::query_as(sql).bind(incarnation).bind(to_i64(events));
    Ok(origin(row.fetch_one(&mut **tx).await?))
}

/// Ends every room's newest life and moves the room above what was lost; returns how many rooms.
async fn end_lives(tx: &mut Transaction<'_, Sqlite>, lost: u64) -> Result<u64, ArchiveError> {
    sqlx::query(
        "INSERT INTO ended_lives (room_id, epoch) \
            SELECT id, epoch FROM rooms WHERE epoch IS NOT NULL ON CONFLICT DO NOTHING",
    )
    .execute(&mut **tx)
    .await?;
    let lifted = sqlx::query("UPDATE rooms SET top = top + $1 WHERE epoch IS NOT NULL")
        .bind(to_i64(lost))
        .execute(&mut **tx)
        .await?;
    Ok(lifted.rows_affected())
}

fn origin((incarnation, events): (String, i64)) -> Origin {
    Origin {
        incarnation,
        events: crate::value::to_u64(events),
    }
}

fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(incarnation: &str, events: u64) -> Origin {
        Origin {
            incarnation: incarnation.to_owned(),
            events,
        }
    }

    #[test]
    fn a_database_behind_its_sidecar_was_restored() {
        let sidecar = of("a", 100);
        let judge = |database: Origin| judge(&database, Some(&sidecar));
        assert_eq!(judge(of("a", 100)), Verdict::Same);
        assert_eq!(
            judge(of("a", 101)),
            Verdict::Same,
            "the node died in between"
        );
        assert_eq!(judge(of("a", 60)), Verdict::Restored(40));
        assert_eq!(judge(of("b", 120)), Verdict::Restored(0));
        assert_eq!(
            judge(of("", 0)),
            Verdict::Restored(100),
            "from an old version"
        );
    }

    #[test]
    fn a_database_without_a_sidecar_is_trusted_only_if_it_never_had_one() {
        assert_eq!(judge(&of("", 0), None), Verdict::Unknown);
        assert_eq!(judge(&of("a", 0), None), Verdict::Unknown);
        assert_eq!(judge(&of("a", 7), None), Verdict::Restored(0));
    }
}
