//! The proof of identity, on every door: tokens and tickets are checked here, and those that are refused are
//! counted by reason and logged with the reason, never with the token.

use std::net::IpAddr;

use hubbub_node::Identity;
use hubbub_protocol::CloseCode;

use crate::auth::TokenError;
use crate::gate::Gate;

/// The reason of a client that brings no token where one is needed.
pub(crate) const MISSING: &str = "missing";
/// The reason of a ticket that is none, was used or has expired.
pub(crate) const TICKET: &str = "ticket";
/// The reason of a token that an operator has revoked.
pub(crate) const REVOKED: &str = "revoked";

/// The door that a token came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    WebSocket,
    SocketIo,
    EventStream,
    Rest,
}

impl Door {
    /// As it stands in logs and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::SocketIo => "socketio",
            Self::EventStream => "sse",
            Self::Rest => "rest",
        }
    }
}

/// The client that brings a token, and its transport.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bringer {
    pub(crate) client: IpAddr,
    pub(crate) door: Door,
}

impl Gate {
    /// The identity that the token proves.
    pub(crate) async fn verify(
        &self,
        bringer: Bringer,
        token: &str,
    ) -> Result<Identity, TokenError> {
        let proved = self.auth.verify(token).await;
        proved.inspect_err(|error| self.refused_token(bringer, error.reason()))
    }

    /// Counts and logs a refused token. `reason` is one of few: it becomes a label.
    pub(crate) fn refused_token(&self, bringer: Bringer, reason: &'static str) {
        let Bringer { client, door } = bringer;
        let door = door.as_str();
        self.metrics.token_refused(door, reason);
        if self.lines.admits_token() {
            tracing::info!(%client, node = %self.node.id(), door, reason, "token refused");
        }
    }

    /// The same where the node refuses the identity: only a revoked token is a matter of tokens.
    pub(crate) fn refused_identity(&self, bringer: Bringer, code: CloseCode) {
        if code == CloseCode::Revoked {
            self.refused_token(bringer, REVOKED);
        }
    }
}
