//! Tables that may be repeated: `[[room]]`, `[[api_key]]` and `[[webhook]]`. They come from the file
//! alone.

use config::{Map, Value, ValueKind};
use hubbub_gateway::ApiKey;
use hubbub_node::RoomRule;
use hubbub_webhooks::Webhook;
use serde::de::DeserializeOwned;

use super::error::ConfigError;
use super::origin::origin_of;

const ROOM: &str = "room";
const API_KEY: &str = "api_key";
const WEBHOOK: &str = "webhook";
/// All of them.
pub(super) const NAMES: [&str; 3] = [ROOM, API_KEY, WEBHOOK];

/// The contents of the tables, in the order of the file.
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
    let rooms: Vec<RoomRule> = read_all(ROOM, value, |problem| problem)?;
    for (index, room) in rooms.iter().enumerate() {
        let checked = room.check();
        checked.map_err(|expected| {
            let problem = format!("expected {expected}");
            bad(ROOM, index, &origin, problem)
        })?;
    }
    Ok(rooms)
}

/// Errors in a key's table do not show the table, because it holds the key.
fn read_api_keys(value: Value) -> Result<Vec<ApiKey>, ConfigError> {
    read_all(API_KEY, value, |_| {
        "expected name = \"…\", key = \"…\" and rooms = { \"PATTERN\" = \"rwmp\" }".to_owned()
    })
}

/// An error about a value shows it, and it may be the secret; the others name a key only.
fn read_webhooks(value: Value) -> Result<Vec<Webhook>, ConfigError> {
    read_all(WEBHOOK, value, |problem| {
        if problem.contains("invalid type") || problem.contains("invalid value") {
            "expected url = \"…\", secret = \"…\" and the like".to_owned()
        } else {
            problem
        }
    })
}

/// Reads one table after the other. `told` says what is told of what is wrong with one.
fn read_all<T: DeserializeOwned>(
    name: &'static str,
    value: Value,
    told: impl Fn(String) -> String,
) -> Result<Vec<T>, ConfigError> {
    let origin = origin_of(&value);
    let ValueKind::Array(tables) = value.kind else {
        return Err(ConfigError::NoTables { name, origin });
    };
    let read = |(index, table): (usize, Value)| {
        // The settings file stands in front of the problem.
        let table = Value::new(None, table.kind);
        table
            .try_deserialize()
            .map_err(|error| bad(name, index, &origin, told(error.to_string())))
    };
    tables.into_iter().enumerate().map(read).collect()
}

fn bad(name: &'static str, index: usize, origin: &str, problem: String) -> ConfigError {
    ConfigError::BadTable {
        name,
        number: index + 1,
        origin: origin.to_owned(),
        problem,
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
