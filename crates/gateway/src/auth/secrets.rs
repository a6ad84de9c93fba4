//! [`Secrets`]: the value of `auth.secret`, one shared secret or a list of them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Shared secrets that sign and check tokens: the first signs, all check. So a secret is replaced without
/// logging anybody out: the new one joins the list, later it becomes the first, and the old one goes when
/// its tokens have expired. No debug output shows them.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "OneOrMore", into = "OneOrMore")]
pub struct Secrets(Vec<String>);

/// The forms in which settings hold them.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl From<OneOrMore> for Secrets {
    fn from(value: OneOrMore) -> Self {
        match value {
            OneOrMore::One(secret) => secret.into(),
            OneOrMore::More(secrets) => Self(secrets),
        }
    }
}

impl From<Secrets> for OneOrMore {
    fn from(mut secrets: Secrets) -> Self {
        match secrets.0.len() {
            0 | 1 => Self::One(secrets.0.pop().unwrap_or_default()),
            _ => Self::More(secrets.0),
        }
    }
}

/// An empty text is no secret.
impl From<String> for Secrets {
    fn from(secret: String) -> Self {
        if secret.is_empty() {
            Self::default()
        } else {
            Self(vec![secret])
        }
    }
}

impl Secrets {
    /// The secrets, the one that signs first.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a text is one of them.
    #[must_use]
    pub fn contains(&self, text: &str) -> bool {
        self.iter().any(|secret| secret == text)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_secret_is_a_text_and_more_are_a_list() {
        for (json, count) in [("\"\"", 0), ("\"a\"", 1), ("[\"a\",\"b\"]", 2)] {
            let secrets: Secrets = serde_json::from_str(json).unwrap();
            assert_eq!(secrets.iter().count(), count, "{json}");
            assert_eq!(serde_json::to_string(&secrets).unwrap(), json);
        }
        let secrets: Secrets = serde_json::from_str("[\"canary\"]").unwrap();
        assert!(secrets.contains("canary") && !secrets.contains("other"));
        assert_eq!(format!("{secrets:?}"), "Secrets(1)");
    }
}
