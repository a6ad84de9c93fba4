//! What HTTP clients hear when something is refused: problem+json with the protocol's codes.

use axum::http::StatusCode;
use axum::http::header::{
    ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_VERSION,
};
use axum::response::{IntoResponse, Response};
use hubbub_protocol::ErrorCode;
use serde::Serialize;

/// Why a request is refused. Each maps once to status, code and headers.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// The request cannot be understood; the text says what to change.
    #[error("{0}")]
    BadRequest(String),
    #[error("the page's origin is not allowed here: see http.allowed_origins")]
    Origin,
    #[error("there is nothing here")]
    NotFound,
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
    #[error("this node is busy: {0}")]
    Busy(&'static str),
    /// Something that the node needs is away.
    #[error("{0}")]
    Unavailable(String),
    #[error("internal error")]
    Internal,
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Origin => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::UriTooLong(_) => StatusCode::URI_TOO_LONG,
            Self::WebSocketVersion => StatusCode::UPGRADE_REQUIRED,
            Self::AddressFull => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy(_) | Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::BadRequest(_)
            | Self::Method(_)
            | Self::MediaType
            | Self::Timeout
            | Self::WebSocketVersion => ErrorCode::BadFrame,
            Self::Origin => ErrorCode::Forbidden,
            Self::NotFound => ErrorCode::NotFound,
            Self::TooLarge(_) | Self::UriTooLong(_) => ErrorCode::TooLarge,
            Self::AddressFull => ErrorCode::RateLimited,
            Self::Busy(_) | Self::Unavailable(_) => ErrorCode::Unavailable,
            Self::Internal => ErrorCode::Internal,
        }
    }

    /// The one header, beside the body's, that tells a program what to do.
    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::Method(allowed) => Some((ALLOW, HeaderValue::from_static(allowed))),
            Self::WebSocketVersion => Some((SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))),
            // At random, so that those who were turned away do not come back together.
            Self::AddressFull | Self::Busy(_) | Self::Unavailable(_) => {
                Some((RETRY_AFTER, HeaderValue::from(fastrand::u16(1..=10))))
            }
            Self::BadRequest(_)
            | Self::Origin
            | Self::NotFound
            | Self::TooLarge(_)
            | Self::Timeout
            | Self::MediaType
            | Self::UriTooLong(_)
            | Self::Internal => None,
        }
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
        };
        let body = serde_json::to_vec(&problem).expect("strings and numbers always serialize");
        let mut response =
            (status, [(CONTENT_TYPE, "application/problem+json")], body).into_response();
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
