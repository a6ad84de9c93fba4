//! `/v1/rooms/{room}/members`: who is there, and who may be there.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use hubbub_node::CommandError;
use hubbub_protocol::{RoomId, User, UserId};
use serde::{Deserialize, Serialize};

use super::body::read_json;
use super::caller::Caller;
use super::path::{InRoom, InRoomUser};
use super::rooms::of_record;
use crate::error::{ApiError, StateProblem};
use crate::openapi::shapes;
use crate::paid;
use crate::state::GatewayState;

/// A user id needs no more.
const MAX_BODY_BYTES: usize = 4 * 1024;
const EXAMPLE: &str = r#"{"user":"bob"}"#;

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Members {
    #[schema(value_type = shapes::RoomId)]
    room: RoomId,
    /// Users present.
    count: u64,
    /// The users; empty above `limits.presence_list`.
    #[schema(value_type = Vec<shapes::User>)]
    members: Vec<User>,
    /// Of a private room: who may join it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<shapes::UserId>>, nullable = false)]
    invited: Option<Vec<UserId>>,
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
struct Invitation {
    #[schema(value_type = shapes::UserId)]
    user: UserId,
}

/// The users in a room, and of a private one its members.
#[utoipa::path(get, path = "/v1/rooms/{room}/members", tag = "Rooms", params(("room" = shapes::RoomId, Path)), responses((status = 200, description = "The members.", body = Members)))]
pub(crate) async fn list_members(
    State(gateway): State<Arc<GatewayState>>,
    caller: Caller,
    InRoom(room): InRoom,
) -> Result<Response, ApiError> {
    let (node, identity) = (&gateway.node, &caller.identity);
    let reservation = caller.reserve(node.cost_of_list()).await?;
    let presence = node.members(identity, &room).await?;
    let invited = node.invited(identity, &room).await?;
    let members = Members {
        room,
        count: presence.count,
        members: presence.members,
        invited,
    };
    paid::value(&members, reservation)
}

/// Makes a user a member of a room.
#[utoipa::path(post, path = "/v1/rooms/{room}/members", tag = "Rooms", params(("room" = shapes::RoomId, Path)), request_body = Invitation, responses((status = 204, description = "May join now.")))]
pub(crate) async fn invite_member(
    State(gateway): State<Arc<GatewayState>>,
    caller: Caller,
    InRoom(room): InRoom,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let invitation = read_json(&gateway, request, MAX_BODY_BYTES, EXAMPLE).await?;
    let Some(Invitation { user }) = invitation else {
        return Err(ApiError::BadRequest(format!("send a body like {EXAMPLE}")));
    };
    let (node, identity) = (Arc::clone(&gateway.node), caller.identity.clone());
    let invite = async move { node.invite(&identity, &room, &user).await };
    caller.change(invite).await.map_err(of_record)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a user's place in a private room away.
#[utoipa::path(delete, path = "/v1/rooms/{room}/members/{user}", tag = "Rooms", params(("room" = shapes::RoomId, Path), ("user" = shapes::UserId, Path)), responses((status = 204, description = "Is out.")))]
pub(crate) async fn remove_member(
    State(gateway): State<Arc<GatewayState>>,
    caller: Caller,
    InRoomUser(room, user): InRoomUser,
) -> Result<StatusCode, ApiError> {
    let (node, identity) = (Arc::clone(&gateway.node), caller.identity.clone());
    let remove = async move { node.remove_member(&identity, &room, &user).await };
    match caller.change(remove).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(CommandError::NotFound) => Err(ApiError::State(
            StateProblem::Missing,
            "no such member, or the room has no record",
        )),
        Err(error) => Err(error.into()),
    }
}
