//! PostgreSQL: a pool that is opened when it is needed, and a schema that is checked once.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgSslMode};

use crate::state::State;
use crate::{ArchiveError, ArchiveSection, migrate};

/// A connection that nobody needed for so long is closed.
const IDLE: Duration = Duration::from_secs(60);

/// An archive on a server. Clones share its pool.
#[derive(Clone)]
pub struct Postgres(Arc<Inner>);

struct Inner {
    /// For people, without a password.
    place: String,
    pool: PgPool,
    max_connections: u32,
    state: Arc<State>,
}

impl Postgres {
    pub(crate) fn new(options: PgConnectOptions, section: &ArchiveSection) -> Self {
        let place = format!("{}:{}", options.get_host(), options.get_port());
        warn_of_the_way(&options);
        let state = Arc::new(State::new(section.statement_timeout));
        let sessions = Arc::clone(&state);
        let pool = PoolOptions::new()
            .max_connections(section.pool)
            .acquire_timeout(section.statement_timeout)
            .idle_timeout(IDLE)
            .before_acquire(move |_, session| {
                let is_retired = sessions.is_retired(session.age);
                Box::pin(async move { Ok(!is_retired) })
            })
            .connect_lazy_with(session(options, section.statement_timeout));
        Self(Arc::new(Inner {
            place,
            pool,
            max_connections: section.pool,
            state,
        }))
    }

    /// One attempt: reaches the server and brings its schema to the newest.
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
        match self.0.state.is_ready() {
            true => Ok(&self.0.pool),
            false => Err(ArchiveError::Unavailable("not connected yet".to_owned())),
        }
    }

    pub(crate) fn state(&self) -> &State {
        &self.0.state
    }

    pub(crate) async fn close(&self) {
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

/// What every connection begins with. A transaction that stands still (its node froze) must not
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
