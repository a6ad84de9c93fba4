//! Running a search: on connections of its own, for a limited time, and only while somebody waits for it.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Postgres as PostgresDb};
use tokio::time::timeout;

use crate::postgres::Postgres;
use crate::sqlite::Sqlite;
use crate::value::{Row, Value, postgres_arguments, sqlite_arguments};
use crate::{Archive, ArchiveError};

/// SQLite asks whether to go on after about so many of its instructions.
const INSTRUCTIONS: i32 = 1_000;
/// A PostgreSQL server that is frozen enforces no timeout of its own.
const GRACE: Duration = Duration::from_secs(1);

/// Tells SQLite's thread to stop once it is dropped.
struct Wanted(Arc<AtomicBool>);

/// A connection that is at a search, which is stopped unless it is told to have ended.
struct Searching<'a> {
    postgres: &'a Postgres,
    connection: Option<PoolConnection<PostgresDb>>,
    process: i32,
}

impl Archive {
    /// Reads by a statement made for this search. When the caller goes away, the database stops.
    ///
    /// # Errors
    /// [`ArchiveError::SearchTimeout`], or what the database says.
    pub(super) async fn search_rows<T: Row>(
        &self,
        sql: String,
        values: Vec<Value>,
    ) -> Result<Vec<T>, ArchiveError> {
        let result = match self {
            Self::Sqlite(sqlite) => in_sqlite(sqlite, sql, values).await,
            Self::Postgres(postgres) => in_postgres(postgres, sql, values).await,
        };
        match result {
            // A search that only took too long says nothing about the archive's health.
            Err(ArchiveError::SearchTimeout(_)) => result,
            Ok(_) | Err(_) => self.state().watch(ready(result)).await,
        }
    }
}

async fn in_sqlite<T: Row>(
    sqlite: &Sqlite,
    sql: String,
    values: Vec<Value>,
) -> Result<Vec<T>, ArchiveError> {
    let (pool, patience) = sqlite.searchers();
    let mut connection = pool
        .acquire()
        .await
        .map_err(|error| late(error, patience))?;
    let wanted = Wanted(Arc::new(AtomicBool::new(true)));
    let deadline = Instant::now() + patience;
    let is_wanted = Arc::clone(&wanted.0);
    let mut handle = connection.lock_handle().await?;
    handle.set_progress_handler(INSTRUCTIONS, move || {
        is_wanted.load(Ordering::Relaxed) && Instant::now() < deadline
    });
    drop(handle);
    let query = sqlx::query_as_with(AssertSqlSafe(sql), sqlite_arguments(values)?);
    let rows = query.persistent(false).fetch_all(&mut *connection).await;
    rows.map_err(|error| late(error, patience))
}

async fn in_postgres<T: Row>(
    postgres: &Postgres,
    sql: String,
    values: Vec<Value>,
) -> Result<Vec<T>, ArchiveError> {
    let (pool, patience) = postgres.searchers()?;
    let mut connection = pool
        .acquire()
        .await
        .map_err(|error| late(error, patience))?;
    let process = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *connection);
    let process = timeout(patience, process)
        .await
        .map_err(|_| ArchiveError::SearchTimeout(patience))??;
    let mut searching = Searching {
        postgres,
        connection: Some(connection),
        process,
    };
    let query = sqlx::query_as_with(AssertSqlSafe(sql), postgres_arguments(values)?);
    let rows = query.persistent(false).fetch_all(searching.connection());
    let rows = timeout(patience + GRACE, rows)
        .await
        .map_err(|_| ArchiveError::SearchTimeout(patience))?;
    searching.connection = None;
    rows.map_err(|error| late(error, patience))
}

/// Tells a search that took too long from a database that fails: SQLite was interrupted (9), PostgreSQL
/// cancelled the statement (57014) or its wait for a lock (55P03), or the searches before it took all the
/// time.
fn late(error: sqlx::Error, patience: Duration) -> ArchiveError {
    let is_late = match &error {
        sqlx::Error::PoolTimedOut => true,
        sqlx::Error::Database(error) => {
            matches!(error.code().as_deref(), Some("9" | "57014" | "55P03"))
        }
        _ => false,
    };
    if is_late {
        ArchiveError::SearchTimeout(patience)
    } else {
        error.into()
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Searching<'_> {
    fn connection(&mut self) -> &mut sqlx::PgConnection {
        self.connection
            .as_mut()
            .expect("it is there until the search has ended")
    }
}

impl Drop for Searching<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.postgres.stop(self.process, connection);
        }
    }
}
