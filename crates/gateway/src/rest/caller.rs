//! Who asks: whoever the token names.

use std::future::Future;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::Method;
use axum::http::request::Parts;
use hubbub_node::{CommandError, Exclusion, Identity, Pace};

use crate::auth::{TokenError, bearer};
use crate::config::AuthMode;
use crate::error::ApiError;
use crate::gate::{Gate, Peer};

/// Whoever the request's token names, within their pace.
pub(crate) struct Caller {
    pub(super) identity: Identity,
    gate: Arc<Gate>,
}

impl FromRequestParts<Arc<Gate>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, gate: &Arc<Gate>) -> Result<Self, ApiError> {
        bearer::query_without_token(&parts.uri)?;
        let is_read = matches!(parts.method, Method::GET | Method::HEAD);
        let peer = parts.extensions.get::<Peer>().ok_or(ApiError::Internal)?;
        let from_page = gate.check_origin(peer, &parts.headers)?;
        let is_ours = from_page || (is_read && bearer::is_same_origin(&parts.headers));
        let cookies = gate.origins.trusts_cookies() && is_ours;
        let token = bearer::token(&parts.headers, cookies).ok_or_else(|| missing(gate))?;
        let identity = gate
            .auth
            .verify(token)
            .map_err(|error| refused(gate, error))?;
        let client = gate.client(peer, &parts.headers);
        match gate.node.exclusion(&identity, Some(client)) {
            None => {}
            Some(Exclusion::Banned) => return Err(ApiError::Banned),
            Some(Exclusion::Revoked) => {
                let revoked = format!("this token was revoked; {}", how(gate));
                return Err(ApiError::Unauthorized(revoked));
            }
        }
        let pace = if is_read { Pace::Reads } else { Pace::Writes };
        gate.node.keep_pace(&identity, pace)?;
        Ok(Self {
            identity,
            gate: Arc::clone(gate),
        })
    }
}

impl Caller {
    /// Waits for a place among the reads of this node, and reads.
    pub(super) async fn read<T>(
        &self,
        answer: impl Future<Output = Result<T, CommandError>>,
    ) -> Result<T, ApiError> {
        let _turn = self.gate.node.turn().await?;
        Ok(answer.await?)
    }

    /// Runs a change to its end, even if the caller goes away meanwhile: what has been stored must be
    /// told to the other nodes.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, CommandError>> + Send + 'static,
    ) -> Result<T, CommandError> {
        let done = self.gate.tasks.spawn(change).await;
        done.unwrap_or_else(|error| {
            tracing::error!(%error, "a change of a room failed");
            Err(CommandError::Internal)
        })
    }
}

fn missing(gate: &Gate) -> ApiError {
    ApiError::Unauthorized(format!("send a token: {}", how(gate)))
}

fn refused(gate: &Gate, error: TokenError) -> ApiError {
    match error {
        TokenError::NotReady => ApiError::Unavailable(error.to_string()),
        TokenError::TooLong
        | TokenError::Invalid(_)
        | TokenError::Critical
        | TokenError::BadSubject(_) => ApiError::Unauthorized(format!("{error}; {}", how(gate))),
    }
}

/// How a person gets a token here.
fn how(gate: &Gate) -> &'static str {
    match gate.auth.mode() {
        AuthMode::Guest => "Authorization: Bearer TOKEN; POST /v1/guests gives one to anyone",
        AuthMode::Jwt => {
            "Authorization: Bearer TOKEN; it must be signed with the server's auth.secret, as \
             `hubbub token` does"
        }
    }
}
