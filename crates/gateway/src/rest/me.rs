//! `GET /v1/me`: who the server takes the caller for.

use axum::Json;
use axum::response::{IntoResponse, Response};
use hubbub_node::RoomGrants;
use hubbub_protocol::User;
use serde::Serialize;

use super::caller::Caller;

#[derive(Debug, Serialize)]
struct Me {
    user: User,
    /// The token's grants; absent: every room that is not private, read and write.
    #[serde(skip_serializing_if = "Option::is_none")]
    rooms: Option<RoomGrants>,
}

pub(crate) async fn get_me(caller: Caller) -> Response {
    let me = Me {
        user: caller.identity.user,
        rooms: caller.identity.rooms,
    };
    Json(me).into_response()
}
