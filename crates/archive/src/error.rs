//! Why the archive cannot do something, and who must act.

use std::time::Duration;

use hubbub_protocol::RoomId;

/// The reason why a call to the archive failed. Nothing of a failed call is stored,
/// except that an append that got no answer may have been: it can be repeated.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The operator: no form that there will ever be.
    #[error(
        "archive.url: expected sqlite://FILE, postgres://USER:PASSWORD@HOST/DATABASE or nothing"
    )]
    BadUrl,
    /// The operator: a value that cannot work.
    #[error("{0}")]
    BadSetting(&'static str),
    /// The operator: one file cannot serve many nodes.
    #[error("archive.url: sqlite cannot be used together with redis.url, use postgres://")]
    SqliteInCluster,
    /// The operator: a newer version has been here.
    #[error("the archive's schema is version {found}, this program knows {known}: use a newer one")]
    TooNew {
        /// Of the database.
        found: i64,
        /// The newest that this program can use.
        known: i64,
    },
    /// The operator: the file cannot be opened as a database.
    #[error("cannot open {path}: {source}")]
    Open {
        /// Which file.
        path: String,
        /// Why.
        source: sqlx::Error,
    },
    /// The operator: two processes would number events alike, and lose what the other one stores.
    #[error(
        "archive.url: {path} is in use by another process: stop that one, or name another file \
        (nodes that share their rooms need redis.url and a postgres:// archive)"
    )]
    InUse {
        /// Which file.
        path: String,
    },
    /// The operator: the database's file was removed or replaced while it was in use, so nothing that is
    /// written now would be found again. Nothing of the call is stored.
    #[error("the archive's file is gone: {0}; put it back or restart the node")]
    FileGone(String),
    /// The operator: only a node migrates a schema to the newest, this call was to read.
    #[error(
        "the archive's schema is version {found}, this program reads {known}: start a node once"
    )]
    TooOld {
        /// Of the database.
        found: i64,
        /// The only one that can be read.
        known: i64,
    },
    /// Nobody but time: the database is away, busy or starting. The call can be repeated.
    #[error("the archive is not available: {0}")]
    Unavailable(String),
    /// The caller: a search cost too much, or too many searches were before it. That says nothing about
    /// the archive's health.
    #[error("the search did not end within {0:?}: look for more or rarer words, or in one room")]
    SearchTimeout(Duration),
    /// The caller: the room was compared again since these events were read from its stream. They
    /// have to be read once more.
    #[error("{room} was compared with another stream since its events were read")]
    Fenced {
        /// Which room.
        room: RoomId,
    },
    /// Nobody but time: the database refused the statement because of the state of this session, as after
    /// it was read-only for a while. The session is closed; the call can be repeated on another.
    #[error("the archive's session cannot be used: {0}")]
    StaleSession(String),
    /// Nobody but time, or the operator: the database has not our tables, as one that was made anew. The
    /// call can be repeated: they are made as soon as that is noticed.
    #[error("the archive's database has not its tables: {0}")]
    NoSchema(String),
    /// The operator: what stands between this node and PostgreSQL shares sessions among clients, or drops
    /// what they set, so that answers would be those of somebody else's statements.
    #[error(
        "archive.url leads to a connection pooler that cannot be used ({0}): name PostgreSQL itself, or a \
        PgBouncer pool with pool_mode = session"
    )]
    Pooled(String),
    /// The operator: there is no room on its disk. The call can be repeated.
    #[error("the archive's disk is full")]
    Full,
    /// The caller: a frame that is no sealed event. A repetition fails again.
    #[error("the event at {offset} in room {room} is none: {source}")]
    BadEvent {
        /// Its room.
        room: RoomId,
        /// Its place.
        offset: u64,
        /// Why.
        source: serde_json::Error,
    },
    /// We: two events were given one place, so the second would be lost. A repetition fails again.
    #[error("the place {offset} in room {room} is taken by another event")]
    Taken {
        /// Its room.
        room: RoomId,
        /// Its place.
        offset: u64,
    },
    /// We: a statement that the database refuses, or rows that we cannot read.
    #[error("the archive failed: {0}")]
    Failed(sqlx::Error),
    /// We: a row says what it must never say.
    #[error("the archive has a row that cannot be read: {0}")]
    BadRow(&'static str),
}

/// SQLite's primary result codes, as operators see them.
const SQLITE_BUSY: u32 = 5;
const SQLITE_LOCKED: u32 = 6;
const SQLITE_IOERR: u32 = 10;
const SQLITE_FULL: u32 = 13;

impl ArchiveError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Unavailable(_)
                | Self::StaleSession(_)
                | Self::NoSchema(_)
                | Self::FileGone(_)
                | Self::Full
        )
    }

    fn sqlite(code: &str, error: sqlx::Error) -> Self {
        match code.parse::<u32>().map(|code| code & 0xff) {
            Ok(SQLITE_FULL) => Self::Full,
            Ok(SQLITE_BUSY | SQLITE_LOCKED | SQLITE_IOERR) => Self::Unavailable(error.to_string()),
            _ => Self::Failed(error),
        }
    }

    /// By PostgreSQL's codes. Of the session: 25006 it is read-only, 26000 and 42P05 its prepared
    /// statements are not ours. 42P01: a table is missing. 08P01 at the start: a pooler does not know a
    /// setting of ours. By its classes: 08 connection, 40 serialization, 53 resources, 57 an
    /// operator's intervention or our timeout, 58 its system; and 55P03 a lock.
    fn postgres(code: &str, error: sqlx::Error) -> Self {
        match code.get(..2) {
            _ if code == "53100" => Self::Full,
            _ if matches!(code, "25006" | "26000" | "42P05") => {
                Self::StaleSession(error.to_string())
            }
            _ if code == "42P01" => Self::NoSchema(error.to_string()),
            _ if code == "08P01" && error.to_string().contains("startup parameter") => {
                Self::Pooled(error.to_string())
            }
            _ if code == "55P03" => Self::Unavailable(error.to_string()),
            Some("08" | "28" | "3D" | "40" | "53" | "57" | "58") => {
                Self::Unavailable(error.to_string())
            }
            _ => Self::Failed(error),
        }
    }
}

impl From<sqlx::Error> for ArchiveError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error;
        if let Error::Database(database) = &error {
            let code = database.code().unwrap_or_default().into_owned();
            return match database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
                Some(_) => Self::postgres(&code, error),
                None => Self::sqlite(&code, error),
            };
        }
        match error {
            Error::Io(_)
            | Error::Tls(_)
            | Error::Protocol(_)
            | Error::PoolTimedOut
            | Error::PoolClosed
            | Error::WorkerCrashed
            | Error::BeginFailed => Self::Unavailable(error.to_string()),
            _ => Self::Failed(error),
        }
    }
}
