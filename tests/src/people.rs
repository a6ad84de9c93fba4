//! People with names of their own, instead of guests: they hold tokens signed with one secret.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::process::Setting;
use crate::raw::Raw;

/// `auth.secret` of clusters that people come to.
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// The setting that says so.
pub const SIGNED: Setting<'_> = ("auth.secret", SECRET);

/// Seconds since 1970.
///
/// # Panics
/// When the clock is before that.
#[must_use]
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("a clock after 1970").as_secs()
}

/// A token for this user, with further claims.
///
/// # Panics
/// When the claims are no object.
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
    /// This user's connection to a node of a cluster that is [`SIGNED`].
    pub async fn user(&self, number: usize, user: &str) -> Raw {
        Raw::connect_as(self.address(number), &token(user)).await
    }

    /// The same, with rights of its own.
    pub async fn user_with(&self, number: usize, user: &str, claims: &Value) -> Raw {
        Raw::connect_as(self.address(number), &token_with(user, claims)).await
    }
}

impl Raw {
    /// Sends a message; its offset.
    ///
    /// # Panics
    /// When it is not stored.
    pub async fn say(&mut self, room: &str, text: &str) -> u64 {
        let send = json!({"type": "send", "room": room, "body": {"text": text}});
        let sent = self.ask(send).await;
        sent["offset"].as_u64().unwrap_or_else(|| panic!("{sent}"))
    }

    /// The error code of what is asked.
    ///
    /// # Panics
    /// When there is none.
    pub async fn refused(&mut self, command: Value) -> String {
        let error = self.ask(command).await;
        assert_eq!(error["type"], "error", "{error}");
        error["code"].as_str().expect("a code").to_owned()
    }

    /// The newest messages of a room, oldest first.
    ///
    /// # Panics
    /// When they cannot be had.
    pub async fn history(&mut self, room: &str) -> Vec<Value> {
        let page = self.ask(json!({"type": "history", "room": room})).await;
        let events = page["events"].as_array();
        events.unwrap_or_else(|| panic!("{page}")).clone()
    }
}
