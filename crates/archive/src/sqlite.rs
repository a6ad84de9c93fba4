//! SQLite: one file, one writer, many readers.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use sqlx::pool::PoolOptions;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::lock::FileLock;
use crate::origin;
use crate::sidecar::Origin;
use crate::state::State;
use crate::{ArchiveError, ArchiveSection, migrate};

/// The place of the one connection that writes.
struct Writer {
    /// `None` until it is needed, and after a failure.
    connection: Option<SqliteConnection>,
    is_closed: bool,
    /// `None` for a reader, and once it is closed. It goes last.
    lock: Option<Arc<FileLock>>,
}

/// An archive in one file. Clones share it.
#[derive(Clone)]
pub struct Sqlite(Arc<Inner>);

struct Inner {
    path: PathBuf,
    /// Set for as long as this process may write.
    lock: Weak<FileLock>,
    options: SqliteConnectOptions,
    writer: Arc<Mutex<Writer>>,
    readers: SqlitePool,
    /// Connections of their own for searches, which cost more than all else.
    searchers: SqlitePool,
    search_timeout: Duration,
    state: State,
}

/// A transaction of the one writer. It takes the connection out of its place: if it is dropped without a
/// commit, the connection is closed with it, which rolls back, and the next one opens another.
/// SQLite itself rolls back on some errors and not on others, so nothing is assumed after one.
pub(crate) struct Writing {
    /// Goes before the connection: whoever looks at the log meanwhile does not miss it.
    log: LogInUse,
    connection: SqliteConnection,
    home: OwnedMutexGuard<Writer>,
    /// The origin that the sidecar gets once this transaction is committed.
    origin: Option<Origin>,
}

/// Forgets the write-ahead log when it is dropped: the connection that wrote it is closed with it, and
/// SQLite removes the log of the last connection that is closed.
struct LogInUse(Option<Arc<FileLock>>);

impl LogInUse {
    /// The connection stays open, and so does its log.
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for LogInUse {
    fn drop(&mut self) {
        if let Some(lock) = &self.0 {
            lock.forget_log();
        }
    }
}

impl Sqlite {
    pub(crate) async fn open(path: &Path, section: &ArchiveSection) -> Result<Self, ArchiveError> {
        let options = options(path, section.statement_timeout);
        let refused = |source| ArchiveError::Open {
            path: path.display().to_string(),
            source,
        };
        // Before it is opened: two that turn on the write-ahead log at once do not wait for each other,
        // and one of them would fail with "database is locked".
        let lock = Arc::new(FileLock::take(path)?);
        let mut connection = options.connect().await.map_err(refused)?;
        migrate::sqlite(&mut connection)
            .await
            .map_err(|error| match error {
                ArchiveError::Failed(source) => refused(source),
                other => other,
            })?;
        origin::settle(&mut connection, lock.sidecar()).await?;
        lock.learn_log();
        let writer = Writer {
            connection: Some(connection),
            is_closed: false,
            lock: Some(lock),
        };
        Ok(Self::new(path, section, options, writer))
    }

    /// Beside whoever has the lock.
    pub(crate) async fn open_to_read(
        path: &Path,
        section: &ArchiveSection,
    ) -> Result<Self, ArchiveError> {
        let options = to_read(&options(path, section.statement_timeout));
        let refused = |source| ArchiveError::Open {
            path: path.display().to_string(),
            source,
        };
        let mut connection = options.connect().await.map_err(refused)?;
        migrate::sqlite_is_newest(&mut connection)
            .await
            .map_err(|error| match error {
                ArchiveError::Failed(source) => refused(source),
                other => other,
            })?;
        connection.close().await.map_err(refused)?;
        let writer = Writer {
            connection: None,
            is_closed: false,
            lock: None,
        };
        Ok(Self::new(path, section, options, writer))
    }

