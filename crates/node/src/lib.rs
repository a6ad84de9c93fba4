//! All chat behaviour: sessions, hub, rooms, delivery, recovery, permissions, limits.
//!
//! A [`Node`] holds the sessions of one process and its line to the others. The gateway gives it
//! commands through [`Session::handle`] and takes frames from [`OutboxReader::next`].

mod config;
mod delivery;
mod error;
mod failpoint;
mod heartbeat;
mod hub;
mod identity;
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

pub use config::{AckLevel, AckSection, DrainSection, Limits, NodeConfig, NodeSection};
pub use failpoint::{Failpoints, UnknownFailpoint};
pub use identity::{Identity, Rights, RoomGrant};
pub use node::Node;
pub use outbox::OutboxReader;
pub use session::Session;
