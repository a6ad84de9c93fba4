//! The client's errors.

use std::time::Duration;

/// The reason why a [`ClientConfig`](crate::ClientConfig) can never work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The list of URLs is empty.
    #[error("at least one URL is needed")]
    NoUrl,
    /// One of the URLs cannot be used.
    #[error("{url:?} cannot be used: {reason}")]
    BadUrl {
        /// The URL as it was given.
        url: String,
        /// The fault.
        reason: String,
    },
    /// The system trusts no certificate authority, and no other was given.
    #[error("this system has no certificate authorities: set ClientConfig::tls")]
    NoAuthorities,
    /// The token cannot be sent in a header.
    #[error("the token has characters that a token cannot have")]
    BadToken,
}

/// The server refused a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// One of the protocol's stable error codes.
    pub code: String,
    /// The text, for people.
    pub message: String,
    /// The pause before another try.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// Whether the same request may succeed later without a change.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self.code.as_str(), "unavailable" | "unknown")
    }
}

/// The reason why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The server refused it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The request timed out. A send may have been stored, so another try is safe only with the same
    /// nonce.
    #[error("no answer in time")]
    TimedOut,
    /// The client was closed, by the application or by a close code 45xx.
    #[error("the client is closed")]
    Closed,
}

impl RequestError {
    /// The protocol's error code, if the server sent one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(refusal) => Some(&refusal.code),
            Self::TimedOut | Self::Closed => None,
        }
    }
}
