//! `/v1/rooms/{room}/read` and `…/typing`: what is told to the others in passing.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use hubbub_protocol::id::OFFSET_LIMIT;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};

use super::body::read_json;
use super::caller::Caller;
use super::path::InRoom;
use crate::error::ApiError;
use crate::gate::Gate;
use crate::openapi::shapes;

/// A number or a word needs no more.
const MAX_BODY_BYTES: usize = 1024;

#[derive(Debug, Deserialize, utoipa::ToSchema)]
struct ReadMark {
    /// Read up to here; beyond the room's newest event it is that one.
    #[serde(deserialize_with = "whole")]
    #[schema(value_type = shapes::Whole)]
    offset: u64,
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
struct Typing {
    on: bool,
}

/// Says how far the caller has read.
#[utoipa::path(put, path = "/v1/rooms/{room}/read", tag = "Rooms", params(("room" = shapes::RoomId, Path)), request_body = ReadMark, responses((status = 204, description = "Marks only go forward.")))]
pub(crate) async fn mark_read(
    State(gate): State<Arc<Gate>>,
    caller: Caller,
    InRoom(room): InRoom,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let ReadMark { offset } = read(&gate, request, r#"{"offset":58}"#).await?;
    let mark = gate.node.mark_read(&caller.identity, &room, offset);
    caller.read(mark).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Says that the caller types, or has stopped to.
#[utoipa::path(put, path = "/v1/rooms/{room}/typing", tag = "Rooms", params(("room" = shapes::RoomId, Path)), request_body = Typing, responses((status = 204, description = "Told to who is there.")))]
pub(crate) async fn mark_typing(
    State(gate): State<Arc<Gate>>,
    caller: Caller,
    InRoom(room): InRoom,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let Typing { on } = read(&gate, request, r#"{"on":true}"#).await?;
    let mark = gate.node.mark_typing(&caller.identity, &room, on);
    caller.read(mark).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// To JSON `58`, `58.0` and `5.8e1` are one number; beyond what an offset can be it is the highest.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = f64::deserialize(deserializer)?;
    if number < 0.0 || number.fract() != 0.0 {
        return Err(D::Error::custom("a whole number, 0 or more, is needed"));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is whole, not negative, and what is too large becomes the largest"
    )]
    let number = number as u64;
    Ok(number.min(OFFSET_LIMIT))
}

async fn read<T: DeserializeOwned>(
    gate: &Gate,
    request: Request,
    example: &str,
) -> Result<T, ApiError> {
    let body = read_json(gate, request, MAX_BODY_BYTES, example).await?;
    body.ok_or_else(|| ApiError::BadRequest(format!("send a body like {example}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_a_whole_number_however_it_is_written() {
        let read =
            |text: &str| serde_json::from_str::<ReadMark>(&format!(r#"{{"offset":{text}}}"#));
        for (text, offset) in [
            ("0", 0),
            ("58.0", 58),
            ("5.8e1", 58),
            ("1e30", OFFSET_LIMIT),
        ] {
            assert_eq!(read(text).unwrap().offset, offset, "{text}");
        }
        for bad in ["-1", "1.5", "\"5\"", "null", "1e400"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
