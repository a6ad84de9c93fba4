//! The whole API on a page.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::Version;
use axum::http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};

use crate::assets::{Assets, get_asset};
use crate::error::ApiError;
use crate::gate::Gate;
use crate::ops::{OpsState, get_livez, get_metrics, get_readyz};
use crate::rest::guests::{create_guest, preflight_guest};
use crate::socketio::{ChatDoor, ClientFiles, Engine, get_client};
use crate::ws::handshake::upgrade_socket;

/// The longest path and query.
const MAX_URI_BYTES: usize = 8 * 1024;

/// The door for Socket.IO clients.
pub(crate) struct SocketIo {
    pub(crate) engine: Arc<Engine<ChatDoor>>,
    pub(crate) files: Arc<ClientFiles>,
}

/// The clients' port.
pub(crate) fn client_router(gate: Arc<Gate>, assets: Assets, socketio: Option<SocketIo>) -> Router {
    let files = any(get_asset).with_state(Arc::new(assets));
    Router::new()
        .route("/v1/ws", any(upgrade_socket))
        .route("/v1/guests", post(create_guest).options(preflight_guest))
        .method_not_allowed_fallback(|| async { ApiError::Method("POST, OPTIONS") })
        .with_state(gate)
        .merge(socketio.map(socketio_router).unwrap_or_default())
        .fallback_service(files)
        .layer(middleware::from_fn(check_head))
}

fn socketio_router(SocketIo { engine, files }: SocketIo) -> Router {
    let serve = move |request: Request| Arc::clone(&engine).handle(request);
    Router::new()
        .route("/socket.io", any(serve.clone()))
        .route("/socket.io/", any(serve))
        .route("/socket.io/{file}", get(get_client).with_state(files))
}

/// The operators' port.
pub(crate) fn ops_router(state: OpsState) -> Router {
    Router::new()
        .route("/livez", get(get_livez))
        .route("/readyz", get(get_readyz))
        .route("/metrics", get(get_metrics))
        .method_not_allowed_fallback(|| async { ApiError::Method("GET, HEAD") })
        .fallback(|| async { ApiError::NotFound })
        .with_state(state)
}

/// Refuses what proxies in front of us could read in another way than we do.
async fn check_head(request: Request, next: Next) -> Response {
    let (uri, headers) = (request.uri(), request.headers());
    let length = uri.path().len() + uri.query().map_or(0, |query| query.len() + 1);
    if length > MAX_URI_BYTES {
        return ApiError::UriTooLong(MAX_URI_BYTES).into_response();
    }
    let hosts = headers.get_all(HOST).iter().count();
    if hosts != 1 && request.version() != Version::HTTP_10 {
        return ApiError::BadRequest("send one Host header".to_owned()).into_response();
    }
    if headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH) {
        let both = "send Content-Length or Transfer-Encoding, not both";
        return ApiError::BadRequest(both.to_owned()).into_response();
    }
    next.run(request).await
}
