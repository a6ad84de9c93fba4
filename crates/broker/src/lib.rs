//! Carries envelopes between nodes, keeps recent streams and presence: in memory or in Redis.
//!
//! [`Broker`] is one node's line to all others. What others send comes out of the node's [`Inbox`].

mod agreement;
mod broker;
mod config;
mod control;
mod digest;
mod error;
mod inbox;
mod membership;
mod memory;
mod metrics;
mod pace;
mod reconcile;
mod redis;
mod reply;
mod webhook;

pub use agreement::{ClusterIdentity, Declaration, Declared, NodeSettings, Rule, shorten};
pub use broker::{Broker, BrokerHealth};
pub use config::{BrokerConfig, HistorySection, RedisSection};
pub use control::{Answers, Control, ControlReceiver, Question};
pub use error::BrokerError;
pub use inbox::{Delivery, Inbox, Missed, News, Resync, ResyncReceiver, RoomHead, WorkerQueue};
pub use memory::{Commit, Journal, JournalError, JournalRequest, MemoryCluster, UsedNonce};
pub use metrics::BrokerMetrics;
pub use pace::{Claim, Grant, PaceKind};
pub use reconcile::{Lost, NewEpoch, Outcome, Place, Reconciliation, Run, StreamState, run_order};
pub use reply::{Attendance, Head, Page, Presence, Published, Seen, Span};
pub use webhook::{Attended, Due, Item, Mark, WaitingRooms, WebhookEvent, WebhookQueue};
