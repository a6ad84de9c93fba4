//! Tables that may be repeated: `[[room]]`, `[[api_key]]` and `[[webhook]]`. They come from the file
//! alone.

use config::{Map, Value};
use hubbub_gateway::ApiKey;
use hubbub_node::RoomRule;
use hubbub_webhooks::Webhook;
use serde::de::DeserializeOwned;

use super::layers::{ConfigError, origin_of};

const ROOM: &str = "room";
const API_KEY: &str = "api_key";
const WEBHOOK: &str = "webhook";

/// What they say, in the order of the file.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) rooms: Vec<RoomRule>,
    pub(super) api_keys: Vec<ApiKey>,
    pub(super) webhooks: Vec<Webhook>,
}

impl Tables {
    /// Takes them out of what was read.
    pub(super) fn take(read: &mut Map<String, Value>) -> Result<Self, ConfigError> {
        let mut take = |name| read.remove(name);
        Ok(Self {
            rooms: take(ROOM).map_or(Ok(Vec::new()), read_rooms)?,
            api_keys: take(API_KEY).map_or(Ok(Vec::new()), read_api_keys)?,
            webhooks: take(WEBHOOK).map_or(Ok(Vec::new()), |value| read_all(WEBHOOK, value))?,
        })
    }
}

fn read_rooms(value: Value) -> Result<Vec<RoomRule>, ConfigError> {
    let origin = origin_of(&value);
    let rooms: Vec<RoomRule> = read_all(ROOM, value)?;
    for room in &rooms {
        let checked = room.check();
        checked.map_err(|expected| bad(ROOM, "a table", origin.clone(), expected))?;
    }
    Ok(rooms)
}

/// What is wrong with a key's table is said without the table: it holds the key.
fn read_api_keys(value: Value) -> Result<Vec<ApiKey>, ConfigError> {
    let origin = origin_of(&value);
    value.try_deserialize().map_err(|_| {
        let expected = "name = \"…\", key = \"…\" and rooms = { \"PATTERN\" = \"rwmp\" }";
        bad(API_KEY, "(hidden)", origin, expected.to_owned())
    })
}

/// An error of the reader names a key, never a secret.
fn read_all<T: DeserializeOwned>(name: &str, value: Value) -> Result<Vec<T>, ConfigError> {
    let origin = origin_of(&value);
    value
        .try_deserialize()
        .map_err(|error| bad(name, "a table", origin, format!("another one: {error}")))
}

fn bad(name: &str, value: &str, origin: String, expected: String) -> ConfigError {
    ConfigError::BadValue {
        key: format!("[[{name}]]"),
        value: value.to_owned(),
        origin,
        expected,
    }
}
