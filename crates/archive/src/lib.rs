//! Long-term history in SQLite or PostgreSQL: events with what edits, deletions and reactions make
//! of them, how far users have read, records of rooms, and search. Only this crate knows SQL.

mod append;
mod archive;
mod audit;
mod check;
mod config;
mod error;
mod fence;
mod fold;
mod history;
mod identity;
mod inbox;
mod incarnation;
mod lock;
mod migrate;
mod origin;
mod postgres;
mod reads;
mod rebuild;
mod records;
mod retention;
mod search;
mod sidecar;
mod sqlite;
mod state;
mod value;
mod words;

pub use append::{Hole, RoomBatch};
pub use archive::Archive;
pub use audit::{AuditEntry, KeptRule};
pub use check::{LifeCheck, RoomCheck};
pub use config::ArchiveSection;
pub use error::ArchiveError;
pub use history::HistorySpan;
pub use identity::{Identity, Owner};
pub use inbox::InboxEntry;
pub use incarnation::Incarnation;
pub use reads::ReadMark;
pub use records::{NewRoom, Record, RecordError, RoomChange};
pub use search::{AllowedRooms, Fragment, Hit, RoomPattern, SearchCursor, SearchPage, SearchQuery};
