//! Names and numbers that identify things: checked when made, cheap to clone.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

/// Why a string is no valid id. The text names the rule, for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {rule}")]
pub struct InvalidId {
    what: &'static str,
    rule: &'static str,
}

macro_rules! string_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and keeps `value`.
            ///
            /// # Errors
            /// [`InvalidId`] with the rule that `value` breaks.
            pub fn new(value: &str) -> Result<Self, InvalidId> {
                let valid: fn(&str) -> bool = $valid;
                if valid(value) {
                    Ok(Self(value.into()))
                } else {
                    Err(InvalidId { what: $what, rule: $rule })
                }
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::new(&value).map_err(serde::de::Error::custom)
            }
        }
    };
}

fn is_printable(value: &str, max_bytes: usize) -> bool {
    (1..=max_bytes).contains(&value.len()) && !value.chars().any(char::is_control)
}

fn is_token(value: &str, max_bytes: usize) -> bool {
    (1..=max_bytes).contains(&value.len())
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.:-".contains(&b))
}

string_id!(
    /// A room: a named stream with members. `[A-Za-z0-9_.:-]{1,128}`.
    RoomId, "a room id", "1 to 128 of A-Z a-z 0-9 _ . : -", |v| is_token(v, 128)
);
string_id!(
    /// A user: who the token says. Up to 128 bytes without control characters.
    UserId, "a user id", "1 to 128 bytes without control characters", |v| is_printable(v, 128)
);
string_id!(
    /// A client's own name for one send, so that a retry can be recognised.
    Nonce, "a nonce", "1 to 64 bytes without control characters", |v| is_printable(v, 64)
);
string_id!(
    /// One process. A restart is another node, since a random part is added at each start.
    NodeId, "a node id", "1 to 128 of A-Z a-z 0-9 _ . : -", |v| is_token(v, 128)
);
string_id!(
    /// One incarnation of a room's stream. A new epoch means that clients start over.
    Epoch, "an epoch", "1 to 32 of A-Z a-z 0-9 _ . : -", |v| is_token(v, 32)
);
string_id!(
    /// One transport's life.
    ConnectionId, "a connection id", "1 to 64 of A-Z a-z 0-9 _ . : -", |v| is_token(v, 64)
);
string_id!(
    /// One event's own name, unique over all rooms.
    MessageId, "a message id", "1 to 64 of A-Z a-z 0-9 _ . : -", |v| is_token(v, 64)
);

string_id!(
    /// The key of a reaction, such as an emoji. Up to 64 bytes without control characters.
    ReactionKey, "a reaction", "1 to 64 bytes without control characters", |v| is_printable(v, 64)
);

impl RoomId {
    const DIRECT: &str = "dm:";

    /// Whether it is named like a direct message's room; then only [`RoomId::pair`] may come in.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.0.starts_with(Self::DIRECT)
    }

    /// The two users of a direct message's room, `dm:A:B` with A below B. An id with a colon in it
    /// would make the name ambiguous, so it has no such room.
    #[must_use]
    pub fn pair(&self) -> Option<[&str; 2]> {
        let (first, second) = self.0.strip_prefix(Self::DIRECT)?.split_once(':')?;
        let is_one = !first.is_empty() && first < second && !second.contains(':');
        is_one.then_some([first, second])
    }
}

impl MessageId {
    /// Stands for the id of an event that is known only by its place.
    #[must_use]
    pub fn unknown() -> Self {
        Self("-".into())
    }

    /// Whether both are known and differ: two events with one position prove a fork.
    #[must_use]
    pub fn is_other(&self, other: &Self) -> bool {
        self != other && &*self.0 != "-" && &*other.0 != "-"
    }

    /// A new id, sortable by the time of its making on this node.
    #[must_use]
    pub fn generate() -> Self {
        Self(new_ulid().into())
    }
}

impl ConnectionId {
    /// A new id.
    #[must_use]
    pub fn generate() -> Self {
        Self(new_ulid().into())
    }
}

fn new_ulid() -> String {
    ulid::Ulid::generate().to_string()
}

/// Random lower-case letters and digits, at most 16.
#[must_use]
pub fn random_name(length: usize) -> String {
    let ulid = new_ulid().to_lowercase();
    ulid[ulid.len() - length.min(16)..].to_owned()
}

/// A place in a room. Offsets count from 1 without holes within an epoch and never go
/// back over epochs; 0 is "before the first event". They stay below 2^53.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The incarnation of the stream that `offset` counts in.
    pub epoch: Epoch,
    /// The number of the last event.
    pub offset: u64,
}

/// The first number that JavaScript no longer reads exactly.
pub const OFFSET_LIMIT: u64 = 1 << 53;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_are_short_names_from_a_small_alphabet() {
        for good in ["lobby", "a", "Team_1.dev:eu-west", &"r".repeat(128)] {
            assert_eq!(RoomId::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a/b", "{a}", "ä", "a\n", "*", &"r".repeat(129)] {
            assert!(RoomId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_invalid_id_says_what_is_allowed() {
        let error = RoomId::new("a b").unwrap_err();
        assert_eq!(
            error.to_string(),
            "a room id must be 1 to 128 of A-Z a-z 0-9 _ . : -"
        );
    }

    #[test]
    fn message_ids_are_valid_and_differ() {
        let (a, b) = (MessageId::generate(), MessageId::generate());
        assert_ne!(a, b);
        assert_eq!(MessageId::new(a.as_str()).unwrap(), a);
    }

    #[test]
    fn a_direct_message_has_two_users_in_order() {
        let pair = |room: &str| {
            let room = RoomId::new(room).unwrap();
            room.pair().map(|pair| pair.map(str::to_owned))
        };
        assert_eq!(pair("dm:alice:bob").unwrap(), ["alice", "bob"]);
        for other in [
            "lobby",
            "dm:bob:alice",
            "dm:a:a",
            "dm:a",
            "dm::b",
            "dm:a:",
            "dm:a:b:c",
        ] {
            assert_eq!(pair(other), None, "{other}");
        }
    }
}
