//! PostgreSQL: a pool that is opened when it is needed, and a schema that is checked once.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::{PoolConnection, PoolOptions};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgSslMode};
use sqlx::{ConnectOptions, Postgres as PostgresDb};
use tokio_util::task::TaskTracker;

use crate::state::State;
use crate::{ArchiveError, ArchiveSection, migrate};

/// A connection that nobody needed for so long is closed.
const IDLE: Duration = Duration::from_secs(60);

/// Only a search is cancelled, whoever has that process by now.
const CANCEL: &str = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity \
    WHERE pid = $1 AND state = 'active' AND query LIKE '%AS TSQUERY%'";

/// An archive on a server. Clones share its pool.
#[derive(Clone)]
pub struct Postgres(Arc<Inner>);

struct Inner {
    /// For people, without a password.
    place: String,
    pool: PgPool,
    max_connections: u32,
    /// Connections of their own for searches, which cost more than all else.
    searchers: PgPool,
    search_timeout: Duration,
    /// Searches that are being stopped because nobody waits for them any more.
    stopping: TaskTracker,
    state: Arc<State>,
}

impl Postgres {
    pub(crate) fn new(options: PgConnectOptions, section: &ArchiveSection) -> Self {
        let place = format!("{}:{}", options.get_host(), options.get_port());
        warn_of_the_way(&options);
        let state = Arc::new(State::new(section.statement_timeout));
        let pool = |connections, statement_timeout| {
            let sessions = Arc::clone(&state);
            PoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(statement_timeout)
                .idle_timeout(IDLE)
                .before_acquire(move |_, session| {
                    let is_retired = sessions.is_retired(session.age);
                    Box::pin(async move { Ok(!is_retired) })
                })
                .connect_lazy_with(session(options.clone(), statement_timeout))
        };
        let searchers = pool(section.search_pool, section.search_timeout);
        let pool = pool(section.pool, section.statement_timeout);
        Self(Arc::new(Inner {
            place,
            pool,
            max_connections: section.pool,
            searchers,
            search_timeout: section.search_timeout,
            stopping: TaskTracker::new(),
            state,
        }))
    }

    /// One attempt: reaches the server and migrates its schema to the newest.
    pub(crate) async fn connect(&self) -> Result<(), ArchiveError> {
        let mut connection = self.0.pool.acquire().await?;
        self.check_session(&mut connection).await?;
        migrate::postgres(&mut connection).await?;
        self.0.state.set_ready();
        Ok(())
    }

    /// Refuses a pooler that gives one session to many clients, or does not pass on what a session is
    /// set to: prepared statements would be those of other clients, and nothing would time out.
    async fn check_session(&self, connection: &mut PgConnection) -> Result<(), ArchiveError> {
        let session =
            "SELECT current_setting('idle_in_transaction_session_timeout'), pg_backend_pid()";
        let once = || sqlx::query_as::<_, (String, i32)>(session).persistent(false);
        let (idle, first) = once().fetch_one(&mut *connection).await?;
        if idle == "0" {
            let why = "it does not pass on the settings of a session";
            return Err(ArchiveError::Pooled(why.to_owned()));
        }
        if self.0.max_connections < 2 {
            return Ok(());
        }
        // The first one does nothing meanwhile, so a pooler lends its session to the second.
        let mut second = self.0.pool.begin().await?;
        let (_, other) = once().fetch_one(&mut *second).await?;
        second.rollback().await?;
        if first == other {
            let why =
                "it gives one session to several clients: pool_mode is transaction or statement";
            return Err(ArchiveError::Pooled(why.to_owned()));
        }
        Ok(())
    }

    /// Only once the schema is known to be right.
    pub(crate) fn pool(&self) -> Result<&PgPool, ArchiveError> {
        if self.0.state.is_ready() {
            Ok(&self.0.pool)
        } else {
            Err(ArchiveError::Unavailable("not connected yet".to_owned()))
        }
    }

    pub(crate) fn state(&self) -> &State {
        &self.0.state
    }

    /// Where a search runs, and how long it may; only once the schema is known to be right.
    pub(crate) fn searchers(&self) -> Result<(&PgPool, Duration), ArchiveError> {
        self.pool()?;
        Ok((&self.0.searchers, self.0.search_timeout))
    }

    /// Stops what a search's connection is at, and closes the connection: a cancellation that comes
    /// late must not reach the next search. Nobody else gets its place before.
    pub(crate) fn stop(&self, process: i32, search: PoolConnection<PostgresDb>) {
        let pool = self.0.pool.clone();
        self.0.stopping.spawn(async move {
            let cancel = sqlx::query(CANCEL).bind(process);
            if let Err(error) = cancel.execute(&pool).await {
                tracing::debug!(%error, "a search could not be stopped, it ends by its timeout");
            }
            if let Err(error) = search.close().await {
                tracing::debug!(%error, "a search's connection was not closed cleanly");
            }
        });
    }

    pub(crate) async fn close(&self) {
        self.0.stopping.close();
        self.0.stopping.wait().await;
        self.0.searchers.close().await;
        self.0.pool.close().await;
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Postgres").field(&self.0.place).finish()
    }
}

/// Says at the start what can be read or changed on its way.
fn warn_of_the_way(options: &PgConnectOptions) {
    let host = options.get_host();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let is_here = host.starts_with('/')
        || host == "localhost"
        || address.is_ok_and(|address| address.is_loopback());
    match options.get_ssl_mode() {
        _ if is_here => {}
        PgSslMode::VerifyCa | PgSslMode::VerifyFull => {}
        PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer | PgSslMode::Require => {
            tracing::warn!(
                host,
                "postgresql is on another host and its certificate is not checked: add \
                 sslmode=verify-full to archive.url"
            );
        }
    }
}

/// The options of every connection. A transaction that stands still (its node froze) must not
/// hold its locks for ever.
fn session(options: PgConnectOptions, statement_timeout: Duration) -> PgConnectOptions {
    let milliseconds = statement_timeout.as_millis().to_string();
    let idle = (statement_timeout * 2).as_millis().to_string();
    options
        .application_name("hubbub")
        .options([
            ("statement_timeout", milliseconds.as_str()),
            ("lock_timeout", milliseconds.as_str()),
            ("idle_in_transaction_session_timeout", idle.as_str()),
            ("jit", "off"),
        ])
        .disable_statement_logging()
}
