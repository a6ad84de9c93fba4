//! The archive: one of two databases behind the same calls. This file alone chooses between them.

use std::time::Duration;

use hubbub_protocol::{Envelope, Epoch, Frame, MessageId, Position};
use serde::Serialize;
use sqlx::{Postgres as PostgresDb, Transaction};
use tokio::time::sleep;

use crate::config::Place;
use crate::postgres::Postgres;
use crate::sqlite::{Sqlite, Writing};
use crate::state::State;
use crate::value::{Row, Value, postgres_arguments, sqlite_arguments, to_u64};
use crate::{ArchiveError, ArchiveSection};

/// Between two looks whether something can be written, while a call has failed.
const WRITE_RETRY: Duration = Duration::from_secs(2);

/// Long-term history. Clones share the connections. Every call ends within twice
/// `archive.statement_timeout`.
#[derive(Debug, Clone)]
pub enum Archive {
    /// One file, for one node.
    Sqlite(Sqlite),
    /// A server, for a cluster.
    Postgres(Postgres),
}

/// A transaction that writes. Dropped without a commit, nothing of it stays.
pub(crate) enum Tx {
    Sqlite(Writing),
    Postgres(Transaction<'static, PostgresDb>),
}

/// A statement that the two databases word differently.
#[derive(Clone, Copy)]
pub(crate) struct Pair {
    pub(crate) sqlite: &'static str,
    pub(crate) postgres: &'static str,
}

/// A statement that both understand.
impl From<&'static str> for Pair {
    fn from(both: &'static str) -> Self {
        Self {
            sqlite: both,
            postgres: both,
        }
    }
}

impl Archive {
    /// Opens the archive that the setting names; `None`: it names none. An SQLite file is created and
    /// brought to the newest schema, and belongs to this archive until it is closed or its last clone is
    /// gone. A PostgreSQL server is not asked yet: [`Archive::connect`].
    ///
    /// # Errors
    /// [`ArchiveError`] says whether the setting, the file or the disk is wrong; [`ArchiveError::InUse`]:
    /// the file belongs to somebody else.
    pub async fn open(section: &ArchiveSection) -> Result<Option<Self>, ArchiveError> {
        section.check(false)?;
        match section.place()? {
            Place::Nowhere => Ok(None),
            Place::File(path) => Ok(Some(Self::Sqlite(Sqlite::open(&path, section).await?))),
            Place::Server(options) => Ok(Some(Self::Postgres(Postgres::new(*options, section)))),
        }
    }

    /// Opens the archive beside whomever it belongs to; `None`: the setting names none. An SQLite file is
    /// only read: it is not created, nor brought to another schema, and each call that writes fails.
    ///
    /// # Errors
    /// [`ArchiveError`] says whether the setting or the file is wrong.
    pub async fn open_to_read(section: &ArchiveSection) -> Result<Option<Self>, ArchiveError> {
        section.check(false)?;
        match section.place()? {
            Place::File(path) => {
                let sqlite = Sqlite::open_to_read(&path, section).await?;
                Ok(Some(Self::Sqlite(sqlite)))
            }
            Place::Nowhere | Place::Server(_) => Self::open(section).await,
        }
    }

    /// Tries once to reach the server and to bring its schema to the newest; until that has succeeded,
    /// every call ends with [`ArchiveError::Unavailable`]. With SQLite there is nothing to do.
    ///
    /// # Errors
    /// [`ArchiveError::Unavailable`]: try again; [`ArchiveError::TooNew`] and [`ArchiveError::Pooled`]:
    /// that would not help.
    pub async fn connect(&self) -> Result<(), ArchiveError> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(postgres) => self.state().watch(Box::pin(postgres.connect())).await,
        }
    }

    /// Whether it was reached once with the right schema, whatever has become of it since.
    #[must_use]
    pub fn was_reached(&self) -> bool {
        self.state().was_reached()
    }

    /// Whether it has been reached and its schema is right.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.state().is_ready()
    }

    /// The failure of the last call, in words for an operator; `None`: it succeeded.
    #[must_use]
    pub fn health(&self) -> Option<String> {
        let wrong = self.lost_file().or_else(|| self.state().unwritable());
        let wrong = wrong.or_else(|| self.state().wrong());
        wrong.or_else(|| (!self.is_ready()).then(|| "not connected yet".to_owned()))
    }

    /// Whether nothing could be written lately: the disk is full, or [`Self::keep_writable`] has failed.
    #[must_use]
    pub fn is_unwritable(&self) -> bool {
        self.state().unwritable().is_some()
    }

    /// Runs for as long as the node. When a call has failed, tries to write something small, and goes on
    /// until that succeeds: nobody else may try, since a node that stores nothing gets no clients.
    pub async fn keep_writable(self) {
        loop {
            sleep(WRITE_RETRY).await;
            let was_unwritable = self.is_unwritable();
            if !was_unwritable && self.state().wrong().is_none() {
                continue;
            }
            let write = async {
                let mut tx = self.begin().await?;
                tx.count_events(0).await?;
                tx.commit().await
            };
            match self.state().watch(write).await {
                Ok(()) => {
                    self.state().has_written();
                    if was_unwritable {
                        tracing::info!("the archive can be written again");
                    }
                }
                Err(error) => {
                    self.state().cannot_write(&error);
                    if !was_unwritable {
                        tracing::warn!(%error, "the archive cannot be written, nothing is stored");
                    }
                }
            }
        }
    }

    /// Why nothing that is written now would be found again; `None`: it would be. Only an SQLite file can
    /// be taken away so.
    #[must_use]
    pub fn lost_file(&self) -> Option<String> {
        match self {
            Self::Sqlite(sqlite) => sqlite.lost_file(),
            Self::Postgres(_) => None,
        }
    }

    /// Closes the connections; what is under way is waited for.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(sqlite) => sqlite.close().await,
            Self::Postgres(postgres) => postgres.close().await,
        }
    }

    pub(crate) fn state(&self) -> &State {
        match self {
            Self::Sqlite(sqlite) => sqlite.state(),
            Self::Postgres(postgres) => postgres.state(),
        }
    }

    /// Reads.
    pub(crate) async fn rows<T: Row>(
        &self,
        sql: impl Into<Pair>,
        values: Vec<Value>,
    ) -> Result<Vec<T>, ArchiveError> {
        let sql = sql.into();
        match self {
            Self::Sqlite(sqlite) => {
                let query = sqlx::query_as_with(sql.sqlite, sqlite_arguments(values)?);
                Ok(query.fetch_all(sqlite.readers()).await?)
            }
            Self::Postgres(postgres) => {
                let query = sqlx::query_as_with(sql.postgres, postgres_arguments(values)?);
                Ok(query.fetch_all(postgres.pool()?).await?)
            }
        }
    }

    /// Begins to write; with SQLite this waits for the one writer. Opening a connection is a large future,
    /// which is not to be a part of every call's.
    pub(crate) async fn begin(&self) -> Result<Tx, ArchiveError> {
        match self {
            Self::Sqlite(sqlite) => Ok(Tx::Sqlite(Box::pin(sqlite.begin()).await?)),
            Self::Postgres(postgres) => Ok(Tx::Postgres(Box::pin(postgres.pool()?.begin()).await?)),
        }
    }
}

