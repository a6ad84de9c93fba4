//! Refusals for HTTP clients: problem+json with the protocol's codes.

use axum::http::StatusCode;
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
    SEC_WEBSOCKET_VERSION, WWW_AUTHENTICATE,
};
use axum::response::{IntoResponse, Response};
use hubbub_node::CommandError;
use hubbub_protocol::{CloseCode, ErrorCode, InvalidId};
use serde::Serialize;

use crate::headers::make_safe;

/// Why a request is refused. Each maps once to status, code and headers.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// The request cannot be understood; the text says what to change.
    #[error("{0}")]
    BadRequest(String),
    /// There is no token that counts; the text says how to get one.
    #[error("{0}")]
    Unauthorized(String),
    /// No name of a room.
    #[error("{0}")]
    Room(InvalidId),
    #[error("the page's origin is not allowed here: see http.allowed_origins")]
    Origin,
    /// The name in `Host`; the setting that lists names.
    #[error("this node is not known by the name in Host: see {0}")]
    Host(&'static str),
    #[error("banned by an operator")]
    Banned,
    #[error("the admin API is off: set ops.token, 32 bytes or more")]
    AdminOff,
    /// Too many wrong keys came from the same address.
    #[error("too many wrong keys from here: wait")]
    LockedOut(u64),
    #[error("there is nothing here")]
    NotFound,
    /// The resource is not there, or cannot be made a second time.
    #[error("{1}")]
    State(StateProblem, &'static str),
    #[error("only {0} is possible here")]
    Method(&'static str),
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the body did not arrive in time")]
    Timeout,
    #[error("the body must be application/json")]
    MediaType,
    #[error("the address is longer than {0} bytes")]
    UriTooLong(usize),
    #[error("only version 13 of the WebSocket protocol is spoken here")]
    WebSocketVersion,
    #[error("too many connections from this address: see limits.connections_per_address")]
    AddressFull,
    #[error("too many new connections a second from this address: see limits.accepts_per_second")]
    AddressBusy,
    #[error("too many connections of this user: see limits.connections_per_user")]
    UserFull,
    #[error("this node is busy: {0}")]
    Busy(&'static str),
    /// Something that the node needs is away.
    #[error("{0}")]
    Unavailable(String),
    #[error("internal error")]
    Internal,
    /// The chat itself refuses.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// The problem with the state of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StateProblem {
    Missing,
    Conflict,
}

impl ApiError {
    /// Why no session was opened, from the code that a socket would be closed with.
    pub(crate) fn without_session(code: CloseCode) -> Self {
        match code {
            CloseCode::TooManyConnections => Self::UserFull,
            CloseCode::Forbidden => Self::Banned,
            CloseCode::TokenExpired | CloseCode::Revoked => {
                Self::Unauthorized(format!("{}: send another token", code.reason()))
            }
            other => Self::Unavailable(other.reason().to_owned()),
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) | Self::Room(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Origin | Self::Host(_) | Self::Banned | Self::AdminOff => StatusCode::FORBIDDEN,
            Self::NotFound | Self::State(StateProblem::Missing, _) => StatusCode::NOT_FOUND,
            Self::State(StateProblem::Conflict, _) => StatusCode::CONFLICT,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::UriTooLong(_) => StatusCode::URI_TOO_LONG,
            Self::WebSocketVersion => StatusCode::UPGRADE_REQUIRED,
            Self::AddressFull | Self::AddressBusy | Self::UserFull | Self::LockedOut(_) => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::Busy(_) | Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Command(error) => status_of(error.code()),
        }
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::BadRequest(_)
            | Self::Method(_)
            | Self::MediaType
            | Self::Timeout
            | Self::WebSocketVersion => ErrorCode::BadFrame,
            Self::Unauthorized(_) => ErrorCode::Unauthorized,
            Self::Room(_) => ErrorCode::BadRoom,
            Self::Origin | Self::Host(_) | Self::Banned | Self::AdminOff => ErrorCode::Forbidden,
            Self::NotFound | Self::State(StateProblem::Missing, _) => ErrorCode::NotFound,
            Self::State(StateProblem::Conflict, _) => ErrorCode::Conflict,
            Self::TooLarge(_) | Self::UriTooLong(_) => ErrorCode::TooLarge,
            Self::AddressFull | Self::AddressBusy | Self::UserFull | Self::LockedOut(_) => {
                ErrorCode::RateLimited
            }
            Self::Busy(_) | Self::Unavailable(_) => ErrorCode::Unavailable,
            Self::Internal => ErrorCode::Internal,
            Self::Command(error) => error.code(),
        }
    }

    /// The code, for people and lists.
    pub(crate) fn code_text(&self) -> &'static str {
        self.code().as_str()
    }

    /// The one header, beside the body's, that tells a program what to do.
    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::Method(allowed) => Some((ALLOW, HeaderValue::from_static(allowed))),
            Self::WebSocketVersion => Some((SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))),
            Self::Unauthorized(_) => Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            Self::AddressFull
            | Self::AddressBusy
            | Self::UserFull
            | Self::Busy(_)
            | Self::Unavailable(_) => Some(retry_soon()),
            Self::LockedOut(seconds) => Some((RETRY_AFTER, HeaderValue::from(*seconds))),
            Self::Command(error) => retry_after(error),
            Self::BadRequest(_)
            | Self::Room(_)
            | Self::Origin
            | Self::Host(_)
            | Self::Banned
            | Self::AdminOff
            | Self::NotFound
            | Self::State(..)
            | Self::TooLarge(_)
            | Self::Timeout
            | Self::MediaType
            | Self::UriTooLong(_)
            | Self::Internal => None,
        }
    }
}

