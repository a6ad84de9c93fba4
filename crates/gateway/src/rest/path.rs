//! The names in an address.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use hubbub_protocol::{RoomId, UserId};
use serde::de::DeserializeOwned;

use crate::error::ApiError;

/// `/v1/rooms/{room}` and what is below it.
#[derive(Debug)]
pub(crate) struct InRoom(pub(super) RoomId);

/// `/v1/rooms/{room}/members/{user}`.
#[derive(Debug)]
pub(crate) struct InRoomUser(pub(super) RoomId, pub(super) UserId);

impl<S: Send + Sync> FromRequestParts<S> for InRoom {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let room: String = names(parts, state).await?;
        Ok(Self(RoomId::new(&room).map_err(ApiError::Room)?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for InRoomUser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let (room, user): (String, String) = names(parts, state).await?;
        Ok(Self(
            RoomId::new(&room).map_err(ApiError::Room)?,
            user_id(&user)?,
        ))
    }
}

pub(super) fn user_id(user: &str) -> Result<UserId, ApiError> {
    UserId::new(user).map_err(|error| ApiError::BadRequest(error.to_string()))
}

async fn names<S, T>(parts: &mut Parts, state: &S) -> Result<T, ApiError>
where
    S: Send + Sync,
    T: DeserializeOwned + Send,
{
    let path = Path::<T>::from_request_parts(parts, state).await;
    let Path(names) = path.map_err(|error| ApiError::BadRequest(error.body_text()))?;
    Ok(names)
}
