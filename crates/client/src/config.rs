//! The settings of a client.

use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls;

/// The identity of a client.
#[derive(Clone)]
pub enum Credentials {
    /// Asks a node for a guest token once (`POST /v1/guests`) and keeps it over reconnects, so
    /// that retried sends stay the same sender's.
    Guest {
        /// `None`: the server makes up a name.
        name: Option<String>,
    },
    /// A JWT, sent as `Authorization: Bearer`.
    Token(String),
}

/// Without the token.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Guest { name } => f.debug_struct("Guest").field("name", name).finish(),
            Self::Token(_) => f.write_str("Token(…)"),
        }
    }
}

/// The events of a first join. Later joins by the client itself always resume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// Only what comes from now on.
    Now,
    /// The newest `n` events first.
    Recent(usize),
    /// Everything after a position remembered from an earlier run.
    Since(hubbub_protocol::command::Since),
}

/// Settings of a [`Client`](crate::Client); the fields not named in `new` have good defaults.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Nodes or balancers, `http://`, `https://`, `ws://`, `wss://` or without a scheme; with or
    /// without `/v1/ws`.
    /// The first is tried first, and each failure moves on to the next.
    pub urls: Vec<String>,
    /// The identity; a guest by default.
    pub credentials: Credentials,
    /// The authorities for URLs with `https` or `wss`; `None`: those of the system.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// Events that wait for the reader; beyond, the socket is not read.
    pub event_capacity: usize,
    /// Unanswered sends; beyond, `send` waits before it begins.
    pub outbox: usize,
    /// How long a send is tried, over reconnects too.
    pub send_timeout: Duration,
    /// How long any other request waits for its answer, over reconnects too.
    pub request_timeout: Duration,
    /// From the TCP connect to `welcome`.
    pub connect_timeout: Duration,
    /// The first reconnect waits from 0 to this, the next up to twice that.
    pub backoff_base: Duration,
    /// No reconnect waits longer, unless the server asks for it.
    pub backoff_cap: Duration,
    /// A node that has answered nothing for so long, though something was asked, is pinged.
    pub probe_after: Duration,
    /// A node that has answered nothing for so long, though something was asked, is left for the next.
    pub move_after: Duration,
    /// A connection that has lived so long starts the back-off anew.
    pub stable_after: Duration,
}

impl ClientConfig {
    /// A guest's client of these nodes.
    pub fn new<U: Into<String>>(urls: impl IntoIterator<Item = U>) -> Self {
        Self {
            urls: urls.into_iter().map(Into::into).collect(),
            credentials: Credentials::Guest { name: None },
            tls: None,
            event_capacity: 1024,
            outbox: 100,
            send_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            backoff_base: Duration::from_millis(500),
            backoff_cap: Duration::from_secs(20),
            probe_after: Duration::from_secs(5),
            move_after: Duration::from_secs(10),
            stable_after: Duration::from_secs(30),
        }
    }

    /// The same with a token.
    #[must_use]
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        self.credentials = Credentials::Token(token.into());
        self
    }

    /// The same as a guest with a name.
    #[must_use]
    pub fn with_guest_name(mut self, name: impl Into<String>) -> Self {
        self.credentials = Credentials::Guest {
            name: Some(name.into()),
        };
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_printed() {
        let config = ClientConfig::new(["127.0.0.1:3000"]).with_token("secret-token");
        assert!(!format!("{config:?}").contains("secret-token"));
    }
}
