//! Refusals for HTTP clients of Engine.IO.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why a request is refused; the codes are Engine.IO's own.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Code 0.
    Transport,
    /// Code 1; the second text is the node that the session is on, if it is another one.
    Sid(Option<String>),
    /// Code 2: a session begins with a GET.
    Method,
    /// Code 3, with what is wrong.
    Bad(&'static str),
    /// Code 5.
    Version,
    /// 413.
    TooLarge,
    /// The handler's own answer.
    Handler(Box<Response>),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (code, message) = match self {
            Self::Transport => (0, "Transport unknown".to_owned()),
            Self::Sid(None) => (1, "Session ID unknown".to_owned()),
            Self::Sid(Some(other)) => (1, format!("Session ID unknown: {other}")),
            Self::Method => (2, "Bad handshake method".to_owned()),
            Self::Bad("") => (3, "Bad request".to_owned()),
            Self::Bad(what) => (3, format!("Bad request: {what}")),
            Self::Version => (5, "Unsupported protocol version".to_owned()),
            Self::TooLarge => return StatusCode::PAYLOAD_TOO_LARGE.into_response(),
            Self::Handler(response) => return *response,
        };
        refused(StatusCode::BAD_REQUEST, code, &message)
    }
}

/// A refusal in the form that Engine.IO clients know.
pub(super) fn refused(status: StatusCode, code: u8, message: &str) -> Response {
    (status, Json(json!({ "code": code, "message": message }))).into_response()
}