/// The status that a protocol's code has over HTTP.
fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::BadFrame | ErrorCode::BadRoom => StatusCode::BAD_REQUEST,
        ErrorCode::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::NotJoined | ErrorCode::TooManyRooms | ErrorCode::Conflict => {
            StatusCode::CONFLICT
        }
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Unavailable | ErrorCode::Unknown => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// At random, so that those who were turned away do not come back together.
fn retry_soon() -> (HeaderName, HeaderValue) {
    (RETRY_AFTER, HeaderValue::from(fastrand::u16(1..=10)))
}

fn retry_after(error: &CommandError) -> Option<(HeaderName, HeaderValue)> {
    if let Some(retry_after_ms) = error.retry_after_ms() {
        let seconds = retry_after_ms.div_ceil(1_000).max(1);
        return Some((RETRY_AFTER, HeaderValue::from(seconds)));
    }
    match error {
        CommandError::Unavailable | CommandError::Unknown | CommandError::SearchTimeout => {
            Some(retry_soon())
        }
        // Without an archive no retry helps.
        CommandError::NoArchive
        | CommandError::LateHello
        | CommandError::NotJoined
        | CommandError::Forbidden
        | CommandError::Muted
        | CommandError::TooManyRules
        | CommandError::TooLarge { .. }
        | CommandError::TooManyReactions { .. }
        | CommandError::TooManyOwnReactions { .. }
        | CommandError::RateLimited { .. }
        | CommandError::Crowded
        | CommandError::TooManyRooms { .. }
        | CommandError::NotFound
        | CommandError::Conflict
        | CommandError::Internal => None,
    }
}

/// RFC 9457, with our stable code.
#[derive(Serialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    code: ErrorCode,
    detail: String,
    /// The same as `Retry-After`, but finer.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        let problem = Problem {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code: self.code(),
            detail: self.to_string(),
            retry_after_ms: match &self {
                Self::Command(error) => error.retry_after_ms(),
                _ => None,
            },
        };
        let body = serde_json::to_vec(&problem).expect("strings and numbers always serialize");
        let fixed = [
            (CONTENT_TYPE, "application/problem+json"),
            (CACHE_CONTROL, "no-store"),
        ];
        let mut response = (status, fixed, body).into_response();
        make_safe(response.headers_mut());
        if let Some((name, value)) = self.header() {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    #[tokio::test]
    async fn a_problem_has_status_code_and_the_header_that_helps() {
        let response = ApiError::WebSocketVersion.into_response();
        assert_eq!(response.status(), StatusCode::UPGRADE_REQUIRED);
        assert_eq!(response.headers()[SEC_WEBSOCKET_VERSION], "13");
        let response = ApiError::Busy("test").into_response();
        let seconds: u16 = response.headers()[RETRY_AFTER]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((1..=10).contains(&seconds));
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        let body = to_bytes(response.into_body(), 1000).await.unwrap();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (&problem["status"], &problem["code"]),
            (&503.into(), &"unavailable".into())
        );
    }
}
