//! The schema's versions, which are in the binary: brought to the newest under a lock, refused when
//! they are newer than this program.

use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection};

use crate::ArchiveError;

/// Version n is entry n - 1. An entry that was released never changes.
const SQLITE: [&str; 6] = [
    include_str!("../migrations/sqlite/0001_archive.sql"),
    include_str!("../migrations/sqlite/0002_audit.sql"),
    include_str!("../migrations/sqlite/0003_identity.sql"),
    include_str!("../migrations/sqlite/0004_fence.sql"),
    include_str!("../migrations/sqlite/0005_origin.sql"),
    include_str!("../migrations/sqlite/0006_search.sql"),
];
const POSTGRES: [&str; 5] = [
    include_str!("../migrations/postgres/0001_archive.sql"),
    include_str!("../migrations/postgres/0002_audit.sql"),
    include_str!("../migrations/postgres/0003_identity.sql"),
    include_str!("../migrations/postgres/0004_fence.sql"),
    include_str!("../migrations/postgres/0005_search.sql"),
];

/// The advisory lock under which a PostgreSQL schema is changed: "hubbub" in ASCII.
const LOCK: i64 = 0x6875_6262_7562;

/// SQLite keeps the version in the file's header. The second of two openers waits at `BEGIN`.
pub(crate) async fn sqlite(connection: &mut SqliteConnection) -> Result<(), ArchiveError> {
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    let found: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut *tx)
        .await?;
    let missing = missing(found, &SQLITE)?;
    for sql in missing {
        sqlx::raw_sql(*sql).execute(&mut *tx).await?;
    }
    if !missing.is_empty() {
        // A pragma takes no parameter.
        let version = format!("PRAGMA user_version = {}", SQLITE.len());
        sqlx::raw_sql(AssertSqlSafe(version))
            .execute(&mut *tx)
            .await?;
    }
    Ok(tx.commit().await?)
}

/// Refuses every schema but the newest, for who may not change it.
pub(crate) async fn sqlite_is_newest(
    connection: &mut SqliteConnection,
) -> Result<(), ArchiveError> {
    let found: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(connection)
        .await?;
    match missing(found, &SQLITE)? {
        [] => Ok(()),
        [_, ..] => Err(ArchiveError::TooOld {
            found,
            known: SQLITE.len() as i64,
        }),
    }
}

/// In PostgreSQL the version stands in a table of its own.
pub(crate) async fn postgres(connection: &mut PgConnection) -> Result<(), ArchiveError> {
    let mut tx = connection.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(&mut *tx)
        .await?;
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('hubbub_schema') IS NOT NULL")
        .fetch_one(&mut *tx)
        .await?;
    if !exists {
        sqlx::raw_sql("CREATE TABLE hubbub_schema (version BIGINT NOT NULL); INSERT INTO hubbub_schema VALUES (0)")
            .execute(&mut *tx)
            .await?;
    }
    let found: i64 = sqlx::query_scalar("SELECT version FROM hubbub_schema")
        .fetch_one(&mut *tx)
        .await?;
    for sql in missing(found, &POSTGRES)? {
        sqlx::raw_sql(*sql).execute(&mut *tx).await?;
    }
    sqlx::query("UPDATE hubbub_schema SET version = $1 WHERE version <> $1")
        .bind(POSTGRES.len() as i64)
        .execute(&mut *tx)
        .await?;
    Ok(tx.commit().await?)
}

/// The entries that a schema of version `found` lacks.
fn missing<'a>(found: i64, all: &'a [&'static str]) -> Result<&'a [&'static str], ArchiveError> {
    let known = all.len() as i64;
    usize::try_from(found)
        .ok()
        .and_then(|found| all.get(found..))
        .ok_or(ArchiveError::TooNew { found, known })
}
