//! The bodies of operators' requests.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use hubbub_protocol::{RoomId, Subject, Tokens, UserId};
use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

use crate::address::canonical;
use crate::error::ApiError;

/// No larger network is banned: it is a slip.
const LARGEST_NETWORKS: (u8, u8) = (8, 19);
/// An IPv6 address stands for what one subscriber owns, as in the limits.
const SUBSCRIBER: u8 = 64;
const MAX_REASON_CHARS: usize = 500;
const MAX_TEXT_CHARS: usize = 2_000;
const MAX_TOKEN_ID_BYTES: usize = 256;
/// A user who was kicked out of a room stays out so long, unless the operator says how long.
const KICK: Duration = Duration::from_secs(60);
/// The longest life of a rule: beyond, it is to be without an end.
const MAX_TTL: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

/// `POST /admin/kick`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kick {
    pub(super) user: UserId,
    pub(super) room: Option<RoomId>,
    ttl: Option<Ttl>,
}

/// `POST` and `DELETE /admin/ban`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ban {
    user: Option<UserId>,
    address: Option<String>,
    pub(super) ttl: Option<Ttl>,
    pub(super) reason: Option<String>,
}

/// `POST` and `DELETE /admin/mute`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mute {
    pub(super) user: UserId,
    pub(super) room: RoomId,
    pub(super) ttl: Option<Ttl>,
    pub(super) reason: Option<String>,
}

/// `POST` and `DELETE /admin/revoke`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Revoke {
    user: Option<UserId>,
    token: Option<String>,
    pub(super) ttl: Option<Ttl>,
}

/// `POST /admin/announce`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Announce {
    pub(super) room: Option<RoomId>,
    pub(super) text: String,
}

/// How long a rule holds: seconds, or such as `"1h 30m"`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ttl(pub(super) Duration);

impl<'de> Deserialize<'de> for Ttl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Duration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("seconds, or a duration such as \"1h\"")
            }

            fn visit_u64<E>(self, seconds: u64) -> Result<Duration, E> {
                Ok(Duration::from_secs(seconds))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Duration, E> {
                humantime::parse_duration(text).map_err(E::custom)
            }
        }
        let ttl = deserializer.deserialize_any(Visitor)?;
        if ttl >= Duration::from_secs(1) && ttl <= MAX_TTL {
            Ok(Self(ttl))
        } else {
            Err(serde::de::Error::custom("ttl must be 1 s to 10 years"))
        }
    }
}

impl Kick {
    /// How long the user is kept out of the room.
    pub(super) fn life(&self) -> Result<Option<Duration>, ApiError> {
        match (&self.room, self.ttl) {
            (Some(_), ttl) => Ok(Some(ttl.map_or(KICK, |ttl| ttl.0))),
            (None, None) => Ok(None),
            (None, Some(_)) => Err(bad(
                "'ttl' goes with 'room'; who is to stay out of everything is banned",
            )),
        }
    }
}

impl Ban {
    pub(super) fn subject(&self) -> Result<Subject, ApiError> {
        match (&self.user, &self.address) {
            (Some(user), None) => Ok(Subject::User(user.clone())),
            (None, Some(address)) => network(address).map(Subject::Address),
            (Some(_), Some(_)) | (None, None) => Err(bad("give 'user' or 'address'")),
        }
    }
}

impl Revoke {
    pub(super) fn tokens(&self) -> Result<Tokens, ApiError> {
        match (&self.user, &self.token) {
            (Some(user), None) => Ok(Tokens::Of(user.clone())),
            (None, Some(token)) => {
                let is_id = (1..=MAX_TOKEN_ID_BYTES).contains(&token.len())
                    && !token.chars().any(char::is_control);
                if is_id {
                    Ok(Tokens::Id(token.clone()))
                } else {
                    Err(bad(
                        "'token' is a token's id, its claim jti: 1 to 256 bytes",
                    ))
                }
            }
            (Some(_), Some(_)) | (None, None) => Err(bad("give 'user' or 'token'")),
        }
    }
}

/// One address, or a network of them.
fn network(text: &str) -> Result<IpNet, ApiError> {
    let wrong = || bad("'address' must be like 192.0.2.7, 192.0.2.0/24 or 2001:db8::/48");
    let net = match text.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(address @ IpAddr::V4(_)) => IpNet::from(address),
        Ok(address @ IpAddr::V6(_)) => IpNet::new(address, SUBSCRIBER).map_err(|_| wrong())?,
        Err(_) => canonical(text.parse().map_err(|_| wrong())?),
    };
    let least = match net {
        IpNet::V4(_) => LARGEST_NETWORKS.0,
        IpNet::V6(_) => LARGEST_NETWORKS.1,
    };
    if net.prefix_len() >= least {
        Ok(net.trunc())
    } else {
        Err(bad(
            "'address' is too large a network: IPv4 from /8, IPv6 from /19",
        ))
    }
}

pub(super) fn check_reason(reason: Option<String>) -> Result<Option<String>, ApiError> {
    let Some(reason) = reason else {
        return Ok(None);
    };
    check("reason", &reason, MAX_REASON_CHARS)?;
    Ok(Some(reason))
}

pub(super) fn check_text(text: &str) -> Result<(), ApiError> {
    check("text", text, MAX_TEXT_CHARS)?;
    if text.trim().is_empty() {
        Err(bad("'text' is empty"))
    } else {
        Ok(())
    }
}

fn check(name: &str, text: &str, most: usize) -> Result<(), ApiError> {
    let is_odd = |c: char| c.is_control() && c != '\n';
    if text.chars().count() > most || text.chars().any(is_odd) {
        Err(ApiError::BadRequest(format!(
            "'{name}' may have {most} characters and no control characters"
        )))
    } else {
        Ok(())
    }
}

fn bad(why: &str) -> ApiError {
    ApiError::BadRequest(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_or_a_network_and_not_the_world() {
        let net = |text: &str| network(text).map(|net| net.to_string()).ok();
        assert_eq!(net("192.0.2.7").as_deref(), Some("192.0.2.7/32"));
        assert_eq!(net("::ffff:192.0.2.7").as_deref(), Some("192.0.2.7/32"));
        assert_eq!(net("::ffff:10.1.2.3/104").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(net("2001:db8::7").as_deref(), Some("2001:db8::/64"));
        assert_eq!(net("10.1.2.3/8").as_deref(), Some("10.0.0.0/8"));
        for bad in [
            "",
            "0.0.0.0/0",
            "::/0",
            "10.0.0.0/7",
            "host",
            "1.2.3",
            "*",
            "1.2.3.4/33",
        ] {
            assert_eq!(net(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_life_is_seconds_or_words() {
        let ttl = |json: &str| {
            serde_json::from_str::<Ttl>(json)
                .map(|ttl| ttl.0.as_secs())
                .ok()
        };
        assert_eq!((ttl("60"), ttl("\"1h 30m\"")), (Some(60), Some(5_400)));
        for bad in ["0", "-1", "1.5", "\"soon\"", "\"100ms\"", "\"1000y\"", "{}"] {
            assert_eq!(ttl(bad), None, "{bad}");
        }
    }

    #[test]
    fn one_thing_is_named() {
        let ban = |json: &str| serde_json::from_str::<Ban>(json).unwrap().subject();
        assert!(ban(r#"{"user":"eve"}"#).is_ok() && ban(r#"{"address":"10.0.0.1"}"#).is_ok());
        assert!(ban("{}").is_err() && ban(r#"{"user":"eve","address":"10.0.0.1"}"#).is_err());
        assert!(serde_json::from_str::<Ban>(r#"{"usr":"eve"}"#).is_err());
    }
}
