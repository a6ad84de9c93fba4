//! The end of a connection, counted and logged in the same way for every transport.

use std::net::IpAddr;

use hubbub_node::Session;
use hubbub_protocol::CloseCode;
use tracing::field::display;

use crate::proof::Transport;
use crate::state::GatewayState;

/// The side that ended a connection, and its close code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The server closed it.
    Server(CloseCode),
    /// The client closed it, with this code where the transport has one.
    Client(Option<u16>),
    /// It broke.
    Network,
}

impl GatewayState {
    /// Counts the end of a connection.
    pub(crate) fn count_closed(&self, how: Closed) {
        match how {
            Closed::Server(code) => self.metrics.closed_by_server(code),
            Closed::Client(_) => self.metrics.closed_by_client(),
            Closed::Network => self.metrics.closed_abruptly(),
        }
    }

    /// Logs the end of a connection, unless there are too many lines about connections. `session`: `None`
    /// where a connection has several, or none.
    pub(crate) fn log_closed(
        &self,
        transport: Transport,
        client: IpAddr,
        session: Option<&Session>,
        how: Closed,
    ) {
        if !self.lines.admits_connection() {
            return;
        }
        let connection = session.map(|session| display(session.connection()));
        let user = session.map(|session| display(&session.user().id));
        let (by, code, reason) = match how {
            Closed::Server(code) => ("server", Some(code.as_u16()), Some(code.reason())),
            Closed::Client(code) => ("client", code, None),
            Closed::Network => ("network", None, None),
        };
        let (node, door) = (self.node.id(), transport.as_str());
        tracing::info!(connection, user, %node, %client, door, by, code, reason, "connection closed");
    }
}
