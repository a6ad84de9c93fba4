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
            webhooks: take(WEBHOOK).map_or(Ok(Vec::new()), read_webhooks)?,
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

/// An error about a value shows it, and it may be the secret; the others name a key only.
fn read_webhooks(value: Value) -> Result<Vec<Webhook>, ConfigError> {
    let origin = origin_of(&value);
    read_all(WEBHOOK, value).map_err(|error| match error.to_string() {
        told if told.contains("invalid type") || told.contains("invalid value") => {
            let expected = "url = \"…\", secret = \"…\" and the like, in a settings file";
            bad(WEBHOOK, "(hidden)", origin, expected.to_owned())
        }
        _ => error,
    })
}

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

#[cfg(test)]
mod tests {
    use super::super::env::tests::from_pairs;

    #[test]
    fn a_webhook_that_is_none_is_not_shown() {
        let value = "https://hooks.example/very-secret";
        let error = from_pairs(&[("HUBBUB__WEBHOOK", value)]).unwrap_err();
        let told = error.to_string();
        assert!(
            told.contains("[[webhook]]") && !told.contains(value),
            "{told}"
        );
    }
}