    fn new(
        path: &Path,
        section: &ArchiveSection,
        options: SqliteConnectOptions,
        writer: Writer,
    ) -> Self {
        let pool = |connections, patience| {
            PoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(patience)
                .test_before_acquire(false)
                .max_lifetime(None)
                .idle_timeout(None)
                .connect_lazy_with(to_read(&options))
        };
        let readers = pool(section.pool, section.statement_timeout);
        let searchers = pool(section.search_pool, section.search_timeout);
        let state = State::new(section.statement_timeout);
        state.set_ready();
        Self(Arc::new(Inner {
            path: path.to_owned(),
            lock: writer.lock.as_ref().map(Arc::downgrade).unwrap_or_default(),
            // Only the first connection may make the file: a later one would replace one that is gone.
            options: options.create_if_missing(false),
            writer: Arc::new(Mutex::new(writer)),
            readers,
            searchers,
            search_timeout: section.search_timeout,
            state,
        }))
    }

    /// Why nothing that is written now would be found again.
    pub(crate) fn lost_file(&self) -> Option<String> {
        self.0.lock.upgrade()?.problem()
    }

    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.0.readers
    }

    /// Where a search runs, and how long it may.
    pub(crate) fn searchers(&self) -> (&SqlitePool, Duration) {
        (&self.0.searchers, self.0.search_timeout)
    }

    pub(crate) fn state(&self) -> &State {
        &self.0.state
    }

    pub(crate) async fn begin(&self) -> Result<Writing, ArchiveError> {
        let mut home = Arc::clone(&self.0.writer).lock_owned().await;
        if home.is_closed {
            return Err(ArchiveError::Unavailable("it was closed".to_owned()));
        }
        if let Some(problem) = home.lock.as_ref().and_then(|lock| lock.problem()) {
            return Err(ArchiveError::FileGone(problem));
        }
        let connection = match home.connection.take() {
            Some(connection) => connection,
            None => self.0.options.connect().await?,
        };
        let mut writing = Writing {
            log: LogInUse(home.lock.clone()),
            connection,
            home,
            origin: None,
        };
        // Immediate: the lock is taken here, where waiting for it is safe, and not in mid-transaction.
        writing.execute("BEGIN IMMEDIATE").await?;
        Ok(writing)
    }

    /// Nobody writes after it. The file is left without a log, in which what was deleted could be read.
    pub(crate) async fn close(&self) {
        self.0.readers.close().await;
        self.0.searchers.close().await;
        let mut home = self.0.writer.lock().await;
        home.is_closed = true;
        if let Some(lock) = &home.lock {
            lock.forget_log();
        }
        if let Some(connection) = home.connection.take()
            && let Err(error) = finish(connection).await
        {
            tracing::warn!(%error, "the archive's file was not closed cleanly");
        }
        home.lock = None;
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

    /// Counts events that this transaction appends.
    pub(crate) async fn count_events(&mut self, events: u64) -> Result<(), ArchiveError> {
        self.origin = Some(origin::count(&mut self.connection, events).await?);
        Ok(())
    }

    async fn execute(&mut self, sql: &'static str) -> Result<(), ArchiveError> {
        sqlx::query(sql).execute(&mut self.connection).await?;
        Ok(())
    }

    pub(crate) async fn commit(mut self) -> Result<(), ArchiveError> {
        self.execute("COMMIT").await?;
        let Self {
            log,
            connection,
            mut home,
            origin,
        } = self;
        log.keep();
        if let Some(lock) = &home.lock {
            lock.learn_log();
            if let Some(origin) = &origin {
                lock.sidecar().write(origin);
            }
        }
        home.connection = Some(connection);
        Ok(())
    }
}

/// Empties the log. The last connection does so by itself, but somebody may be reading beside it; the
/// readers of this moment are waited for.
async fn finish(mut connection: SqliteConnection) -> Result<(), sqlx::Error> {
    let (is_busy,): (bool,) = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)")
        .fetch_one(&mut connection)
        .await?;
    if is_busy {
        tracing::warn!("the archive's log could not be emptied: somebody reads for long");
    }
    connection.close().await
}

fn to_read(options: &SqliteConnectOptions) -> SqliteConnectOptions {
    options.clone().read_only(true).create_if_missing(false)
}

fn options(path: &Path, busy: Duration) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(busy)
        // `FAST` would leave what stood on pages that are given up, as those of large bodies are.
        .pragma("secure_delete", "ON")
        // Pages that are asked for again and again: 16 MiB a connection.
        .pragma("cache_size", "-16384")
        // After a burst the log is cut down to 64 MiB.
        .pragma("journal_size_limit", "67108864")
        .disable_statement_logging()
}
