//! `POST /v1/guests`: a token for anyone, in guest mode.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONTENT_TYPE, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hubbub_protocol::User;
use serde::{Deserialize, Serialize};

use crate::auth::guest::{check_name, new_guest};
use crate::auth::{Grant, TokenError};
use crate::config::AuthMode;
use crate::error::ApiError;
use crate::gate::{Gate, Peer};

/// A guest's token lasts so long.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// A name needs no more.
const MAX_BODY_BYTES: usize = 4 * 1024;

#[derive(Debug, Default, Deserialize)]
struct NewGuest {
    name: Option<String>,
}

#[derive(Debug, Serialize)]
struct GuestToken {
    token: String,
    user: User,
    /// Milliseconds since 1970.
    expires: u64,
}

/// Makes a guest. An empty body, or one without a name, gets a made-up name.
pub(crate) async fn create_guest(
    State(gate): State<Arc<Gate>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    let cors = match cors(&gate, &peer, request.headers()) {
        Ok(cors) => cors,
        Err(error) => return error.into_response(),
    };
    let made = make_guest(&gate, request).await;
    let created = made.map(|token| {
        (
            StatusCode::CREATED,
            [(CACHE_CONTROL, "no-store")],
            Json(token),
        )
            .into_response()
    });
    (cors, created.unwrap_or_else(IntoResponse::into_response)).into_response()
}

/// Tells the browser of an allowed page that it may ask.
pub(crate) async fn preflight_guest(
    State(gate): State<Arc<Gate>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut answer = cors(&gate, &peer, &headers)?;
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_METHODS, "POST"),
        (ACCESS_CONTROL_ALLOW_HEADERS, "content-type, authorization"),
        (ACCESS_CONTROL_MAX_AGE, "600"),
    ] {
        answer.insert(name, HeaderValue::from_static(value));
    }
    Ok((StatusCode::NO_CONTENT, answer).into_response())
}

/// Lets an allowed page read the answer; cookies never count across origins.
fn cors(gate: &Gate, peer: &Peer, headers: &HeaderMap) -> Result<HeaderMap, ApiError> {
    let mut answer = HeaderMap::new();
    answer.insert(VARY, HeaderValue::from_static("origin"));
    if gate.check_origin(peer, headers)?
        && let Some(origin) = headers.get(ORIGIN)
    {
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
    Ok(answer)
}

async fn make_guest(gate: &Gate, request: Request) -> Result<GuestToken, ApiError> {
    if gate.auth.mode() != AuthMode::Guest {
        return Err(ApiError::NotFound);
    }
    let is_json = is_json(request.headers());
    let body = read_body(request.into_body(), gate.limits().header_timeout).await?;
    let name = match parse(&body, is_json)?.name {
        Some(name) => Some(check_name(&name).map_err(|e| ApiError::BadRequest(e.to_string()))?),
        None => None,
    };
    let user = new_guest(name).user;
    let grant = Grant {
        sub: user.id.clone(),
        name: Some(user.name.clone()),
        rooms: None,
        lifetime: LIFETIME,
    };
    match gate.auth.mint(grant) {
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

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    kind.split(';')
        .next()
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// A body needs its type: pages of other origins can send all other types without asking.
fn parse(body: &[u8], is_json: bool) -> Result<NewGuest, ApiError> {
    if body.is_empty() {
        return Ok(NewGuest::default());
    }
    if !is_json {
        return Err(ApiError::MediaType);
    }
    serde_json::from_slice(body).map_err(|error| {
        ApiError::BadRequest(format!(
            "the body must be like {{\"name\":\"Ann\"}}: {error}"
        ))
    })
}

async fn read_body(body: Body, patience: Duration) -> Result<Bytes, ApiError> {
    let collect = Limited::new(body, MAX_BODY_BYTES).collect();
    match tokio::time::timeout(patience, collect).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::TooLarge(MAX_BODY_BYTES)),
        Ok(Err(_)) => Err(ApiError::BadRequest("the body broke off".to_owned())),
        Err(_) => Err(ApiError::Timeout),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_optional_and_a_body_must_be_json() {
        assert_eq!(parse(b"", false).unwrap().name, None);
        assert_eq!(parse(b"{}", true).unwrap().name, None);
        assert_eq!(parse(br#"{"name":null}"#, true).unwrap().name, None);
        assert_eq!(
            parse(br#"{"name":"Ann","x":1}"#, true)
                .unwrap()
                .name
                .as_deref(),
            Some("Ann")
        );
        assert!(matches!(parse(b"{}", false), Err(ApiError::MediaType)));
        for bad in ["[]x", "nonsense", r#"{"name":7}"#, r#"{"name""#] {
            assert!(
                matches!(parse(bad.as_bytes(), true), Err(ApiError::BadRequest(_))),
                "{bad}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_small_and_comes_in_time() {
        let patience = Duration::from_secs(1);
        let body = Body::from(vec![b' '; MAX_BODY_BYTES]);
        assert_eq!(
            read_body(body, patience).await.unwrap().len(),
            MAX_BODY_BYTES
        );
        let body = Body::from(vec![b' '; MAX_BODY_BYTES + 1]);
        assert!(matches!(
            read_body(body, patience).await,
            Err(ApiError::TooLarge(_))
        ));
        let never = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        let body = Body::from_stream(never);
        assert!(matches!(
            read_body(body, patience).await,
            Err(ApiError::Timeout)
        ));
    }
}