impl Tx {
    /// Reads, or writes and reads back.
    pub(crate) async fn rows<T: Row>(
        &mut self,
        sql: impl Into<Pair>,
        values: Vec<Value>,
    ) -> Result<Vec<T>, ArchiveError> {
        let sql = sql.into();
        match self {
            Self::Sqlite(writing) => {
                let query = sqlx::query_as_with(sql.sqlite, sqlite_arguments(values)?);
                Ok(query.fetch_all(writing.connection()).await?)
            }
            Self::Postgres(tx) => {
                let query = sqlx::query_as_with(sql.postgres, postgres_arguments(values)?);
                Ok(query.fetch_all(&mut **tx).await?)
            }
        }
    }

    /// Writes; how many rows were touched.
    pub(crate) async fn run(
        &mut self,
        sql: impl Into<Pair>,
        values: Vec<Value>,
    ) -> Result<u64, ArchiveError> {
        let sql = sql.into();
        match self {
            Self::Sqlite(writing) => {
                let query = sqlx::query_with(sql.sqlite, sqlite_arguments(values)?);
                Ok(query.execute(writing.connection()).await?.rows_affected())
            }
            Self::Postgres(tx) => {
                let query = sqlx::query_with(sql.postgres, postgres_arguments(values)?);
                Ok(query.execute(&mut **tx).await?.rows_affected())
            }
        }
    }

    /// Writes many rows by one statement, which finds them with `json_each($1)`.
    pub(crate) async fn run_many<T: Serialize>(
        &mut self,
        sql: impl Into<Pair>,
        rows: &[T],
    ) -> Result<(), ArchiveError> {
        if rows.is_empty() {
            return Ok(());
        }
        self.run(sql, vec![Value::from(json(rows))]).await?;
        Ok(())
    }

    /// Whether it writes to SQLite, which keeps what can be searched in a table of its own.
    pub(crate) fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }

    /// Counts events that this transaction appends, where a restored file has to be told by that.
    pub(crate) async fn count_events(&mut self, events: usize) -> Result<(), ArchiveError> {
        match self {
            Self::Sqlite(writing) => writing.count_events(events as u64).await,
            Self::Postgres(_) => Ok(()),
        }
    }

    pub(crate) async fn commit(self) -> Result<(), ArchiveError> {
        match self {
            Self::Sqlite(writing) => writing.commit().await,
            Self::Postgres(tx) => Ok(tx.commit().await?),
        }
    }
}

/// Many rows as one parameter.
pub(crate) fn json<T: Serialize>(rows: &[T]) -> String {
    serde_json::to_string(rows).expect("plain structs always serialize")
}

/// The columns of an event: epoch, number, message, frame.
pub(crate) type EventColumns = (String, i64, String, String);

pub(crate) fn envelope(columns: EventColumns) -> Result<Envelope, ArchiveError> {
    let (epoch, number, message, frame) = columns;
    Ok(Envelope {
        position: Position {
            epoch: Epoch::new(&epoch).map_err(|_| ArchiveError::BadRow("an epoch"))?,
            offset: to_u64(number),
        },
        message: MessageId::new(&message).map_err(|_| ArchiveError::BadRow("a message id"))?,
        previous: None,
        frame: to_frame(frame),
    })
}

pub(crate) fn to_frame(json: String) -> Frame {
    Frame::from_json(json.into()).expect("a string is UTF-8")
}
