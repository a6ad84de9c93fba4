//! The claims of tokens: those that are read, and those that are written into tokens made here.

use hubbub_node::RoomGrants;
use serde::{Deserialize, Deserializer, Serialize};

/// The claims about a token's user; `iss`, `aud` and `nbf` are checked elsewhere. A claim that is
/// there twice is an error.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    pub(super) sub: String,
    pub(super) name: Option<String>,
    pub(super) exp: Moment,
    pub(super) iat: Option<Moment>,
    pub(super) jti: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(super) rooms: Option<RoomGrants>,
    #[serde(default)]
    pub(super) guest: bool,
}

/// `null` is no claim, and must not mean all rooms.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<RoomGrants>, D::Error> {
    RoomGrants::deserialize(deserializer).map(Some)
}

/// Seconds since 1970, whole or not.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "f64")]
pub(super) struct Moment(f64);

impl Moment {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked when it is made"
    )]
    pub(super) fn as_millis(self) -> u64 {
        (self.0 * 1_000.0) as u64
    }
}

impl TryFrom<f64> for Moment {
    type Error = &'static str;

    fn try_from(seconds: f64) -> Result<Self, Self::Error> {
        // The year 9999.
        if (0.0..=253_402_300_799.0).contains(&seconds) {
            Ok(Self(seconds))
        } else {
            Err("a time is a number of seconds since 1970")
        }
    }
}

/// A token that is made here.
#[derive(Serialize)]
pub(super) struct NewClaims<'a> {
    pub(super) sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rooms: Option<&'a RoomGrants>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) guest: bool,
    pub(super) jti: &'a str,
    pub(super) iat: u64,
    pub(super) exp: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) iss: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) aud: &'a str,
}
