//! `/v1/rooms`: the public rooms and one's own, and the records of rooms.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use hubbub_node::{Amount, CommandError, NewRoom, RoomChange};
use hubbub_protocol::frame::RoomEntry;
use hubbub_protocol::{MessageId, RoomId, User, UserId};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::body::read_json;
use super::caller::Caller;
use super::path::InRoom;
use crate::auth::name::turns_or_controls;
use crate::error::{ApiError, StateProblem};
use crate::openapi::shapes;
use crate::paid;
use crate::state::GatewayState;

/// A record's parts together, with room for escapes.
const MAX_BODY_BYTES: usize = 64 * 1024;
const MAX_TITLE_CHARS: usize = 200;
const MAX_TOPIC_CHARS: usize = 1_000;
const MAX_SETTINGS_BYTES: usize = 4 * 1024;
/// Members of a new room; others are invited one by one.
const MAX_MEMBERS: usize = 100;
const EXAMPLE: &str = r#"{"room":"team-a","title":"Team A","private":true,"members":["bob"]}"#;
const CHANGE_EXAMPLE: &str = r#"{"title":"Team A","topic":"…","private":true,"settings":{}}"#;

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Rooms {
    #[schema(value_type = Vec<shapes::RoomEntry>)]
    rooms: Vec<RoomEntry>,
}

/// A room as it is asked for.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(default)]
#[schema(as = NewRoom)]
struct Wanted {
    /// Made up where it is missing.
    #[schema(value_type = Option<shapes::RoomId>)]
    room: Option<String>,
    #[schema(value_type = Option<shapes::Title>)]
    title: Option<String>,
    #[schema(value_type = Option<shapes::Topic>)]
    topic: Option<String>,
    /// Only its members may join.
    private: Option<bool>,
    #[schema(value_type = Option<Vec<shapes::UserId>>, max_items = 100)]
    members: Option<Vec<UserId>>,
    settings: Option<Map<String, Value>>,
}

/// A change of a record; `null` removes a text or the settings.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(default)]
#[schema(as = RoomChange)]
struct Change {
    #[serde(deserialize_with = "or_default")]
    #[schema(value_type = Option<shapes::Title>)]
    title: Option<String>,
    #[serde(deserialize_with = "or_default")]
    #[schema(value_type = Option<shapes::Topic>)]
    topic: Option<String>,
    private: Option<bool>,
    #[serde(deserialize_with = "or_default")]
    settings: Option<Map<String, Value>>,
}

/// A field that is there: `null` is the empty value.
fn or_default<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    let value = Option::<T>::deserialize(deserializer)?;
    Ok(Some(value.unwrap_or_default()))
}

/// The public rooms and the caller's own.
#[utoipa::path(get, path = "/v1/rooms", tag = "Rooms", responses((status = 200, description = "The rooms.", body = Rooms)))]
pub(crate) async fn list_rooms(
    State(gateway): State<Arc<GatewayState>>,
    caller: Caller,
) -> Result<Response, ApiError> {
    let reservation = caller.reserve(gateway.node.cost_of_list()).await?;
    let rooms = gateway.node.rooms(&caller.identity, &reservation).await?;
    paid::value(&Rooms { rooms }, reservation)
}

/// The record of a room.
#[utoipa::path(get, path = "/v1/rooms/{room}", tag = "Rooms", params(("room" = shapes::RoomId, Path)), responses((status = 200, description = "Its record.", body = shapes::Record)))]
pub(crate) async fn get_room(
    State(gateway): State<Arc<GatewayState>>,
    caller: Caller,
    InRoom(room): InRoom,
) -> Result<Response, ApiError> {
    let _reservation = caller.reserve(Amount::read(0)).await?;
    let record = gateway.node.record(&caller.identity, &room).await;
    Ok(Json(record.map_err(of_record)?).into_response())
}

/// Makes a room's record; without a name the room gets one.
#[utoipa::path(post, path = "/v1/rooms", tag = "Rooms", request_body = Option<Wanted>, responses((status = 201, description = "Made.", body = shapes::Record, headers(("Location" = String)))))]
pub(crate) async fn create_room(
    State(gateway): State<Arc<GatewayState>>,
    caller: Caller,
    request: Request,
) -> Result<Response, ApiError> {
    let wanted: Option<Wanted> = read_json(&gateway, request, MAX_BODY_BYTES, EXAMPLE).await?;
    let new = wanted
        .unwrap_or_default()
        .into_new(caller.identity.user.clone())?;
    let location = format!("/v1/rooms/{}", new.room);
    let (node, identity) = (Arc::clone(&gateway.node), caller.identity.clone());
    let address = caller.address();
    let create = async move { node.create_room(&identity, address, &new).await };
    let record = caller.change(create).await.map_err(of_record)?;
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(record)).into_response())
}

/// Changes what is known of a room; what is not named stays.
#[utoipa::path(patch, path = "/v1/rooms/{room}", tag = "Rooms", params(("room" = shapes::RoomId, Path)), request_body = Option<Change>, responses((status = 200, description = "As it is now.", body = shapes::Record)))]
pub(crate) async fn change_room(
    State(gateway): State<Arc<GatewayState>>,
    caller: Caller,
    InRoom(room): InRoom,
    request: Request,
) -> Result<Response, ApiError> {
    let change: Option<Change> =
        read_json(&gateway, request, MAX_BODY_BYTES, CHANGE_EXAMPLE).await?;
    let change = change.unwrap_or_default().into_change()?;
    let (node, identity) = (Arc::clone(&gateway.node), caller.identity.clone());
    let update = async move { node.change_room(&identity, &room, &change).await };
    let record = caller.change(update).await.map_err(of_record)?;
    Ok(Json(record).into_response())
}

