//! Users with their own names, not guests. They hold tokens signed with one secret.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::process::Setting;
use crate::raw::Raw;

/// The value of `auth.secret` in clusters with users.
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// The setting with this secret.
pub const SIGNED: Setting<'_> = ("auth.secret", SECRET);

/// Seconds since 1970.
///
/// # Panics
/// Panics if the clock is before 1970.
#[must_use]
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("a clock after 1970").as_secs()
}

/// A token for this user with additional claims.
///
/// # Panics
/// Panics if the claims are not an object.
#[must_use]
pub fn token_with(user: &str, more: &Value) -> String {
    let mut claims = json!({"sub": user, "name": user.to_uppercase(), "exp": now() + 3600});
    for (name, value) in more.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::default(), &claims, &key).expect("the claims can be signed")
}

/// A token for this user.
#[must_use]
pub fn token(user: &str) -> String {
    token_with(user, &json!({}))
}

impl Cluster {
    /// Connects as this user to a node of a cluster with the setting [`SIGNED`].
    pub async fn user(&self, number: usize, user: &str) -> Raw {
        Raw::connect_as(self.address(number), &token(user)).await
    }

    /// The same with additional claims.
    pub async fn user_with(&self, number: usize, user: &str, claims: &Value) -> Raw {
        Raw::connect_as(self.address(number), &token_with(user, claims)).await
    }
}

impl Raw {
    /// Sends a message. Returns its offset.
    ///
    /// # Panics
    /// Panics if the message is not stored.
    pub async fn say(&mut self, room: &str, text: &str) -> u64 {
        let send = json!({"type": "send", "room": room, "body": {"text": text}});
        let sent = self.ask(send).await;
        sent["offset"].as_u64().unwrap_or_else(|| panic!("{sent}"))
    }

    /// Sends a command that must be refused. Returns the error code.
    ///
    /// # Panics
    /// Panics if the command is not refused.
    pub async fn refused(&mut self, command: Value) -> String {
        let error = self.ask(command).await;
        assert_eq!(error["type"], "error", "{error}");
        error["code"].as_str().expect("a code").to_owned()
    }

    /// The newest messages of a room, oldest first.
    ///
    /// # Panics
    /// Panics if the history cannot be read.
    pub async fn history(&mut self, room: &str) -> Vec<Value> {
        let page = self.ask(json!({"type": "history", "room": room})).await;
        let events = page["events"].as_array();
        events.unwrap_or_else(|| panic!("{page}")).clone()
    }
}
