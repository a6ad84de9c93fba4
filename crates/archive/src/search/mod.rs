//! Full-text search over the rooms that a user may read, newest first. Across rooms that is the order
//! in which the archive took the messages, which its keys have; each room comes to it by itself, so
//! what was said within a moment in two rooms may stand the other way round.

mod highlight;
mod query;
mod run;

use std::fmt;

use hubbub_protocol::{Envelope, RoomId, StoredEvent, UserId};
use serde::Serialize;

pub use self::highlight::Fragment;
use self::highlight::highlight;
use self::query::{Phrases, phrases};
use crate::archive::json;
use crate::history::MessageColumns;
use crate::value::{Value, values};
use crate::{Archive, ArchiveError};

/// A search: the words, where to look, and the user who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchQuery {
    /// Words that all must be there, beginnings of words as in `begin*`, and "phrases in quotes". Nothing
    /// else has a meaning. Case, accents and width make no difference.
    pub text: String,
    /// Only in this room.
    pub room: Option<RoomId>,
    /// Only what this user has said.
    pub from: Option<UserId>,
    /// Only what is older than a hit of an earlier page.
    pub before: Option<SearchCursor>,
    /// Hits a page, at most 100.
    pub limit: usize,
    /// The user who asks. Private rooms are searched only if they are a member.
    pub reader: UserId,
    /// Rooms that the reader's token allows or not, the longest match counts, and what none matches is
    /// not allowed; `None`: all.
    pub allowed: Option<Vec<AllowedRooms>>,
}

/// Whether some rooms may be searched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedRooms {
    /// Which.
    pub rooms: RoomPattern,
    /// Whether they may.
    pub is_allowed: bool,
}

/// Some rooms by their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomPattern {
    /// The room of this name.
    Exact(String),
    /// All rooms whose names begin so; with an empty one all rooms.
    Prefix(String),
}

/// Where a page of hits ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchCursor(i64);

/// Hits, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchPage {
    /// At most as many as asked for.
    pub hits: Vec<Hit>,
    /// Where to go on; `None`: there are no more.
    pub next: Option<SearchCursor>,
}

/// A message that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// As it stands now.
    pub event: Envelope,
    /// Its text, or the part of it around the first hit.
    pub highlight: Vec<Fragment>,
}

const MOST: usize = 100;

/// A pattern as the statement reads it.
#[derive(Serialize)]
struct PatternRow<'a> {
    exact: Option<&'a str>,
    prefix: Option<&'a str>,
    allowed: &'static str,
}

type Columns = (i64, i64, String, i64, String, String, Option<String>);

const COLUMNS: &str = "SELECT m.id, m.room_id, m.epoch, m.number, m.message, m.frame, e.frame ";
const JOINS: &str = "JOIN rooms r ON r.id = m.room_id LEFT JOIN events e ON e.id = m.edit_id ";

impl SearchCursor {
    /// Reads what [`fmt::Display`] wrote; `None`: it is no cursor.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

impl fmt::Display for SearchCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl AllowedRooms {
    fn row(&self) -> PatternRow<'_> {
        let (exact, prefix) = match &self.rooms {
            RoomPattern::Exact(name) => (Some(name.as_str()), None),
            RoomPattern::Prefix(prefix) => (None, Some(prefix.as_str())),
        };
        let allowed = if self.is_allowed { "yes" } else { "no" };
        PatternRow {
            exact,
            prefix,
            allowed,
        }
    }
}

impl Archive {
    /// Messages that have all the words, newest first. Any text is a query; one without a word finds
    /// nothing. A search whose caller goes away is stopped.
    ///
    /// # Errors
    /// [`ArchiveError::SearchTimeout`] when it would cost more than `archive.search_timeout`, and
    /// [`ArchiveError`] when the database does not answer.
    pub async fn search(&self, query: &SearchQuery) -> Result<SearchPage, ArchiveError> {
        let phrases = phrases(&query.text);
        if phrases.is_empty() {
            return Ok(SearchPage::default());
        }
        self.find(query, &phrases).await
    }

