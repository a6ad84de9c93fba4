//! The body of a request: JSON, small, in time, and reserved before it is read.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hubbub_node::{Amount, Payer, Reservation, address_key};
use serde::de::DeserializeOwned;

use crate::error::ApiError;
use crate::state::{GatewayState, Peer};

/// Bytes in memory for each byte of a body that is read and parsed.
const PARSED: usize = 4;

/// Reads a client's JSON object like `example`; an empty body is none.
pub(super) async fn read_json<T: DeserializeOwned>(
    gateway: &GatewayState,
    request: Request,
    limit: usize,
    example: &str,
) -> Result<Option<T>, ApiError> {
    let (body, _reservation) = read_reserved_json(gateway, request, limit, example).await?;
    Ok(body)
}

/// Reads as [`read_json`] does, and returns the reservation too: for bodies that are worked on for long.
pub(super) async fn read_reserved_json<T: DeserializeOwned>(
    gateway: &GatewayState,
    request: Request,
    limit: usize,
    example: &str,
) -> Result<(Option<T>, Reservation), ApiError> {
    let (payer, amount) = cost(gateway, &request, limit)?;
    let reservation = gateway.node.reserve(&payer, amount).await?;
    let body = read_free_json(gateway, request, limit, example).await?;
    Ok((body, reservation))
}

/// Reads as [`read_json`] does, from an operator, for whom nothing is reserved.
pub(crate) async fn read_free_json<T: DeserializeOwned>(
    gateway: &GatewayState,
    request: Request,
    limit: usize,
    example: &str,
) -> Result<Option<T>, ApiError> {
    let kind = check_kind(request.headers());
    let body = read(request.into_body(), limit, gateway.limits().header_timeout).await?;
    if body.is_empty() {
        return Ok(None);
    }
    kind?;
    parse(&body, example).map(Some)
}

/// Returns who pays for a body, and how much memory it takes once it is parsed. The client's address
/// pays, so a slow client holds up nobody at another address.
fn cost(
    gateway: &GatewayState,
    request: &Request,
    limit: usize,
) -> Result<(Payer, Amount), ApiError> {
    let length = request.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let bytes = length.unwrap_or(limit).min(limit);
    let peer = request.extensions().get::<Peer>();
    let peer = peer.ok_or(ApiError::Internal)?;
    let payer = Payer {
        address: Some(address_key(gateway.client(peer, request.headers()))),
        ..Payer::default()
    };
    Ok((payer, Amount::bytes(bytes.saturating_mul(PARSED))))
}

/// A body needs its type: pages of other origins can send all other types without asking.
fn check_kind(headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let kind = text(CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    let coding = text(CONTENT_ENCODING).unwrap_or("identity");
    let is_plain = headers.get(CONTENT_ENCODING).is_none() || coding == "identity";
    if kind.trim().eq_ignore_ascii_case("application/json") && is_plain {
        Ok(())
    } else {
        Err(ApiError::MediaType)
    }
}

fn parse<T: DeserializeOwned>(body: &[u8], example: &str) -> Result<T, ApiError> {
    let wrong = |why: &str| ApiError::BadRequest(format!("the body must be like {example}: {why}"));
    // A list would be taken for an object's values in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(wrong("it is no object"));
    }
    serde_json::from_slice(body).map_err(|error| wrong(&error.to_string()))
}

async fn read(body: Body, limit: usize, patience: Duration) -> Result<Bytes, ApiError> {
    let collect = Limited::new(body, limit).collect();
    match tokio::time::timeout(patience, collect).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::TooLarge(limit)),
        Ok(Err(_)) => Err(ApiError::BadRequest("the body broke off".to_owned())),
        Err(_) => Err(ApiError::Timeout),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_body_is_plain_json() {
        let check = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, value.parse().unwrap());
            }
            check_kind(&headers).is_ok()
        };
        assert!(check(&[("content-type", "application/json")]));
        assert!(check(&[(
            "content-type",
            "Application/JSON; charset=utf-8"
        )]));
        let json = ("content-type", "application/json");
        assert!(check(&[json, ("content-encoding", "identity")]));
        assert!(!check(&[json, ("content-encoding", "gzip")]));
        assert!(!check(&[json, ("content-encoding", "identity, gzip")]));
        assert!(!check(&[]) && !check(&[("content-type", "text/plain")]));
        for bad in ["nonsense", "{", "{} {}", "[]", "7", " "] {
            let parsed = parse::<Value>(bad.as_bytes(), "{}");
            assert!(matches!(parsed, Err(ApiError::BadRequest(_))), "{bad}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_small_and_comes_in_time() {
        let patience = Duration::from_secs(1);
        let body = |bytes: usize| Body::from(vec![b' '; bytes]);
        assert_eq!(read(body(100), 100, patience).await.unwrap().len(), 100);
        let large = read(body(101), 100, patience).await;
        assert!(matches!(large, Err(ApiError::TooLarge(100))));
        let never = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        let late = read(Body::from_stream(never), 100, patience).await;
        assert!(matches!(late, Err(ApiError::Timeout)));
    }
}
