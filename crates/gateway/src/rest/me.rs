//! `GET /v1/me`: who the server takes the caller for.

use axum::Json;
use axum::response::{IntoResponse, Response};
use hubbub_node::RoomGrants;
use hubbub_protocol::User;
use serde::Serialize;

use super::caller::Caller;
use crate::openapi::shapes;

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Me {
    #[schema(value_type = shapes::User)]
    user: User,
    /// The token's grants; absent: every room that is not private, read and write.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = HashMap<String, String>, nullable = false)]
    rooms: Option<RoomGrants>,
}

/// The user that the server takes the caller for.
#[utoipa::path(get, path = "/v1/me", tag = "Callers", responses((status = 200, description = "The caller.", body = Me)))]
pub(crate) async fn get_me(caller: Caller) -> Response {
    let me = Me {
        user: caller.identity.user,
        rooms: caller.identity.rooms,
    };
    Json(me).into_response()
}