    async fn find(
        &self,
        query: &SearchQuery,
        phrases: &Phrases,
    ) -> Result<SearchPage, ArchiveError> {
        let statement = self.state().watch(self.statement(query, phrases)).await?;
        let Some((sql, values)) = statement else {
            return Ok(SearchPage::default());
        };
        let mut rows: Vec<Columns> = self.search_rows(sql, values).await?;
        let limit = query.limit.min(MOST);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows
            .last()
            .filter(|_| has_more)
            .map(|row| SearchCursor(row.0));
        let texts: Vec<String> = rows.iter().map(text).collect();
        let rows = rows.into_iter().map(message).collect();
        let events = self.state().watch(self.fold_all(rows)).await?.into_iter();
        let hits = events.zip(texts).map(|(event, text)| Hit {
            event,
            highlight: highlight(&text, phrases),
        });
        let hits = hits.collect();
        Ok(SearchPage { hits, next })
    }

    /// The statement for a query and its parameters; `None`: there is no such room. It is put together
    /// from our own words only.
    async fn statement(
        &self,
        query: &SearchQuery,
        phrases: &Phrases,
    ) -> Result<Option<(String, Vec<Value>)>, ArchiveError> {
        let room = match &query.room {
            None => None,
            Some(room) => match self.room_id(room).await? {
                None => return Ok(None),
                some => some,
            },
        };
        let before = query.before.map_or(i64::MAX, |cursor| cursor.0);
        let limit = query.limit.min(MOST) + 1;
        let matching = match self {
            Self::Sqlite(_) => phrases.for_sqlite(room),
            Self::Postgres(_) => phrases.for_postgres(),
        };
        let mut values = values![matching, before, limit, query.reader.as_str()];
        let mut conditions = String::new();
        if let Some(room) = room {
            values.push(room.into());
            conditions += &format!("AND m.room_id = ${} ", values.len());
        }
        if let Some(from) = &query.from {
            values.push(from.as_str().into());
            conditions += &format!("AND m.sender = ${} ", values.len());
        }
        if let Some(allowed) = &query.allowed {
            let rows: Vec<PatternRow<'_>> = allowed.iter().map(AllowedRooms::row).collect();
            values.push(json(&rows).into());
            conditions += &format!(
                "AND (SELECT j.value->>'allowed' FROM json_each(${}) AS j \
                    WHERE r.room = j.value->>'exact' \
                    OR substr(r.room, 1, length(j.value->>'prefix')) = j.value->>'prefix' \
                    ORDER BY j.value->>'exact' IS NULL, length(j.value->>'prefix') DESC \
                    LIMIT 1) = 'yes' ",
                values.len()
            );
        }
        let readable = "AND (NOT r.private OR EXISTS (SELECT 1 FROM members a \
            WHERE a.room_id = r.id AND a.user_id = $4)) ";
        // SQLite joins in the order in which it is told to: it walks down the list of the rarest
        // word. PostgreSQL weighs that against walking down all messages.
        let sql = match self {
            Self::Sqlite(_) => format!(
                "{COLUMNS} FROM search s CROSS JOIN events m ON m.id = s.rowid {JOINS} \
                WHERE s.search MATCH $1 AND s.rowid < $2 {readable} {conditions} \
                ORDER BY s.rowid DESC LIMIT $3"
            ),
            Self::Postgres(_) => format!(
                "{COLUMNS} FROM events m {JOINS} \
                WHERE m.search @@ CAST($1 AS TSQUERY) AND m.id < $2 \
                {readable} {conditions} ORDER BY m.id DESC LIMIT $3"
            ),
        };
        Ok(Some((sql, values)))
    }

    async fn room_id(&self, room: &RoomId) -> Result<Option<i64>, ArchiveError> {
        let sql = "SELECT id FROM rooms WHERE room = $1";
        let rows: Vec<(i64,)> = self.rows(sql, values![room.as_str()]).await?;
        Ok(rows.first().map(|(id,)| *id))
    }
}

fn message(row: Columns) -> MessageColumns {
    let (_, room, epoch, number, message, frame, edit) = row;
    (room, epoch, number, message, frame, edit)
}

/// The message's present text.
fn text(row: &Columns) -> String {
    let frame = row.6.as_ref().unwrap_or(&row.5);
    let event = StoredEvent::parse(frame).ok();
    event.and_then(|event| event.text()).unwrap_or_default()
}
