//! The client's errors, and who must act on each.

use std::time::Duration;

/// A [`ClientConfig`](crate::ClientConfig) that can never work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// There is nowhere to connect to.
    #[error("at least one URL is needed")]
    NoUrl,
    /// One of the URLs.
    #[error("{url:?} cannot be used: {reason}")]
    BadUrl {
        /// As given.
        url: String,
        /// The fault.
        reason: String,
    },
    /// The system trusts no certificate authority, and no other was given.
    #[error("this system knows no certificate authorities: see ClientConfig::tls")]
    NoAuthorities,
    /// A token that cannot stand in a header.
    #[error("the token has characters that no token has")]
    BadToken,
}

/// The server's answer that it will not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// One of the protocol's stable error codes.
    pub code: String,
    /// For people.
    pub message: String,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// Whether the same request may go through later without any change.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self.code.as_str(), "unavailable" | "unknown")
    }
}

/// Why a request has no good answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The server said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No answer in time. A send was perhaps stored: only the same nonce makes another try safe.
    #[error("no answer in time")]
    TimedOut,
    /// The client was closed, by its user or by a close code 45xx.
    #[error("the client is closed")]
    Closed,
}

impl RequestError {
    /// The protocol's error code, where the server gave one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(refusal) => Some(&refusal.code),
            Self::TimedOut | Self::Closed => None,
        }
    }
}
