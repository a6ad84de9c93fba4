//! The proof of identity, on every transport: tokens and tickets are checked here, and those that are refused are
//! counted by reason and logged with the reason, never with the token.

use std::net::IpAddr;

use hubbub_node::Identity;
use hubbub_protocol::CloseCode;

use crate::auth::TokenError;
use crate::state::GatewayState;

/// The reason of a client that has no token where one is needed.
pub(crate) const MISSING: &str = "missing";
/// The reason of a ticket that is none, was used or has expired.
pub(crate) const TICKET: &str = "ticket";
/// The reason of a token that an operator has revoked.
pub(crate) const REVOKED: &str = "revoked";

/// The transport that a token came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    WebSocket,
    SocketIo,
    EventStream,
    Rest,
}

impl Transport {
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

/// The client that presents a token, and its transport.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenSource {
    pub(crate) client: IpAddr,
    pub(crate) transport: Transport,
}

impl GatewayState {
    /// The identity that the token proves.
    pub(crate) async fn verify(
        &self,
        token_source: TokenSource,
        token: &str,
    ) -> Result<Identity, TokenError> {
        let proved = self.auth.verify(token).await;
        proved.inspect_err(|error| self.refused_token(token_source, error.reason()))
    }

    /// Counts and logs a refused token. `reason` is one of few: it becomes a label.
    pub(crate) fn refused_token(&self, token_source: TokenSource, reason: &'static str) {
        let TokenSource { client, transport } = token_source;
        let door = transport.as_str();
        self.metrics.token_refused(door, reason);
        if self.lines.admits_token() {
            tracing::info!(%client, node = %self.node.id(), door, reason, "token refused");
        }
    }

    /// The same where the node refuses the identity: only a revoked token is a matter of tokens.
    pub(crate) fn refused_identity(&self, token_source: TokenSource, code: CloseCode) {
        if code == CloseCode::Revoked {
            self.refused_token(token_source, REVOKED);
        }
    }
}
