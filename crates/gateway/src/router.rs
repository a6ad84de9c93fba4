//! The whole API on a page.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use axum::http::{HeaderValue, Version};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, patch, post, put};
use axum::{Extension, Router};

use crate::admin::{AdminState, admin_router};
use crate::assets::{Assets, get_asset};
use crate::auth::host::Hosts;
use crate::error::ApiError;
use crate::openapi::get_openapi;
use crate::ops::{OpsState, get_livez, get_metrics, get_readyz};
use crate::paid;
use crate::rest::changes::{add_reaction, delete_message, edit_message, remove_reaction};
use crate::rest::cors::{check_page, resource};
use crate::rest::guests::create_guest;
use crate::rest::me::get_me;
use crate::rest::members::{invite_member, list_members, remove_member};
use crate::rest::messages::get_messages;
use crate::rest::rooms::{change_room, create_room, get_room, list_rooms};
use crate::rest::search::search_messages;
use crate::rest::sends::{send_message, send_messages};
use crate::rest::session::{create_session, delete_session};
use crate::rest::signals::{mark_read, mark_typing};
use crate::rest::tickets::create_ticket;
use crate::socketio::{ChatHandler, ClientFiles, Engine, get_client};
use crate::sse::open_events;
use crate::state::{GatewayState, Peer};
use crate::ws::handshake::upgrade_socket;

/// The longest path and query.
const MAX_URI_BYTES: usize = 8 * 1024;

/// The transport for Socket.IO clients.
pub(crate) struct SocketIo {
    pub(crate) engine: Arc<Engine<ChatHandler>>,
    pub(crate) files: Arc<ClientFiles>,
}

/// The clients' port.
pub(crate) fn client_router(
    gateway: Arc<GatewayState>,
    assets: Assets,
    socketio: Option<SocketIo>,
) -> Router {
    let files = any(get_asset).with_state(Arc::new(assets));
    let (banned, joining) = (Arc::clone(&gateway), Arc::clone(&gateway));
    Router::new()
        .route("/v1/ws", any(upgrade_socket))
        .merge(resources(&gateway))
        .with_state(gateway)
        .merge(socketio.map(socketio_router).unwrap_or_default())
        .layer(middleware::from_fn_with_state(
            joining,
            refuse_before_joining,
        ))
        .fallback_service(files)
        .layer(middleware::from_fn_with_state(banned, refuse_banned))
        .layer(middleware::from_fn(check_head))
        .layer(middleware::map_response(paid::hold))
}

/// Plain requests and answers, for programs and pages.
fn resources(gateway: &Arc<GatewayState>) -> Router<Arc<GatewayState>> {
    const GET: &str = "GET, HEAD, OPTIONS";
    let room = get(get_room).patch(change_room);
    let rooms = get(list_rooms).post(create_room);
    let messages = get(get_messages).post(send_message);
    let message = patch(edit_message).delete(delete_message);
    let reaction = put(add_reaction).delete(remove_reaction);
    let session = post(create_session).delete(delete_session);
    let members = get(list_members).post(invite_member);
    Router::new()
        .route("/v1/openapi.json", resource(GET, get(get_openapi)))
        .route("/v1/guests", resource("POST, OPTIONS", post(create_guest)))
        .route(
            "/v1/tickets",
            resource("POST, OPTIONS", post(create_ticket)),
        )
        .route("/v1/session", resource("POST, DELETE, OPTIONS", session))
        .route("/v1/me", resource(GET, get(get_me)))
        .route("/v1/search", resource(GET, get(search_messages)))
        .route("/v1/rooms", resource("GET, HEAD, POST, OPTIONS", rooms))
        .route(
            "/v1/rooms/{room}",
            resource("GET, HEAD, PATCH, OPTIONS", room),
        )
        .route(
            "/v1/messages",
            resource("POST, OPTIONS", post(send_messages)),
        )
        .route(
            "/v1/rooms/{room}/messages",
            resource("GET, HEAD, POST, OPTIONS", messages),
        )
        .route(
            "/v1/rooms/{room}/messages/{offset}",
            resource("PATCH, DELETE, OPTIONS", message),
        )
        .route(
            "/v1/rooms/{room}/messages/{offset}/reactions/{key}",
            resource("PUT, DELETE, OPTIONS", reaction),
        )
        .route("/v1/rooms/{room}/events", resource(GET, get(open_events)))
        .route(
            "/v1/rooms/{room}/members",
            resource("GET, HEAD, POST, OPTIONS", members),
        )
        .route(
            "/v1/rooms/{room}/members/{user}",
            resource("DELETE, OPTIONS", delete(remove_member)),
        )
        .route(
            "/v1/rooms/{room}/read",
            resource("PUT, OPTIONS", put(mark_read)),
        )
        .route(
            "/v1/rooms/{room}/typing",
            resource("PUT, OPTIONS", put(mark_typing)),
        )
        .route("/v1", any(refuse_unknown))
        .route("/v1/", any(refuse_unknown))
        .route("/v1/{*rest}", any(refuse_unknown))
        .layer(middleware::from_fn_with_state(
            Arc::clone(gateway),
            check_page,
        ))
}

