//! [`RoomGrants`]: the `rooms` claim of a token, such as `{"lobby": "rw", "team-*": "r"}`.

use std::fmt;
use std::sync::Arc;

use hubbub_protocol::RoomId;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Rights, pattern};

/// Rights by patterns of room names, each once. The longest match counts; a room that none matches is
/// not allowed. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomGrants(Arc<[(Box<str>, Rights)]>);

/// Why something cannot be one of the grants.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadGrant {
    /// Matches no room.
    #[error("{0:?} is not {expected}", expected = pattern::EXPECTED)]
    Pattern(String),
    /// Stands there twice.
    #[error("{0:?} is there twice")]
    Twice(String),
}

impl RoomGrants {
    /// Takes over patterns with their rights.
    ///
    /// # Errors
    /// [`BadGrant`] names the pattern that cannot be one, or is there twice.
    pub fn new(grants: impl IntoIterator<Item = (String, Rights)>) -> Result<Self, BadGrant> {
        let mut list: Vec<(Box<str>, Rights)> = Vec::new();
        for (pattern, rights) in grants {
            if !pattern::is_pattern(&pattern) {
                return Err(BadGrant::Pattern(pattern));
            }
            if list.iter().any(|(there, _)| **there == *pattern) {
                return Err(BadGrant::Twice(pattern));
            }
            list.push((pattern.into(), rights));
        }
        Ok(Self(list.into()))
    }

    /// The rights in `room`.
    #[must_use]
    pub fn rights(&self, room: &RoomId) -> Rights {
        let matching = self.0.iter().filter(|(it, _)| pattern::matches(it, room));
        let longest = matching.max_by_key(|(it, _)| pattern::weight(it));
        longest.map_or(Rights::NONE, |(_, rights)| *rights)
    }

    /// The patterns with their rights, as they were given.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Rights)> {
        self.0.iter().map(|(pattern, rights)| (&**pattern, *rights))
    }
}

impl Serialize for RoomGrants {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for RoomGrants {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Grants)
    }
}

/// A map of its own, since the usual ones pass over a key that comes twice.
struct Grants;

impl<'de> Visitor<'de> for Grants {
    type Value = RoomGrants;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rooms with rights, such as {\"lobby\": \"rw\", \"team-*\": \"r\"}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RoomGrants, A::Error> {
        let mut grants = Vec::new();
        while let Some(grant) = map.next_entry()? {
            grants.push(grant);
        }
        RoomGrants::new(grants).map_err(A::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<RoomGrants, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    fn rights(grants: &RoomGrants, room: &str) -> &'static str {
        grants.rights(&RoomId::new(room).unwrap()).as_str()
    }

    #[test]
    fn the_longest_match_counts_alone() {
        let text = r#"{"*":"r","team-*":"rw","team-a":"rwm","team-secret":"","team-ab*":"rp"}"#;
        let grants = read(text).unwrap();
        for (room, allowed) in [
            ("lobby", "r"),
            ("team-b", "rw"),
            ("team-a", "rwm"),
            ("team-abc", "rp"),
            ("team-secret", ""),
            ("team-secrets", "rw"),
        ] {
            assert_eq!(rights(&grants, room), allowed, "{room}");
        }
        assert_eq!(serde_json::to_string(&grants).unwrap(), text);
    }

    #[test]
    fn what_no_pattern_matches_is_not_allowed() {
        assert_eq!(rights(&read("{}").unwrap(), "lobby"), "");
        assert_eq!(rights(&read(r#"{"lob*":"r"}"#).unwrap(), "plaza"), "");
    }

    #[test]
    fn a_claim_that_means_nothing_is_refused() {
        for (bad, said) in [
            (r#"{"lobby":"rwx"}"#, "rights"),
            (r#"{"lobby":"rr"}"#, "rights"),
            (r#"{"lobby":7}"#, "string"),
            (r#"{"a b":"r"}"#, "a b"),
            (r#"{"a*b":"r"}"#, "a*b"),
            (r#"{"":"r"}"#, "room id"),
            (r#"{"lobby":"r","lobby":"rw"}"#, "twice"),
            (r#"[{"room":"lobby","rights":"r"}]"#, "rooms with rights"),
            (r#""lobby""#, "rooms with rights"),
        ] {
            let error = read(bad).unwrap_err();
            assert!(error.contains(said), "{bad}: {error}");
        }
    }
}
