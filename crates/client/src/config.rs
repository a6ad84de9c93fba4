//! The settings of a client.

use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls;

/// The identity of a client.
#[derive(Clone)]
pub enum Credentials {
    /// The client requests a guest token once (`POST /v1/guests`) and keeps it over reconnects, so that
    /// retried sends have the same sender.
    Guest {
        /// The guest's name. `None` lets the server make up a name.
        name: Option<String>,
    },
    /// A JWT, sent as `Authorization: Bearer`.
    Token(String),
}

/// Shows the kind of credentials without the token.
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
    /// Only events after the join.
    Now,
    /// The newest `n` events, and all later ones.
    Recent(usize),
    /// Everything after a position that an earlier run has saved.
    Since(hubbub_protocol::command::Since),
}

/// The settings of a [`Client`](crate::Client). `new` sets defaults for all fields but the URLs.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// The URLs of nodes or balancers: `http://`, `https://`, `ws://`, `wss://` or without a scheme, with
    /// or without `/v1/ws`. The client begins with the first one. Each failure moves on to the next.
    pub urls: Vec<String>,
    /// The identity. By default a guest.
    pub credentials: Credentials,
    /// The TLS settings for `https` and `wss`. `None` trusts the system's certificate authorities.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// The most events that wait for the application. If the queue is full, the socket is not read.
    pub event_capacity: usize,
    /// The most sends without a reply. Further calls of `send` wait.
    pub outbox: usize,
    /// The time-out of a send, reconnects included.
    pub send_timeout: Duration,
    /// The time-out of any other request, reconnects included.
    pub request_timeout: Duration,
    /// The time-out from the TCP connect to `welcome`.
    pub connect_timeout: Duration,
    /// The longest wait before the first reconnect. It doubles with each further one. The wait is random.
    pub backoff_base: Duration,
    /// The upper bound of that wait, unless the server asks for a longer one.
    pub backoff_cap: Duration,
    /// A node that has not replied to a request for this time is pinged.
    pub probe_after: Duration,
    /// If a node has not replied to a request for this time, the client moves to the next node.
    pub move_after: Duration,
    /// A connection that has lived for this time resets the back-off.
    pub stable_after: Duration,
}

impl ClientConfig {
    /// The settings of a guest's client of these nodes.
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

    /// Returns the same settings with a token.
    #[must_use]
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        self.credentials = Credentials::Token(token.into());
        self
    }

    /// Returns the same settings for a guest with a name.
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
