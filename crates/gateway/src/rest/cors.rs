//! Which pages may use the resources: those of allowed origins, with a token, or with a cookie where the
//! origins are listed one by one. Also what all answers have in common.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW,
    CACHE_CONTROL, IF_NONE_MATCH, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;

use crate::conditional;
use crate::error::ApiError;
use crate::headers::make_safe;
use crate::state::{GatewayState, Peer};

/// Headers of answers that pages may read.
const EXPOSED: &str = "etag, location, retry-after, www-authenticate";
/// Headers that pages may send.
const ASKED: &str =
    "authorization, cache-control, content-type, idempotency-key, if-none-match, last-event-id";

/// A resource with its methods, all of which `allow` names: it answers preflights and refuses other
/// methods.
pub(crate) fn resource(
    allow: &'static str,
    methods: MethodRouter<Arc<GatewayState>>,
) -> MethodRouter<Arc<GatewayState>> {
    methods
        .options(move || async move { preflight(allow) })
        .fallback(move || async move { ApiError::Method(allow) })
}

/// Around all resources: pages of other origins are refused, allowed ones may read the answer.
pub(crate) async fn check_page(
    State(gateway): State<Arc<GatewayState>>,
    Extension(peer): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let cors = match cors(&gateway, &peer, request.headers()) {
        Ok(cors) => cors,
        Err(error) => return error.into_response(),
    };
    let is_read = request.method() == Method::GET;
    let known = request.headers().get(IF_NONE_MATCH).cloned();
    let mut response = next.run(request).await;
    if is_read {
        response = conditional::mark(response, known.as_ref()).await;
    }
    let headers = response.headers_mut();
    headers.extend(cors);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    make_safe(headers);
    response
}

/// Lets an allowed page read the answer, and send its cookie where pages are listed one by one.
fn cors(gateway: &GatewayState, peer: &Peer, headers: &HeaderMap) -> Result<HeaderMap, ApiError> {
    let mut answer = HeaderMap::new();
    answer.insert(VARY, HeaderValue::from_static("origin"));
    if gateway.check_origin(peer, headers)?
        && let Some(origin) = headers.get(ORIGIN)
    {
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        // Where any page may ask, no cookie counts.
        if gateway.origins.trusts_cookies() {
            let allowed = HeaderValue::from_static("true");
            answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, allowed);
        }
        let exposed = HeaderValue::from_static(EXPOSED);
        answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
    Ok(answer)
}

/// Tells the browser of an allowed page what it may ask for.
fn preflight(allow: &'static str) -> Response {
    let headers = [
        (ALLOW, allow),
        (ACCESS_CONTROL_ALLOW_METHODS, allow),
        (ACCESS_CONTROL_ALLOW_HEADERS, ASKED),
        (ACCESS_CONTROL_MAX_AGE, "600"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}