/// The words of the chat's own errors are about messages.
pub(super) fn of_record(error: CommandError) -> ApiError {
    match error {
        CommandError::NotFound => ApiError::State(
            StateProblem::Missing,
            "this room has no record: POST /v1/rooms makes one",
        ),
        CommandError::Conflict => ApiError::State(
            StateProblem::Conflict,
            "the room exists already: it has a record, or is to be private after people have \
             spoken in it",
        ),
        other => other.into(),
    }
}

impl Wanted {
    fn into_new(self, created_by: User) -> Result<NewRoom, ApiError> {
        let room = match &self.room {
            Some(room) => RoomId::new(room).map_err(ApiError::Room)?,
            None => made_up_name(),
        };
        let members = self.members.unwrap_or_default();
        if members.len() > MAX_MEMBERS {
            let most = format!("'members' may name {MAX_MEMBERS} users, invite the others later");
            return Err(ApiError::BadRequest(most));
        }
        Ok(NewRoom {
            room,
            title: check_text("title", self.title, MAX_TITLE_CHARS)?,
            topic: check_text("topic", self.topic, MAX_TOPIC_CHARS)?,
            private: self.private.unwrap_or_default(),
            created_by,
            members,
            settings: check_settings(self.settings)?.unwrap_or_default(),
        })
    }
}

impl Change {
    fn into_change(self) -> Result<RoomChange, ApiError> {
        Ok(RoomChange {
            title: check_text("title", self.title, MAX_TITLE_CHARS)?,
            topic: check_text("topic", self.topic, MAX_TOPIC_CHARS)?,
            private: self.private,
            settings: check_settings(self.settings)?,
        })
    }
}

fn made_up_name() -> RoomId {
    let name = format!("room-{}", MessageId::generate().as_str().to_lowercase());
    RoomId::new(&name).expect("letters, digits and a dash are a valid room id")
}

fn check_text(name: &str, text: Option<String>, most: usize) -> Result<Option<String>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let text = text.trim();
    if text.chars().count() > most || text.chars().any(turns_or_controls) {
        return Err(ApiError::BadRequest(format!(
            "'{name}' may have {most} characters and no control characters"
        )));
    }
    Ok(Some(text.to_owned()))
}

fn check_settings(
    settings: Option<Map<String, Value>>,
) -> Result<Option<Map<String, Value>>, ApiError> {
    let Some(settings) = settings else {
        return Ok(None);
    };
    let bytes = serde_json::to_vec(&settings).map_or(usize::MAX, |json| json.len());
    if bytes <= MAX_SETTINGS_BYTES {
        Ok(Some(settings))
    } else {
        Err(ApiError::TooLarge(MAX_SETTINGS_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> User {
        User {
            id: UserId::new("alice").unwrap(),
            name: "Alice".into(),
        }
    }

    fn new(json: &str) -> Result<NewRoom, ApiError> {
        serde_json::from_str::<Wanted>(json)
            .unwrap()
            .into_new(user())
    }

    #[test]
    fn a_room_may_say_nothing_of_itself() {
        let (a, b) = (new("{}").unwrap(), new("{}").unwrap());
        assert_ne!(a.room, b.room);
        assert!(!a.private && a.title.is_none() && a.members.is_empty());
        let new = new(r#"{"room":"r","title":" T ","private":true,"members":["bob"],"x":1}"#);
        let new = new.unwrap();
        assert_eq!((new.title.as_deref(), new.private), (Some("T"), true));
    }

    #[test]
    fn parts_have_limits() {
        let long = |name, count| format!(r#"{{"{name}":"{}"}}"#, "ä".repeat(count));
        assert!(new(&long("title", 200)).is_ok() && new(&long("topic", 1_000)).is_ok());
        let members = |count: usize| {
            let names: Vec<String> = (0..count).map(|number| format!("\"u{number}\"")).collect();
            format!(r#"{{"members":[{}]}}"#, names.join(","))
        };
        assert!(new(&members(100)).is_ok());
        let settings = |bytes: usize| format!(r#"{{"settings":{{"a":"{}"}}}}"#, "b".repeat(bytes));
        assert!(new(&settings(4_088)).is_ok());
        for bad in [
            &long("title", 201),
            &long("topic", 1_001),
            r#"{"title":"a\nb"}"#,
            r#"{"topic":"\u202eevil"}"#,
            r#"{"room":"a b"}"#,
            r#"{"room":""}"#,
            &members(101),
            &settings(4_089),
        ] {
            assert!(new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn null_takes_away_and_nothing_leaves_as_it_is() {
        let change = |json: &str| serde_json::from_str::<Change>(json).unwrap().into_change();
        assert_eq!(change("{}").unwrap(), RoomChange::default());
        let change = change(r#"{"title":null,"topic":"T","private":null,"settings":null}"#);
        let change = change.unwrap();
        assert_eq!(change.title.as_deref(), Some(""));
        assert_eq!(change.topic.as_deref(), Some("T"));
        assert_eq!((change.private, change.settings), (None, Some(Map::new())));
    }
}
