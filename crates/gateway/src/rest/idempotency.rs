//! `Idempotency-Key`: the nonce of who sends none in the body.

use axum::extract::FromRequestParts;
use axum::http::HeaderName;
use axum::http::request::Parts;
use hubbub_protocol::Nonce;

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
    pub(super) fn nonce_of(&self, index: usize) -> Result<Option<Nonce>, ApiError> {
        let key = self.0.as_ref();
        key.map(|key| nonce(&format!("{key}:{index}"))).transpose()
    }
}

fn nonce(text: &str) -> Result<Nonce, ApiError> {
    let wrong = |error| ApiError::BadRequest(format!("Idempotency-Key: {error}"));
    Nonce::new(text).map_err(wrong)
}