/// Nothing below `/v1` is a file.
async fn refuse_unknown() -> ApiError {
    ApiError::NotFound
}

fn socketio_router(SocketIo { engine, files }: SocketIo) -> Router {
    let serve = move |request: Request| Arc::clone(&engine).handle(request);
    Router::new()
        .route("/socket.io", any(serve.clone()))
        .route("/socket.io/", any(serve))
        .route("/socket.io/{file}", get(get_client).with_state(files))
}

/// The operators' port, known by these names.
pub(crate) fn ops_router(state: OpsState, admin: AdminState, hosts: Hosts) -> Router {
    let (gateway, hosts) = (Arc::clone(&state.gateway), Arc::new(hosts));
    Router::new()
        .route("/livez", get(get_livez))
        .route("/readyz", get(get_readyz))
        .route("/metrics", get(get_metrics))
        .method_not_allowed_fallback(|| async { ApiError::Method("GET, HEAD") })
        .fallback(|| async { ApiError::NotFound })
        .with_state(state)
        .merge(admin_router(admin))
        .layer(middleware::from_fn_with_state(
            (gateway, hosts),
            refuse_strange_host,
        ))
        .layer(middleware::from_fn(check_head))
}

/// Operators read figures with a browser too, in which pages of strangers are open.
async fn refuse_strange_host(
    State((gateway, hosts)): State<(Arc<GatewayState>, Arc<Hosts>)>,
    request: Request,
    next: Next,
) -> Response {
    if hosts.knows_all(request.headers()) {
        return next.run(request).await;
    }
    gateway.metrics.rejected("host");
    ApiError::Host("ops.hosts").into_response()
}

/// Nothing is done for clients before this node has joined its cluster: its settings may be wrong.
async fn refuse_before_joining(
    State(gateway): State<Arc<GatewayState>>,
    request: Request,
    next: Next,
) -> Response {
    if !gateway.node.has_joined() {
        gateway.metrics.rejected("joining");
        let why = "this node has not joined its cluster yet: use another one, or try again";
        return ApiError::Unavailable(why.to_owned()).into_response();
    }
    next.run(request).await
}

/// Nothing is done for an address that is banned.
async fn refuse_banned(
    State(gateway): State<Arc<GatewayState>>,
    Extension(peer): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    if gateway
        .node
        .is_banned(gateway.client(&peer, request.headers()))
    {
        gateway.metrics.rejected("banned");
        return ApiError::Banned.into_response();
    }
    next.run(request).await
}

/// Refuses what proxies in front of us could read in another way than we do. The connection ends with
/// that: nobody knows where the next request begins.
async fn check_head(request: Request, next: Next) -> Response {
    match misread(&request) {
        None => next.run(request).await,
        Some(error) => ([(CONNECTION, "close")], error).into_response(),
    }
}

fn misread(request: &Request) -> Option<ApiError> {
    let (uri, headers) = (request.uri(), request.headers());
    let length = uri.path().len() + uri.query().map_or(0, |query| query.len() + 1);
    if length > MAX_URI_BYTES {
        return Some(ApiError::UriTooLong(MAX_URI_BYTES));
    }
    let hosts = headers.get_all(HOST).iter().count();
    if hosts != 1 && request.version() != Version::HTTP_10 {
        let one = "send one Host header";
        return Some(ApiError::BadRequest(one.to_owned()));
    }
    if !headers.contains_key(TRANSFER_ENCODING) {
        return None;
    }
    if headers.contains_key(CONTENT_LENGTH) {
        let both = "send Content-Length or Transfer-Encoding, not both";
        return Some(ApiError::BadRequest(both.to_owned()));
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    let is_understood = codings.next().is_some_and(is_chunked) && codings.next().is_none();
    (!is_understood).then(|| {
        let only = "send one Transfer-Encoding header with 'chunked' alone";
        ApiError::BadRequest(only.to_owned())
    })
}
