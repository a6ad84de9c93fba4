//! All chat behaviour: sessions, hub, rooms, delivery, recovery, permissions, limits.
//!
//! A [`Node`] holds the sessions of one process and its line to the others. The gateway gives it
//! commands through [`Session::handle`] and takes frames from [`OutboxReader::next`].

mod access;
mod ack;
mod allowance;
mod alteration;
mod archiving;
mod config;
mod courtesy;
mod delivery;
mod error;
mod expiry;
mod failpoint;
mod grants;
mod heartbeat;
mod history;
mod hub;
mod identity;
mod life;
mod lock;
mod marks;
mod metrics;
mod node;
mod opening;
mod orders;
mod outbox;
mod pace;
mod pattern;
mod posts;
mod presence;
mod publisher;
mod rate;
mod records;
mod recovery;
mod retention;
mod room;
mod rooms;
mod search;
mod session;
mod tempo;
mod tickets;
#[doc(hidden)]
pub mod trial;

pub use archiving::keep_journal;
pub use config::{AckSection, DrainSection, Limits, NodeConfig, NodeSection, RoomRule};
pub use error::CommandError;
pub use failpoint::{Failpoints, UnknownFailpoint};
pub use grants::{BadGrant, RoomGrants};
pub use history::HistoryPage;
pub use hubbub_archive::{
    AuditEntry, Fragment, NewRoom, Record, RoomChange, SearchCursor, SearchPage,
};
pub use identity::{Identity, Rights};
pub use node::{ArchiveHealth, Node};
pub use orders::{ConnectionInfo, ConnectionQuery, Connections, Exclusion, NodeInfo, Nodes};
pub use outbox::{Line, OutboxReader};
pub use pace::{Pace, Turn};
pub use posts::{Action, Post, Receipt};
pub use search::SearchRequest;
pub use session::{Rest, Session};
pub use tickets::{Ticket, TicketUse};
