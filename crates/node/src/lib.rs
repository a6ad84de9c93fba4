//! All chat behaviour: sessions, hub, rooms, delivery, recovery, permissions, limits.

mod config;
mod identity;

use std::sync::Arc;

pub use config::{AckLevel, AckSection, DrainSection, Limits, NodeConfig, NodeSection};
use hubbub_broker::{Broker, BrokerHealth, Inbox};
use hubbub_protocol::{CloseCode, ConnectionId, DecodeError, Frame, NodeId, Request, User};
pub use identity::{Identity, Rights, RoomGrant};
use prometheus_client::registry::Registry;

/// Placeholder.
#[derive(Debug)]
pub struct Node {}

/// Placeholder.
#[derive(Debug)]
pub struct Session {}

/// Placeholder.
#[derive(Debug)]
pub struct OutboxReader {}

impl Node {
    /// Starts the node's workers; they are held until [`Node::shutdown`].
    #[must_use]
    pub fn start(_id: NodeId, _config: NodeConfig, _broker: Broker, _inbox: Inbox) -> Arc<Self> {
        unimplemented!()
    }
    /// This node.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        unimplemented!()
    }
    /// Its settings.
    #[must_use]
    pub fn config(&self) -> &NodeConfig {
        unimplemented!()
    }
    /// Its line to the others.
    #[must_use]
    pub fn health(&self) -> BrokerHealth {
        unimplemented!()
    }
    /// Opens a session and pushes `welcome`. The session's frames come from the reader.
    ///
    /// # Errors
    /// The code to close the connection with: 4505 when the user has too many.
    pub fn attach(
        self: &Arc<Self>,
        _identity: Identity,
    ) -> Result<(Session, OutboxReader), CloseCode> {
        unimplemented!()
    }
    /// Closes all sessions with `reconnect` and 1012 spread over `spread`; waits for none.
    pub async fn drain(&self, _spread: std::time::Duration) {
        unimplemented!()
    }
    /// Number of sessions attached.
    #[must_use]
    pub fn connections(&self) -> usize {
        unimplemented!()
    }
    /// Ends the workers and gives presence back.
    pub async fn shutdown(&self) {
        unimplemented!()
    }
    /// Adds the node's and the broker's metrics.
    pub fn register_metrics(&self, _registry: &mut Registry) {
        unimplemented!()
    }
}

impl Session {
    /// This connection.
    #[must_use]
    pub fn connection(&self) -> &ConnectionId {
        unimplemented!()
    }
    /// Whose it is.
    #[must_use]
    pub fn user(&self) -> &User {
        unimplemented!()
    }
    /// Does what is asked; every answer goes through the outbox. Waits when the client has too
    /// much in flight, which is what stops the read loop (back pressure).
    pub async fn handle(&mut self, _request: Request) {
        unimplemented!()
    }
    /// Answers a frame that was no command; repeated ones close with 4500.
    pub fn refuse(&mut self, _error: &DecodeError) {
        unimplemented!()
    }
    /// Ends the connection from the server's side: frames already queued go out first.
    pub fn close(&self, _code: CloseCode) {
        unimplemented!()
    }
    /// Leaves all rooms. Call it when the connection has ended, however it ended.
    pub async fn detach(self) {
        unimplemented!()
    }
}

impl OutboxReader {
    /// Waits for frames and appends all that are queued to `batch`. Cancel safe.
    ///
    /// # Errors
    /// The close code, once everything queued before it has been handed out.
    pub async fn next(&mut self, _batch: &mut Vec<Frame>) -> Result<(), CloseCode> {
        unimplemented!()
    }
}
