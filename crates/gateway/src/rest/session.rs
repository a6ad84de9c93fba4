//! `/v1/session`: the token as a cookie that no script can read, for pages of allowed origins.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Extension;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::caller::Caller;
use crate::auth::bearer;
use crate::auth::cookie::needs_tls;
use crate::error::{ApiError, StateProblem};
use crate::state::{GatewayState, Peer};

/// Takes the token of the `Authorization` header over into the cookie, for as long as it counts.
#[utoipa::path(post, path = "/v1/session", tag = "Callers", responses((status = 204, description = "The cookie is set.", headers(("Set-Cookie" = String)))))]
pub(crate) async fn create_session(
    State(gateway): State<Arc<GatewayState>>,
    Extension(peer): Extension<Peer>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if !gateway.origins.trusts_cookies() {
        return Err(ApiError::State(
            StateProblem::Conflict,
            "cookies do not count where any page may ask: see http.allowed_origins",
        ));
    }
    let is_secure = gateway.is_secure(&peer, &headers);
    let name = gateway.cookie(&peer, &headers);
    if needs_tls(&name) && !is_secure {
        return Err(ApiError::State(
            StateProblem::Conflict,
            "auth.cookie names a cookie that browsers keep over TLS only, and this is plain HTTP",
        ));
    }
    let token = bearer::token(&headers, None).ok_or_else(|| {
        let how = "there is no token: send it as the header 'Authorization: Bearer <token>', it becomes the cookie";
        ApiError::Unauthorized(how.to_owned())
    })?;
    let lasts = caller.identity.expires.map(seconds_until);
    Ok(answer(&name, token, lasts, is_secure))
}

/// Forgets the cookie. Whoever has the token elsewhere has it still.
#[utoipa::path(delete, path = "/v1/session", tag = "Callers", security(()), responses((status = 204, description = "The cookie is gone.", headers(("Set-Cookie" = String)))))]
pub(crate) async fn delete_session(
    State(gateway): State<Arc<GatewayState>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Response {
    let name = gateway.cookie(&peer, &headers);
    answer(&name, "", Some(0), gateway.is_secure(&peer, &headers))
}

/// Without an end it lasts as long as the browser's session.
fn answer(name: &str, token: &str, lasts: Option<u64>, secure: bool) -> Response {
    let mut cookie = format!("{name}={token}; Path=/; HttpOnly; SameSite=Lax");
    if let Some(lasts) = lasts {
        cookie.push_str(&format!("; Max-Age={lasts}"));
    }
    if secure {
        cookie.push_str("; Secure");
    }
    match HeaderValue::try_from(cookie)
        .ok()
        .filter(|_| is_value(token))
    {
        Some(cookie) => (StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]).into_response(),
        None => {
            ApiError::BadRequest("this token cannot stand in a cookie".to_owned()).into_response()
        }
    }
}

/// The characters that RFC 6265 allows in a cookie.
fn is_value(token: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte);
    token.bytes().all(allowed)
}

fn seconds_until(ms: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
    ms.saturating_sub(now) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_script_reads_the_cookie() {
        let cookie = |lasts, secure| {
            let answer = answer("hubbub_token", "a.b.c", lasts, secure);
            answer.headers()[SET_COOKIE].to_str().unwrap().to_owned()
        };
        assert_eq!(
            cookie(Some(60), true),
            "hubbub_token=a.b.c; Path=/; HttpOnly; SameSite=Lax; Max-Age=60; Secure"
        );
        assert_eq!(
            cookie(None, false),
            "hubbub_token=a.b.c; Path=/; HttpOnly; SameSite=Lax"
        );
        for bad in ["a;b", "a b", "a,b", "a\"b", "a\nb", "ä"] {
            assert_eq!(answer("c", bad, None, false).status(), 400, "{bad}");
        }
    }
}
