//! The names in an address.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use hubbub_protocol::id::OFFSET_LIMIT;
use hubbub_protocol::{ReactionKey, RoomId, UserId};
use serde::de::DeserializeOwned;

use crate::error::ApiError;

/// `/v1/rooms/{room}` and what is below it.
#[derive(Debug)]
pub(crate) struct InRoom(pub(crate) RoomId);

/// `/v1/rooms/{room}/members/{user}`.
#[derive(Debug)]
pub(crate) struct InRoomUser(pub(crate) RoomId, pub(crate) UserId);

/// `/v1/rooms/{room}/messages/{offset}`.
#[derive(Debug)]
pub(crate) struct InRoomMessage(pub(crate) RoomId, pub(crate) u64);

/// `/v1/rooms/{room}/messages/{offset}/reactions/{key}`.
#[derive(Debug)]
pub(crate) struct InRoomReaction(pub(crate) RoomId, pub(crate) u64, pub(crate) ReactionKey);

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

impl<S: Send + Sync> FromRequestParts<S> for InRoomMessage {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let (room, offset): (String, String) = names(parts, state).await?;
        let room = RoomId::new(&room).map_err(ApiError::Room)?;
        Ok(Self(room, message(&offset)?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for InRoomReaction {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let (room, offset, key): (String, String, String) = names(parts, state).await?;
        let room = RoomId::new(&room).map_err(ApiError::Room)?;
        let key = ReactionKey::new(&key);
        let key = key.map_err(|error| ApiError::BadRequest(error.to_string()))?;
        Ok(Self(room, message(&offset)?, key))
    }
}

/// A message's number.
fn message(offset: &str) -> Result<u64, ApiError> {
    let is_number = offset.bytes().all(|byte| byte.is_ascii_digit());
    let number = offset.parse().ok().filter(|_| is_number);
    number
        .filter(|number| *number < OFFSET_LIMIT)
        .ok_or_else(|| {
            ApiError::BadRequest("a message is named by its offset, a whole number".to_owned())
        })
}

pub(crate) fn user_id(user: &str) -> Result<UserId, ApiError> {
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
