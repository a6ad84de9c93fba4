//! A token for each member: the given one, or one signed with the cluster's secret.

use std::time::{Duration, SystemTime};

use jsonwebtoken::{EncodingKey, Header, encode};
use serde::Serialize;

use crate::plan::Credentials;

/// Longer than any bench.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

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
