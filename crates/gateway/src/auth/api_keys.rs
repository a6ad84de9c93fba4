//! Keys for programs: whoever has one may do what its table `[[api_key]]` says, without a token.

use std::collections::{HashMap, HashSet};

use aws_lc_rs::digest::{SHA256, digest};
use hubbub_node::Identity;
use hubbub_protocol::{User, UserId};

use crate::config::ApiKey;

/// Below this a key can be guessed.
const MIN_BYTES: usize = 32;
const MAX_BYTES: usize = 1_024;
const MAX_NAME_BYTES: usize = 64;
/// How the user ids of keys begin; no token may name one.
pub(super) const PREFIX: &str = "key:";

/// Why a table `[[api_key]]` cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiKeyError {
    /// The name.
    #[error("[[api_key]] name = {0:?}: 1 to {MAX_NAME_BYTES} of A-Z a-z 0-9 _ . -")]
    Name(String),
    /// The key.
    #[error("[[api_key]] {0}: its key needs {MIN_BYTES} to {MAX_BYTES} printable characters")]
    Key(String),
    /// One of the two is there twice.
    #[error("[[api_key]] {0}: another table has the same name or the same key")]
    Twice(String),
}

/// The keys by their digests, so that looking one up says nothing of how much of it was right.
#[derive(Default)]
pub(super) struct ApiKeys(HashMap<[u8; 32], Identity>);

impl ApiKeys {
    pub(super) fn new(tables: &[ApiKey]) -> Result<Self, ApiKeyError> {
        let (mut keys, mut names) = (HashMap::new(), HashSet::new());
        for table in tables {
            check(table)?;
            let is_new = names.insert(&table.name);
            let old = keys.insert(digest_of(&table.key), identity(table)?);
            if !is_new || old.is_some() {
                return Err(ApiKeyError::Twice(table.name.clone()));
            }
        }
        Ok(Self(keys))
    }

    pub(super) fn find(&self, key: &str) -> Option<&Identity> {
        if self.0.is_empty() || !(MIN_BYTES..=MAX_BYTES).contains(&key.len()) {
            return None;
        }
        self.0.get(&digest_of(key))
    }
}

fn check(table: &ApiKey) -> Result<(), ApiKeyError> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let name = &table.name;
    if !(1..=MAX_NAME_BYTES).contains(&name.len()) || !name.chars().all(is_name) {
        return Err(ApiKeyError::Name(
            name.chars().take(MAX_NAME_BYTES).collect(),
        ));
    }
    let is_long = (MIN_BYTES..=MAX_BYTES).contains(&table.key.len());
    if is_long && table.key.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(ApiKeyError::Key(name.clone()))
    }
}

fn identity(table: &ApiKey) -> Result<Identity, ApiKeyError> {
    let id = UserId::new(&format!("{PREFIX}{}", table.name));
    let user = User {
        id: id.map_err(|_| ApiKeyError::Name(table.name.clone()))?,
        name: table.name.as_str().into(),
    };
    Ok(Identity {
        rooms: table.rooms.clone(),
        ..Identity::of(user)
    })
}

fn digest_of(key: &str) -> [u8; 32] {
    let digest = digest(&SHA256, key.as_bytes());
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use hubbub_protocol::RoomId;

    use super::*;

    fn table(name: &str, key: &str) -> ApiKey {
        ApiKey {
            name: name.to_owned(),
            key: key.to_owned(),
            rooms: Some(serde_json::from_str(r#"{"*":"rwp"}"#).unwrap()),
        }
    }

    #[test]
    fn a_key_stands_for_its_table() {
        let (first, second) = ("a".repeat(32), "b".repeat(32));
        let keys = ApiKeys::new(&[table("billing", &first), table("ops", &second)]).unwrap();
        let found = keys.find(&first).unwrap();
        assert_eq!(
            (found.user.id.as_str(), &*found.user.name),
            ("key:billing", "billing")
        );
        let lobby = RoomId::new("lobby").unwrap();
        assert_eq!(found.rooms.as_ref().unwrap().rights(&lobby).as_str(), "rwp");
        assert_eq!(&*keys.find(&second).unwrap().user.name, "ops");
        for bad in ["", "a", &"c".repeat(32), &"a".repeat(33), &"a".repeat(31)] {
            assert!(keys.find(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_table_that_cannot_be_one_is_named_without_its_key() {
        let long = "canary-".repeat(5);
        for (name, key) in [
            ("", long.as_str()),
            ("a b", &long),
            ("billing", "canary"),
            ("billing", &"canary ".repeat(5)),
            ("billing", &"canary".repeat(999)),
        ] {
            let error = ApiKeys::new(&[table(name, key)]).err().unwrap().to_string();
            assert!(error.contains(name) && !error.contains("canary"), "{error}");
        }
        let twice = [table("a", &long), table("b", &long)];
        assert!(matches!(ApiKeys::new(&twice), Err(ApiKeyError::Twice(_))));
        let twice = [table("a", &long), table("a", &long.to_uppercase())];
        assert!(matches!(ApiKeys::new(&twice), Err(ApiKeyError::Twice(_))));
    }
}
