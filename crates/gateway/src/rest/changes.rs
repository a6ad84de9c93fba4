//! `/v1/rooms/{room}/messages/{offset}` and its reactions: changes of messages.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use hubbub_node::{Action, Post};
use hubbub_protocol::command::{AckLevel, Body, Terms};
use hubbub_protocol::{Nonce, RoomId};
use serde::Deserialize;

use super::body::read_json;
use super::caller::Sender;
use super::idempotency::IdempotencyKey;
use super::path::{InRoomMessage, InRoomReaction};
use super::sends::{answer, any_value};
use crate::error::ApiError;
use crate::openapi::shapes;
use crate::state::GatewayState;

const EDIT_EXAMPLE: &str = r#"{"body":{"text":"hello"}}"#;
const EXAMPLE: &str = r#"{"nonce":"…"}"#;

#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[schema(as = MessageChange)]
struct Change {
    /// Any JSON.
    #[serde(default, deserialize_with = "any_value")]
    #[schema(value_type = Value, required)]
    body: Option<Body>,
    #[schema(value_type = Option<shapes::Nonce>)]
    nonce: Option<Nonce>,
    #[schema(value_type = Option<shapes::AckLevel>)]
    ack: Option<AckLevel>,
}

/// Gives a message another body.
#[utoipa::path(patch, path = "/v1/rooms/{room}/messages/{offset}", tag = "Messages", params(("room" = shapes::RoomId, Path), ("offset" = shapes::Offset, Path), ("Idempotency-Key" = inline(Option<shapes::Nonce>), Header, description = "Counts as the nonce where none is given.")), request_body = Change, responses((status = 200, description = "Stored.", body = shapes::Sent)))]
pub(crate) async fn edit_message(
    State(gateway): State<Arc<GatewayState>>,
    caller: Sender,
    InRoomMessage(room, target): InRoomMessage,
    key: IdempotencyKey,
    request: Request,
) -> Result<Response, ApiError> {
    let (change, terms) = read(&gateway, request, key, EDIT_EXAMPLE).await?;
    let body = change.body.ok_or_else(|| {
        ApiError::BadRequest(format!(
            "'body' is missing: send a body like {EDIT_EXAMPLE}"
        ))
    })?;
    store(
        &gateway,
        &caller,
        room,
        terms,
        Action::Edit { target, body },
    )
    .await
}

/// Takes a message's body away everywhere; its place stays.
#[utoipa::path(delete, path = "/v1/rooms/{room}/messages/{offset}", tag = "Messages", params(("room" = shapes::RoomId, Path), ("offset" = shapes::Offset, Path), ("Idempotency-Key" = inline(Option<shapes::Nonce>), Header, description = "Counts as the nonce where none is given.")), responses((status = 200, description = "Stored.", body = shapes::Sent)))]
pub(crate) async fn delete_message(
    State(gateway): State<Arc<GatewayState>>,
    caller: Sender,
    InRoomMessage(room, target): InRoomMessage,
    key: IdempotencyKey,
    request: Request,
) -> Result<Response, ApiError> {
    let (_, terms) = read(&gateway, request, key, EXAMPLE).await?;
    store(&gateway, &caller, room, terms, Action::Delete { target }).await
}

/// Reacts to a message.
#[utoipa::path(put, path = "/v1/rooms/{room}/messages/{offset}/reactions/{key}", tag = "Messages", params(("room" = shapes::RoomId, Path), ("offset" = shapes::Offset, Path), ("key" = shapes::ReactionKey, Path), ("Idempotency-Key" = inline(Option<shapes::Nonce>), Header, description = "Counts as the nonce where none is given.")), responses((status = 200, description = "Stored.", body = shapes::Sent)))]
pub(crate) async fn add_reaction(
    State(gateway): State<Arc<GatewayState>>,
    caller: Sender,
    place: InRoomReaction,
    key: IdempotencyKey,
    request: Request,
) -> Result<Response, ApiError> {
    let (_, terms) = read(&gateway, request, key, EXAMPLE).await?;
    let (room, action) = place.into_action(true);
    store(&gateway, &caller, room, terms, action).await
}

/// Takes a reaction back.
#[utoipa::path(delete, path = "/v1/rooms/{room}/messages/{offset}/reactions/{key}", tag = "Messages", params(("room" = shapes::RoomId, Path), ("offset" = shapes::Offset, Path), ("key" = shapes::ReactionKey, Path), ("Idempotency-Key" = inline(Option<shapes::Nonce>), Header, description = "Counts as the nonce where none is given.")), responses((status = 200, description = "Stored.", body = shapes::Sent)))]
pub(crate) async fn remove_reaction(
    State(gateway): State<Arc<GatewayState>>,
    caller: Sender,
    place: InRoomReaction,
    key: IdempotencyKey,
    request: Request,
) -> Result<Response, ApiError> {
    let (_, terms) = read(&gateway, request, key, EXAMPLE).await?;
    let (room, action) = place.into_action(false);
    store(&gateway, &caller, room, terms, action).await
}

impl InRoomReaction {
    fn into_action(self, on: bool) -> (RoomId, Action) {
        let Self(room, target, key) = self;
        (room, Action::React { target, key, on })
    }
}

async fn read(
    gateway: &GatewayState,
    request: Request,
    key: IdempotencyKey,
    example: &str,
) -> Result<(Change, Terms), ApiError> {
    let limit = usize::try_from(gateway.limits().frame_bytes.as_u64()).unwrap_or(usize::MAX);
    let change: Option<Change> = read_json(gateway, request, limit, example).await?;
    let mut change = change.unwrap_or_default();
    let terms = Terms {
        nonce: change.nonce.take().or(key.nonce()),
        ack: change.ack,
    };
    Ok((change, terms))
}

async fn store(
    gateway: &GatewayState,
    caller: &Sender,
    room: RoomId,
    terms: Terms,
    action: Action,
) -> Result<Response, ApiError> {
    let post = Post {
        room,
        terms,
        action,
        address: None,
    };
    Ok(answer(&caller.post(gateway, post).await?, StatusCode::OK))
}
