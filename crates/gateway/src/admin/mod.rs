//! `/admin/*` on the operators' port: who is there, and what is to be done with them. The key comes in
//! the header `Authorization` only, and everything that is done is audited.

mod actions;
mod bodies;
mod key;
mod lists;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{CACHE_CONTROL, HeaderValue};
use axum::http::request::Parts;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};

pub(crate) use self::key::AdminKey;
use self::key::Verdict;
use crate::auth::bearer;
use crate::error::ApiError;
use crate::headers::make_safe;
use crate::state::{GatewayState, Peer};

/// The name of the key in the audit log.
const WHO: &str = "ops.token";

/// The state behind the admin API.
#[derive(Clone)]
pub(crate) struct AdminState {
    pub(crate) gateway: Arc<GatewayState>,
    /// `None`: the admin API is off.
    pub(crate) key: Option<Arc<AdminKey>>,
}

/// The operator who asks.
#[derive(Debug, Clone)]
struct Operator {
    who: &'static str,
    address: IpAddr,
}

pub(crate) fn admin_router(state: AdminState) -> Router {
    let guard = middleware::from_fn_with_state(state.clone(), check_key);
    Router::new()
        .route("/admin/nodes", get(lists::list_nodes))
        .route("/admin/settings", get(lists::list_settings))
        .route("/admin/nodes/{node}/drain", post(actions::drain_node))
        .route("/admin/connections", get(lists::list_connections))
        .route("/admin/rooms", get(lists::list_rooms))
        .route(
            "/admin/rooms/{room}/messages/{offset}",
            delete(actions::delete_message),
        )
        .route("/admin/kick", post(actions::kick))
        .route("/admin/ban", post(actions::ban).delete(actions::unban))
        .route("/admin/bans", get(lists::list_rules))
        .route("/admin/mute", post(actions::mute).delete(actions::unmute))
        .route(
            "/admin/revoke",
            post(actions::revoke).delete(actions::unrevoke),
        )
        .route("/admin/announce", post(actions::announce))
        .route("/admin/audit", get(lists::list_audit))
        .method_not_allowed_fallback(|| async { ApiError::Method("GET, POST or DELETE") })
        .route(
            "/admin/{*rest}",
            axum::routing::any(|| async { ApiError::NotFound }),
        )
        .layer(guard)
        .with_state(state)
}

/// Lets in who has the key. Cookies and addresses are not looked at.
async fn check_key(State(state): State<AdminState>, mut request: Request, next: Next) -> Response {
    let operator = match find_operator(&state, &request) {
        Ok(operator) => operator,
        Err(error) => return error.into_response(),
    };
    request.extensions_mut().insert(operator);
    let mut response = next.run(request).await;
    make_safe(response.headers_mut());
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn find_operator(state: &AdminState, request: &Request) -> Result<Operator, ApiError> {
    let Some(key) = &state.key else {
        return Err(ApiError::AdminOff);
    };
    let peer = request.extensions().get::<Peer>();
    let address = peer.ok_or(ApiError::Internal)?.address.ip();
    let missing = || ApiError::Unauthorized("send Authorization: Bearer with ops.token".to_owned());
    // Without a key nobody guesses.
    let given = bearer::token(request.headers(), None).unwrap_or_default();
    if given.is_empty() {
        return Err(missing());
    }
    match key.try_key(address, given.as_bytes()) {
        Verdict::Right => Ok(Operator { who: WHO, address }),
        Verdict::Wrong => {
            tracing::warn!(target: "hubbub::audit", %address, result = "unauthorized", "audit");
            Err(missing())
        }
        Verdict::LockedOut(wait) => Err(ApiError::LockedOut(wait.as_secs() + 1)),
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let operator = parts.extensions.get::<Self>();
        operator.cloned().ok_or(ApiError::Internal)
    }
}
