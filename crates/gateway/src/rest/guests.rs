//! `POST /v1/guests`: a token for anyone, in guest mode.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hubbub_protocol::User;
use serde::{Deserialize, Serialize};

use super::body::read_json;
use crate::auth::name::check_name;
use crate::auth::{Grant, TokenError};
use crate::config::AuthMode;
use crate::error::ApiError;
use crate::openapi::shapes;
use crate::state::{GatewayState, Peer};

/// A guest's token lasts so long.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// A name needs no more.
const MAX_BODY_BYTES: usize = 4 * 1024;
const EXAMPLE: &str = r#"{"name":"Ann"}"#;

#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
struct NewGuest {
    #[schema(value_type = Option<shapes::Name>)]
    name: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct GuestToken {
    token: String,
    #[schema(value_type = shapes::User)]
    user: User,
    /// Milliseconds since 1970.
    expires: u64,
}

/// Makes a guest. An empty body, or one without a name, gets a made-up name.
#[utoipa::path(post, path = "/v1/guests", tag = "Callers", security(()), request_body = Option<NewGuest>, responses((status = 201, description = "Made.", body = GuestToken)))]
pub(crate) async fn create_guest(
    State(gateway): State<Arc<GatewayState>>,
    request: Request,
) -> Result<Response, ApiError> {
    let token = make_guest(&gateway, request).await?;
    Ok((StatusCode::CREATED, Json(token)).into_response())
}

async fn make_guest(gateway: &GatewayState, request: Request) -> Result<GuestToken, ApiError> {
    let peer = request
        .extensions()
        .get::<Peer>()
        .ok_or(ApiError::Internal)?;
    let client = gateway.client(peer, request.headers());
    if gateway.auth.mode() != AuthMode::Guest {
        return Err(ApiError::NotFound);
    }
    let wanted: Option<NewGuest> = read_json(gateway, request, MAX_BODY_BYTES, EXAMPLE).await?;
    let name = match wanted.unwrap_or_default().name {
        Some(name) => Some(check_name(&name).map_err(|e| ApiError::BadRequest(e.to_string()))?),
        None => None,
    };
    let user = gateway.new_guest(client, name)?.user;
    let grant = Grant {
        sub: user.id.clone(),
        name: Some(user.name.to_string()),
        rooms: None,
        lifetime: LIFETIME,
    };
    match gateway.auth.mint_guest(&grant) {
        Ok((token, expires)) => Ok(GuestToken {
            token,
            user,
            expires,
        }),
        Err(error @ TokenError::NotReady) => Err(ApiError::Unavailable(error.to_string())),
        Err(error) => {
            tracing::error!(%error, "a guest's token could not be made");
            Err(ApiError::Internal)
        }
    }
}
