//! `/v1/rooms/{room}/read` and `…/typing`: what is told to the others in passing.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::Number;

use super::body::read_json;
use super::caller::Caller;
use super::path::InRoom;
use crate::error::ApiError;
use crate::openapi::shapes;
use crate::state::GatewayState;

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
    State(gateway): State<Arc<GatewayState>>,
    caller: Caller,
    InRoom(room): InRoom,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let ReadMark { offset } = read(&gateway, request, r#"{"offset":58}"#).await?;
    let mark = gateway.node.mark_read(&caller.identity, &room, offset);
    caller.read(mark).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Says that the caller types, or has stopped to.
#[utoipa::path(put, path = "/v1/rooms/{room}/typing", tag = "Rooms", params(("room" = shapes::RoomId, Path)), request_body = Typing, responses((status = 204, description = "Told to who is there.")))]
pub(crate) async fn mark_typing(
    State(gateway): State<Arc<GatewayState>>,
    caller: Caller,
    InRoom(room): InRoom,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let Typing { on } = read(&gateway, request, r#"{"on":true}"#).await?;
    let mark = gateway.node.mark_typing(&caller.identity, &room, on);
    caller.read(mark).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn read<T: DeserializeOwned>(
    gateway: &GatewayState,
    request: Request,
    example: &str,
) -> Result<T, ApiError> {
    let body = read_json(gateway, request, MAX_BODY_BYTES, example).await?;
    body.ok_or_else(|| ApiError::BadRequest(format!("send a body like {example}")))
}

/// A whole number however JSON writes it, `58.0` and `5.8e1` too.
fn whole<'de, D: Deserializer<'de>>(number: D) -> Result<u64, D::Error> {
    let number = Number::deserialize(number)?;
    let written_otherwise = || {
        let number = number.as_f64()?;
        (number >= 0.0 && number.fract() == 0.0).then_some(number as u64)
    };
    let whole = number.as_u64().or_else(written_otherwise);
    whole.ok_or_else(|| Error::custom("a whole number, 0 or more, was expected"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_read_however_they_are_written() {
        let read = |offset: &str| {
            let body = format!("{{\"offset\":{offset}}}");
            let mark = serde_json::from_str::<ReadMark>(&body);
            mark.ok().map(|mark| mark.offset)
        };
        for (offset, number) in [("58", 58), ("58.0", 58), ("5.8e1", 58), ("-0.0", 0)] {
            assert_eq!(read(offset), Some(number), "{offset}");
        }
        assert_eq!(read("1e30"), Some(u64::MAX), "beyond any offset");
        for wrong in ["-1", "0.5", "\"58\"", "null"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
