//! All chat behaviour: sessions, hub, rooms, delivery, recovery, permissions, limits.
//!
//! A [`Node`] holds the sessions of one process and its line to the others. The gateway gives it
//! commands through [`Session::handle`] and takes frames from [`OutboxReader::next`].

mod ack;
mod archiving;
mod config;
mod delivery;
mod error;
mod failpoint;
mod heartbeat;
mod history;
mod hub;
mod identity;
mod life;
mod lock;
mod metrics;
mod node;
mod opening;
mod outbox;
mod presence;
mod publisher;
mod rate;
mod recovery;
mod room;
mod session;

pub use archiving::keep_journal;
pub use config::{AckSection, DrainSection, Limits, NodeConfig, NodeSection};
pub use failpoint::{Failpoints, UnknownFailpoint};
pub use identity::{Identity, Rights, RoomGrant};
pub use node::Node;
pub use outbox::OutboxReader;
pub use session::Session;
