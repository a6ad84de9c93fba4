//! The caller of a request: the user of its token.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::Method;
use axum::http::request::Parts;
use hubbub_node::{
    Amount, CommandError, Exclusion, Identity, Pace, Payer, Post, Receipt, Reservation, address_key,
};

use crate::auth::{TokenError, bearer};
use crate::config::AuthMode;
use crate::error::ApiError;
use crate::proof::{MISSING, REVOKED, TokenSource, Transport};
use crate::state::{GatewayState, Peer};

/// The user of the request's token, within their limits.
pub(crate) struct Caller {
    pub(super) identity: Identity,
    payer: Payer,
    gateway: Arc<GatewayState>,
}

/// The user of the request's token, whose limits are checked when the content is known.
pub(crate) struct Sender(Caller);

impl FromRequestParts<Arc<GatewayState>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        gateway: &Arc<GatewayState>,
    ) -> Result<Self, ApiError> {
        let caller = Self::identify(parts, gateway).await?;
        let pace = if is_read(parts) {
            Pace::Reads
        } else {
            Pace::Writes
        };
        gateway.node.keep_pace(&caller.identity, pace)?;
        Ok(caller)
    }
}

impl FromRequestParts<Arc<GatewayState>> for Sender {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        gateway: &Arc<GatewayState>,
    ) -> Result<Self, ApiError> {
        Caller::identify(parts, gateway).await.map(Self)
    }
}

fn is_read(parts: &Parts) -> bool {
    matches!(parts.method, Method::GET | Method::HEAD)
}

impl Sender {
    pub(super) fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// The address that pays for what is sent.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.0.address()
    }

    /// Stores something, even if the caller goes away meanwhile.
    pub(super) async fn post(
        &self,
        gateway: &GatewayState,
        mut post: Post,
    ) -> Result<Receipt, CommandError> {
        post.address = self.address();
        let (node, identity) = (Arc::clone(&gateway.node), self.0.identity.clone());
        self.change(async move { node.post(&identity, post).await })
            .await
    }

    /// As [`Caller::change`].
    pub(super) async fn change<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, CommandError>> + Send + 'static,
    ) -> Result<T, CommandError> {
        self.0.change(change).await
    }
}

impl Caller {
    async fn identify(parts: &Parts, gateway: &Arc<GatewayState>) -> Result<Self, ApiError> {
        bearer::query_without_token(&parts.uri)?;
        let peer = parts.extensions.get::<Peer>().ok_or(ApiError::Internal)?;
        let from_page = gateway.check_origin(peer, &parts.headers)?;
        let is_ours = from_page || (is_read(parts) && bearer::is_same_origin(&parts.headers));
        let client = gateway.client(peer, &parts.headers);
        let transport = Transport::Rest;
        let token_source = TokenSource { client, transport };
        let token = gateway.token(peer, &parts.headers, is_ours);
        let token = token.ok_or_else(|| missing(gateway, token_source))?;
        let identity = verify(gateway, token_source, token).await?;
        match gateway.node.exclusion(&identity, None) {
            None => {}
            Some(Exclusion::Banned) => return Err(ApiError::Banned),
            Some(Exclusion::Revoked) => {
                gateway.refused_token(token_source, REVOKED);
                let revoked = format!("this token was revoked: {}", how(gateway));
                return Err(ApiError::Unauthorized(revoked));
            }
        }
        let payer = Payer {
            connection: None,
            user: Some(identity.user.id.clone()),
            address: Some(address_key(client)),
        };
        Ok(Self {
            identity,
            payer,
            gateway: Arc::clone(gateway),
        })
    }

    /// The address that pays for the request.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.payer.address
    }

    /// Reserves a read before it is done. [`crate::paid`] makes the answer.
    pub(super) async fn reserve(&self, amount: Amount) -> Result<Reservation, ApiError> {
        Ok(self.gateway.node.reserve(&self.payer, amount).await?)
    }

    /// Reads something small.
    pub(super) async fn read<T>(
        &self,
        answer: impl Future<Output = Result<T, CommandError>>,
    ) -> Result<T, ApiError> {
        let _reservation = self.reserve(Amount::read(0)).await?;
        Ok(answer.await?)
    }

    /// Runs a change to its end, even if the caller goes away meanwhile: what has been stored must be
    /// told to the other nodes.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, CommandError>> + Send + 'static,
    ) -> Result<T, CommandError> {
        let done = self.gateway.tasks.spawn(change).await;
        done.unwrap_or_else(|error| {
            tracing::error!(%error, "a change of a room failed");
            Err(CommandError::Internal)
        })
    }
}

/// Returns the identity that the token proves.
pub(crate) async fn verify(
    gateway: &GatewayState,
    token_source: TokenSource,
    token: &str,
) -> Result<Identity, ApiError> {
    let identity = gateway.verify(token_source, token).await;
    identity.map_err(|error| refused(gateway, error))
}

/// There is no token.
pub(crate) fn missing(gateway: &GatewayState, token_source: TokenSource) -> ApiError {
    gateway.refused_token(token_source, MISSING);
    ApiError::Unauthorized(format!("there is no token: {}", how(gateway)))
}

fn refused(gateway: &GatewayState, error: TokenError) -> ApiError {
    if error.is_temporary() {
        ApiError::Unavailable(error.to_string())
    } else {
        ApiError::Unauthorized(format!("{error}: {}", how(gateway)))
    }
}

/// How a person gets a token here.
fn how(gateway: &GatewayState) -> &'static str {
    match gateway.auth.mode() {
        AuthMode::Guest => {
            "send one that POST /v1/guests gives to anyone, as the header 'Authorization: Bearer <token>'"
        }
        AuthMode::Jwt => {
            "send one that is signed with the server's key (auth.secret, auth.public_key or \
             auth.jwks_url), as `hubbub token` does, as the header 'Authorization: Bearer <token>'"
        }
    }
}
