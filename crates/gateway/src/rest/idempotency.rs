//! `Idempotency-Key`: the nonce of who sends none in the body.

use axum::extract::FromRequestParts;
use axum::http::HeaderName;
use axum::http::request::Parts;
use hubbub_protocol::Nonce;
use sha2::{Digest, Sha256};

use crate::error::ApiError;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The header's value, if there is one.
#[derive(Debug)]
pub(crate) struct IdempotencyKey(Option<Nonce>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let Some(value) = parts.headers.get(IDEMPOTENCY_KEY) else {
            return Ok(Self(None));
        };
        let text = value.to_str().unwrap_or_default().trim();
        // The draft of the IETF puts it in quotes, most programs do not.
        let quoted = text
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'));
        nonce(quoted.unwrap_or(text)).map(|nonce| Self(Some(nonce)))
    }
}

impl IdempotencyKey {
    /// For the one thing that the request stores.
    pub(super) fn nonce(self) -> Option<Nonce> {
        self.0
    }

    /// For one of several things.
    pub(super) fn nonce_of(&self, index: usize) -> Option<Nonce> {
        let place = format!("{}:{index}", self.0.as_ref()?);
        let nonce = Nonce::new(&place).unwrap_or_else(|_| digest(&place));
        Some(nonce)
    }
}

/// A key that leaves no room for the place still is one.
fn digest(place: &str) -> Nonce {
    let digest = Sha256::digest(place);
    let digits = digest.iter().map(|byte| format!("{byte:02x}"));
    Nonce::new(&digits.collect::<String>()).expect("64 digits are a valid nonce")
}

fn nonce(text: &str) -> Result<Nonce, ApiError> {
    let wrong = |error| ApiError::BadRequest(format!("Idempotency-Key: {error}"));
    Nonce::new(text).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_any_length_serves_a_batch() {
        let of = |key: &str, index| {
            let key = IdempotencyKey(Some(Nonce::new(key).unwrap()));
            key.nonce_of(index).unwrap().to_string()
        };
        assert_eq!(of("order-17", 99), "order-17:99");
        let long = "k".repeat(64);
        assert_eq!(of(&long, 1), of(&long, 1));
        assert_ne!(of(&long, 1), of(&long, 2));
        assert_ne!(of(&long, 1), of(&"l".repeat(64), 1));
        assert!(IdempotencyKey(None).nonce_of(0).is_none());
    }
}
