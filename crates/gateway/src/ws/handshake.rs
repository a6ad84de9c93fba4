//! The upgrade: which requests become WebSocket connections, and with which token.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use axum::response::Response;
use bytes::Bytes;
use hubbub_protocol::{BEARER_PROTOCOL_PREFIX, NATIVE_PROTOCOL};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::socket::Socket;
use super::{Arrival, serve};
use crate::auth::bearer;
use crate::error::ApiError;
use crate::hijack::Hijackable;
use crate::pipe::Pipe;
use crate::state::{GatewayState, Peer};
use crate::tcp_timeout;

/// `GET /v1/ws`. Origin, address and capacity are refused here; tokens are looked at after the
/// upgrade, since a browser cannot read why a handshake failed.
pub(crate) async fn upgrade_socket(
    State(gateway): State<Arc<GatewayState>>,
    Extension(peer): Extension<Peer>,
    mut request: Request,
) -> Result<Response, ApiError> {
    let headers = request.headers();
    let accept = check_request(request.method(), request.version(), headers)?;
    let ticket = bearer::ticket(request.uri())?;
    let from_page = gateway.check_origin(&peer, headers)?;
    if gateway.phase.is_draining() {
        gateway.metrics.rejected("draining");
        return Err(ApiError::Busy("it is being shut down"));
    }
    let client = gateway.client(&peer, headers);
    let from_page = from_page || bearer::is_same_origin(headers);
    let token = find_token(&gateway, &peer, headers, from_page);
    let slot = gateway.take_place(&peer, client)?;
    let tasks = gateway.tasks.clone();
    let arrival = Box::new(Arrival {
        gateway,
        client,
        token,
        ticket,
        began: Instant::now(),
        _permit: peer.permit,
        _slot: slot,
    });
    let protocol = offers(headers, NATIVE_PROTOCOL);
    let pending = hyper::upgrade::on(&mut request);
    tasks.spawn(take_over(pending, arrival));
    Ok(switching_protocols(&accept, protocol))
}

async fn take_over(pending: OnUpgrade, arrival: Box<Arrival>) {
    let raw = Box::pin(raw_stream(pending)).await;
    let socket = match raw {
        Ok((stream, early)) => Box::new(Socket::new(stream, &early, arrival.gateway.limits())),
        Err(error) => {
            tracing::debug!(%error, client = %arrival.client, "upgrade failed");
            return;
        }
    };
    serve(arrival, socket).await;
}

/// The pipe itself, without hyper's buffers around it, and what they held.
pub(crate) async fn raw_stream(pending: OnUpgrade) -> Result<(Pipe, Bytes), hyper::Error> {
    let upgraded = pending.await?;
    let (pipe, early) = match upgraded.downcast::<TokioIo<Hijackable>>() {
        Ok(parts) => {
            let pipe = parts.io.into_inner().into_inner();
            let pipe = pipe.expect("who upgrades does not claim the stream");
            (pipe, parts.read_buf)
        }
        // A caller with a listener of its own, such as the conformance example.
        Err(upgraded) => {
            let parts = upgraded
                .downcast::<TokioIo<TcpStream>>()
                .expect("streams are served as Hijackable or as bare TCP");
            (Pipe::Plain(parts.io.into_inner()), parts.read_buf)
        }
    };
    // Its pings tell of a peer that has vanished, and its write loop of one that takes nothing.
    tcp_timeout::set(pipe.tcp(), None);
    Ok((pipe, early))
}

pub(crate) fn switching_protocols(accept: &str, protocol: bool) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::from_str(accept).expect("base64 is a valid header value");
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if protocol {
        headers.insert(
            SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(NATIVE_PROTOCOL),
        );
    }
    response
}

/// Checks that this is a WebSocket handshake and gives the `Sec-WebSocket-Accept` for it.
pub(crate) fn check_request(
    method: &Method,
    version: Version,
    headers: &HeaderMap,
) -> Result<String, ApiError> {
    if method != Method::GET {
        return Err(ApiError::Method("GET"));
    }
    let lists = |name, wanted| words(headers, name).any(|word| word.eq_ignore_ascii_case(wanted));
    if !lists(CONNECTION, "upgrade") || !lists(UPGRADE, "websocket") {
        return Err(bad_request(
            "this is a WebSocket endpoint: send Connection: Upgrade and Upgrade: websocket",
        ));
    }
    if version < Version::HTTP_11 {
        return Err(bad_request("a handshake is HTTP/1.1"));
    }
    if headers.contains_key(TRANSFER_ENCODING)
        || headers
            .get(CONTENT_LENGTH)
            .is_some_and(|length| length != "0")
    {
        return Err(bad_request("a handshake has no body"));
    }
    if headers
        .get(SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        return Err(ApiError::WebSocketVersion);
    }
    match headers.get(SEC_WEBSOCKET_KEY) {
        Some(key) if is_key(key.as_bytes()) => Ok(derive_accept_key(key.as_bytes())),
        Some(_) => Err(bad_request("Sec-WebSocket-Key must be 16 bytes in base64")),
        None => Err(bad_request("Sec-WebSocket-Key is missing")),
    }
}

