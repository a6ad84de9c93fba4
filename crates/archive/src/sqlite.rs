//! SQLite: one file, one writer, many readers.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolOptions;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::state::State;
use crate::{ArchiveError, ArchiveSection, migrate};

/// The one connection that writes; `None` until it is needed, and after a failure.
type Writer = Option<SqliteConnection>;

/// An archive in one file. Clones share it.
#[derive(Clone)]
pub struct Sqlite(Arc<Inner>);

struct Inner {
    path: PathBuf,
    options: SqliteConnectOptions,
    writer: Arc<Mutex<Writer>>,
    readers: SqlitePool,
    state: State,
}

/// A transaction of the one writer. It takes the connection out of its place: if it is dropped without a
/// commit, the connection is closed with it, which rolls back, and the next one opens another.
/// SQLite itself rolls back on some errors and not on others, so nothing is assumed after one.
pub(crate) struct Writing {
    connection: SqliteConnection,
    home: OwnedMutexGuard<Writer>,
}

impl Sqlite {
    pub(crate) async fn open(path: &Path, section: &ArchiveSection) -> Result<Self, ArchiveError> {
        let options = options(path, section.statement_timeout);
        let refused = |source| ArchiveError::Open {
            path: path.display().to_string(),
            source,
        };
        let mut writer = options.connect().await.map_err(refused)?;
        migrate::sqlite(&mut writer)
            .await
            .map_err(|error| match error {
                ArchiveError::Failed(source) => refused(source),
                other => other,
            })?;
        let readers = PoolOptions::new()
            .max_connections(section.pool)
            .acquire_timeout(section.statement_timeout)
            .test_before_acquire(false)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with(options.clone().read_only(true).create_if_missing(false));
        let state = State::new(section.statement_timeout);
        state.set_ready();
        Ok(Self(Arc::new(Inner {
            path: path.to_owned(),
            options,
            writer: Arc::new(Mutex::new(Some(writer))),
            readers,
            state,
        })))
    }

    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.0.readers
    }

    pub(crate) fn state(&self) -> &State {
        &self.0.state
    }

    pub(crate) async fn begin(&self) -> Result<Writing, ArchiveError> {
        let mut home = Arc::clone(&self.0.writer).lock_owned().await;
        let connection = match home.take() {
            Some(connection) => connection,
            None => self.0.options.connect().await?,
        };
        let mut writing = Writing { connection, home };
        // Immediate: the lock is taken here, where waiting for it is safe, and not in mid-transaction.
        writing.execute("BEGIN IMMEDIATE").await?;
        Ok(writing)
    }

    pub(crate) async fn close(&self) {
        self.0.readers.close().await;
        let writer = self.0.writer.lock().await.take();
        if let Some(connection) = writer
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the archive's file was not closed cleanly");
        }
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sqlite").field(&self.0.path).finish()
    }
}

impl Writing {
    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    async fn execute(&mut self, sql: &'static str) -> Result<(), ArchiveError> {
        sqlx::query(sql).execute(&mut self.connection).await?;
        Ok(())
    }

    pub(crate) async fn commit(mut self) -> Result<(), ArchiveError> {
        self.execute("COMMIT").await?;
        let Self {
            connection,
            mut home,
        } = self;
        *home = Some(connection);
        Ok(())
    }
}

fn options(path: &Path, busy: Duration) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(busy)
        .pragma("secure_delete", "FAST")
        // Pages that are asked for again and again: 16 MiB a connection.
        .pragma("cache_size", "-16384")
        // What a burst has made the log grow to is given back: 64 MiB.
        .pragma("journal_size_limit", "67108864")
        .disable_statement_logging()
}
