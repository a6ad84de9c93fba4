//! An empty archive for each scenario, and the events that are written to it.

use std::sync::Arc;
use std::time::Duration;

use hubbub_archive::{Archive, ArchiveSection, RoomBatch};
use hubbub_protocol::command::Body;
use hubbub_protocol::event::seal;
use hubbub_protocol::{Draft, Envelope, Epoch, Nonce, Position, ReactionKey, RoomId, User, UserId};
use hubbub_tests::postgres::Postgres;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use tempfile::TempDir;

/// An archive and everything that must exist as long as it.
pub(crate) struct Fixture {
    pub(crate) archive: Archive,
    pub(crate) section: ArchiveSection,
    pub(crate) postgres: Option<Arc<Postgres>>,
    pub(crate) dir: TempDir,
}

impl Fixture {
    pub(crate) async fn sqlite() -> Self {
        let dir = TempDir::new().unwrap();
        let url = format!("sqlite://{}/archive.db", dir.path().display());
        Self::open(url, dir, None).await
    }

    pub(crate) async fn postgres() -> Self {
        let postgres = Postgres::shared().await;
        let url = postgres.database().await;
        Self::open(url, TempDir::new().unwrap(), Some(postgres)).await
    }

    async fn open(url: String, dir: TempDir, postgres: Option<Arc<Postgres>>) -> Self {
        let section = section(&url);
        let archive = Archive::open(&section).await.unwrap().unwrap();
        archive.connect().await.unwrap();
        Self {
            archive,
            section,
            postgres,
            dir,
        }
    }
}

/// Direct access to the tables of the archive.
impl Fixture {
    /// Closes the archive and opens it again.
    pub(crate) async fn reopen(&mut self) {
        self.archive.close().await;
        self.archive = Archive::open(&self.section).await.unwrap().unwrap();
        self.archive.connect().await.unwrap();
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let sql = AssertSqlSafe(sql.to_owned());
        match &self.postgres {
            Some(_) => {
                sqlx::query_scalar(sql)
                    .fetch_one(&mut self.server().await)
                    .await
            }
            None => {
                sqlx::query_scalar(sql)
                    .fetch_one(&mut self.file().await)
                    .await
            }
        }
        .unwrap()
    }

    pub(crate) async fn texts(&self, sql: &str) -> Vec<String> {
        let sql = AssertSqlSafe(sql.to_owned());
        match &self.postgres {
            Some(_) => {
                sqlx::query_scalar(sql)
                    .fetch_all(&mut self.server().await)
                    .await
            }
            None => {
                sqlx::query_scalar(sql)
                    .fetch_all(&mut self.file().await)
                    .await
            }
        }
        .unwrap()
    }

    /// Changes the tables directly.
    pub(crate) async fn run(&self, sql: &'static str) {
        match &self.postgres {
            Some(_) => {
                let server = &mut self.server().await;
                sqlx::query(sql).execute(server).await.map(drop)
            }
            None => {
                let file = &mut self.file().await;
                sqlx::query(sql).execute(file).await.map(drop)
            }
        }
        .unwrap();
    }

    /// The names of all tables.
    pub(crate) async fn tables(&self) -> Vec<String> {
        let sql = match self.postgres {
            Some(_) => "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'",
            None => "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql IS NOT NULL",
        };
        self.texts(sql).await
    }

    async fn server(&self) -> PgConnection {
        PgConnection::connect(&self.section.url).await.unwrap()
    }

    async fn file(&self) -> SqliteConnection {
        SqliteConnection::connect(&self.section.url).await.unwrap()
    }
}

/// Settings with time-outs for a slow machine.
pub(crate) fn section(url: &str) -> ArchiveSection {
    ArchiveSection {
        url: url.to_owned(),
        statement_timeout: Duration::from_secs(20),
        ..ArchiveSection::default()
    }
}

pub(crate) fn room(name: &str) -> RoomId {
    RoomId::new(name).unwrap()
}

pub(crate) fn id(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub(crate) fn user(name: &str) -> User {
    User {
        id: id(name),
        name: name.to_uppercase().into(),
    }
}

pub(crate) fn epoch(name: &str) -> Epoch {
    Epoch::new(name).unwrap()
}

/// Writes a room's events one after the other, as the broker would.
pub(crate) struct Script {
    pub(crate) room: RoomId,
    pub(crate) epoch: Epoch,
    pub(crate) top: u64,
    /// The time of the next event, in milliseconds since 1970.
    pub(crate) ts: u64,
    pub(crate) events: Vec<Envelope>,
}

impl Script {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            room: room(name),
            epoch: epoch("e1"),
            top: 0,
            ts: 1_000,
            events: Vec::new(),
        }
    }

    /// The events written since the last call, as a batch.
    pub(crate) fn batch(&mut self) -> RoomBatch {
        RoomBatch {
            room: self.room.clone(),
            base: None,
            events: std::mem::take(&mut self.events),
            holes: Vec::new(),
            run: None,
        }
    }

    /// Appends the events written since the last call.
    pub(crate) async fn store(&mut self, archive: &Archive) {
        archive.append(&[self.batch()]).await.unwrap();
    }

    fn push(&mut self, draft: &Draft) -> u64 {
        self.top += 1;
        self.ts += 1;
        let position = Position {
            epoch: self.epoch.clone(),
            offset: self.top,
        };
        self.events.push(Envelope {
            frame: seal(&draft.open, self.ts, &position),
            position,
            message: draft.message.clone(),
            previous: None,
        });
        self.top
    }

    pub(crate) fn say(&mut self, from: &str, text: &str) -> u64 {
        self.say_body(from, None, &json!({"text": text}))
    }

    pub(crate) fn say_body(&mut self, from: &str, nonce: Option<&str>, body: &Value) -> u64 {
        let nonce = nonce.map(|nonce| Nonce::new(nonce).unwrap());
        self.push(&Draft::message(
            &self.room,
            &user(from),
            nonce,
            &Body::from(body),
        ))
    }

    pub(crate) fn edit(&mut self, by: &str, target: u64, text: &str) -> u64 {
        let body = Body::from(&json!({"text": text}));
        let original = self.place_of(target);
        let original = original.read().unwrap();
        self.push(&Draft::edit(
            &self.room,
            &user(by),
            None,
            target,
            &original,
            &body,
        ))
    }

    /// An event of which only the place is known. The archive has the rest.
    fn place_of(&self, target: u64) -> Envelope {
        let epoch = self.epoch.clone();
        let offset = target;
        Envelope::vanished(&self.room, Position { epoch, offset })
    }

    pub(crate) fn delete(&mut self, by: &str, target: u64) -> u64 {
        let original = self.place_of(target);
        let original = original.read().unwrap();
        self.push(&Draft::delete(
            &self.room,
            &user(by),
            None,
            target,
            &original,
        ))
    }

    pub(crate) fn react(&mut self, by: &str, target: u64, key: &str, on: bool) -> u64 {
        let key = ReactionKey::new(key).unwrap();
        self.push(&Draft::react(&self.room, &user(by), None, target, &key, on))
    }
}

/// An event's frame as JSON.
pub(crate) fn value(event: &Envelope) -> Value {
    serde_json::from_str(event.frame.as_str()).unwrap()
}

/// The offsets of a page.
pub(crate) fn offsets(events: &[Envelope]) -> Vec<u64> {
    events.iter().map(|event| event.position.offset).collect()
}

/// The texts of a page; "" for an event without a text.
pub(crate) fn texts(events: &[Envelope]) -> Vec<String> {
    let text = |event| {
        value(event)["body"]["text"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    events.iter().map(text).collect()
}
