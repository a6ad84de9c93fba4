//! All chat behaviour: sessions, hub, rooms, delivery, recovery, permissions, limits.
//!
//! A [`Node`] holds the sessions of one process and its line to the others. The gateway gives it
//! commands through [`Session::handle`] and takes frames from [`OutboxReader::next`].

mod access;
mod ack;
mod address;
mod alteration;
mod archiving;
mod batching;
mod changes;
mod cluster_limiter;
mod config;
mod degradations;
mod delivery;
mod error;
mod expiring_map;
mod expiry;
mod failpoint;
mod grants;
mod heartbeat;
mod history;
mod hub;
mod identity;
mod marks;
mod metrics;
mod node;
mod older;
mod opening;
mod orders;
mod outbox;
mod pattern;
mod posts;
mod presence;
mod publisher;
mod reactions;
mod reconcile;
mod records;
mod recovery;
mod request_limiter;
mod reservation;
mod retention;
mod room;
mod rooms;
mod search;
mod session;
mod settings;
mod signals;
mod tickets;
mod token_bucket;
#[doc(hidden)]
pub mod trial;

pub use address::address_key;
pub use archiving::keep_journal;
pub use config::{AckSection, DrainSection, Limits, NodeConfig, NodeSection, RoomRule};
pub use degradations::Degradations;
pub use error::CommandError;
pub use expiring_map::{Expires, ExpiringMap};
pub use failpoint::{Failpoints, UnknownFailpoint};
pub use grants::{BadGrant, RoomGrants};
pub use history::HistoryPage;
pub use hubbub_archive::{
    AuditEntry, Fragment, NewRoom, Record, RoomChange, SearchCursor, SearchPage,
};
pub use hubbub_broker::BrokerHealth;
pub use identity::{Identity, Rights};
pub use node::{ArchiveHealth, Node};
pub use orders::{ConnectionInfo, ConnectionQuery, Connections, Exclusion, NodeInfo, Nodes};
pub use outbox::{Line, OutboxReader};
pub use posts::{Action, Post, Receipt};
pub use request_limiter::Pace;
pub use reservation::{Amount, Payer, Reservation};
pub use search::SearchRequest;
pub use session::{ReadDelay, Session};
pub use settings::{ComparedSetting, SettingsOfAll};
pub use tickets::{Ticket, TicketUse};