/// 16 bytes in base64 are 22 letters and `==`.
fn is_key(key: &[u8]) -> bool {
    let letter = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    key.len() == 24 && key.ends_with(b"==") && key[..22].iter().all(letter)
}

fn bad_request(detail: &str) -> ApiError {
    ApiError::BadRequest(detail.to_owned())
}

/// The words of a list header, over all its lines.
fn words(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

fn offers(headers: &HeaderMap, protocol: &str) -> bool {
    words(headers, SEC_WEBSOCKET_PROTOCOL).any(|offered| offered == protocol)
}

/// The first token found: `Authorization`, then the cookie where it may be believed, then the
/// sub-protocol.
pub(crate) fn find_token(
    gateway: &GatewayState,
    peer: &Peer,
    headers: &HeaderMap,
    from_page: bool,
) -> Option<String> {
    let token = gateway.token(peer, headers, from_page);
    token.or_else(|| offered_token(headers)).map(str::to_owned)
}

fn offered_token(headers: &HeaderMap) -> Option<&str> {
    words(headers, SEC_WEBSOCKET_PROTOCOL)
        .find_map(|offered| offered.strip_prefix(BEARER_PROTOCOL_PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    fn handshake(change: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = headers(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ]);
        for (name, value) in change {
            map.insert(*name, value.parse().unwrap());
        }
        map
    }

    fn status(method: Method, headers: &HeaderMap) -> u16 {
        use axum::response::IntoResponse;
        check_request(&method, Version::HTTP_11, headers)
            .unwrap_err()
            .into_response()
            .status()
            .as_u16()
    }

    #[test]
    fn a_handshake_is_accepted_with_the_key_of_the_rfc() {
        let accept = check_request(&Method::GET, Version::HTTP_11, &handshake(&[])).unwrap();
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn anything_else_is_refused_with_its_status() {
        assert_eq!(status(Method::POST, &handshake(&[])), 405);
        assert_eq!(
            status(Method::GET, &handshake(&[("connection", "close")])),
            400
        );
        assert_eq!(status(Method::GET, &handshake(&[("upgrade", "h2c")])), 400);
        assert_eq!(
            status(Method::GET, &handshake(&[("sec-websocket-version", "8")])),
            426
        );
        assert_eq!(
            status(Method::GET, &handshake(&[("sec-websocket-key", "short")])),
            400
        );
        let mut no_key = handshake(&[]);
        no_key.remove("sec-websocket-key");
        assert_eq!(status(Method::GET, &no_key), 400);
        assert_eq!(status(Method::GET, &HeaderMap::new()), 400);
        assert!(check_request(&Method::GET, Version::HTTP_10, &handshake(&[])).is_err());
    }

    #[test]
    fn a_token_is_found_in_this_order() {
        let all = headers(&[
            ("authorization", "bearer a.a.a"),
            ("cookie", "x=1; hubbub_token=\"b.b.b\""),
            ("sec-websocket-protocol", "hubbub.v1, hubbub.bearer.c.c.c"),
        ]);
        let find = |headers: &HeaderMap, name: Option<&str>| {
            let token = bearer::token(headers, name).or_else(|| offered_token(headers));
            token.map(str::to_owned)
        };
        let (mut delay, name) = (all.clone(), Some("hubbub_token"));
        assert_eq!(find(&delay, name).as_deref(), Some("a.a.a"));
        delay.insert("authorization", "Basic YTpi".parse().unwrap());
        assert_eq!(find(&delay, name).as_deref(), Some("b.b.b"));
        for other in [None, Some("__Host-hubbub_token")] {
            assert_eq!(find(&delay, other).as_deref(), Some("c.c.c"), "{other:?}");
        }
        assert!(offers(&all, NATIVE_PROTOCOL) && !offers(&all, "hubbub.v2"));
        assert_eq!(find(&HeaderMap::new(), name), None);
    }

    #[test]
    fn a_token_in_the_query_string_is_refused_with_the_reason() {
        let ticket = |query: &str| bearer::ticket(&format!("/v1/ws?{query}").parse().unwrap());
        for query in [
            "token=a",
            "x=1&access_token=a",
            "JWT=a",
            "%74oken=a",
            "x=eyJ0.eyJ1.s",
        ] {
            assert!(
                matches!(ticket(query), Err(ApiError::BadRequest(_))),
                "{query}"
            );
        }
        assert_eq!(ticket("tokens=1&x").unwrap(), None);
        assert_eq!(ticket("x=1&ticket=abc").unwrap().as_deref(), Some("abc"));
    }
}
