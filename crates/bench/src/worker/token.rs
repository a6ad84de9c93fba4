//! A token for each member, signed as the cluster's own.

use std::time::{Duration, SystemTime};

use jsonwebtoken::{EncodingKey, Header, encode};
use serde::Serialize;

/// Longer than any bench.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    name: &'a str,
    exp: u64,
}

/// An HS256 token for `user`.
pub(crate) fn mint(secret: &str, user: &str) -> Result<String, String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let claims = Claims {
        sub: user,
        name: user,
        exp: (now.unwrap_or_default() + LIFETIME).as_secs(),
    };
    let key = EncodingKey::from_secret(secret.as_bytes());
    encode(&Header::default(), &claims, &key).map_err(|error| error.to_string())
}
