//! The members' access to a cluster: its protocol, and the proof of their identity.

use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde::{Deserialize, Serialize};

/// Longer than any bench.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The members' access to a cluster.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Access {
    pub(crate) protocol: Protocol,
    pub(crate) credentials: Credentials,
}

/// How the members prove their identity.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) enum Credentials {
    /// The members are guests, if the cluster accepts guests.
    #[default]
    Guest,
    /// All members use this token.
    Token(String),
    /// Each member signs its own token with this HS256 secret.
    Secret(String),
}

/// The protocol of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
pub(crate) enum Protocol {
    /// hubbub.v1
    #[default]
    Hubbub,
    /// Socket.IO 5 over a WebSocket, with events named as Hubbub's own: `join`, `send`, `message`
    Socketio,
    /// Nchan's pubsub WebSocket at /pubsub/ROOM
    Nchan,
    /// Pusher's client events on private channels; the key is `app-key`, the secret is `--secret`
    Pusher,
}

impl Protocol {
    /// The name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hubbub => "hubbub",
            Self::Socketio => "socketio",
            Self::Nchan => "nchan",
            Self::Pusher => "pusher",
        }
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    name: &'a str,
    exp: u64,
}

impl Credentials {
    /// The token of `user`; `None` for a guest.
    ///
    /// # Errors
    /// The token could not be signed.
    pub(crate) fn token(&self, user: &str) -> Result<Option<String>, String> {
        match self {
            Self::Guest => Ok(None),
            Self::Token(token) => Ok(Some(token.clone())),
            Self::Secret(secret) => mint(secret, user).map(Some),
        }
    }
}

/// An HS256 token for `user`.
fn mint(secret: &str, user: &str) -> Result<String, String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let claims = Claims {
        sub: user,
        name: user,
        exp: (now.unwrap_or_default() + LIFETIME).as_secs(),
    };
    let key = EncodingKey::from_secret(secret.as_bytes());
    encode(&Header::default(), &claims, &key).map_err(|error| error.to_string())
}
