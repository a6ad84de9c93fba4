//! The identity of a session, and its rights.

use hubbub_protocol::User;
use serde::{Deserialize, Serialize};

use crate::RoomGrants;
use crate::orders::now_ms;

/// The proven content of a token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Identity {
    /// The user.
    pub user: User,
    /// The token's `rooms` claim; `None`: what the tables `[[room]]` say, and where they are silent read
    /// and write.
    pub rooms: Option<RoomGrants>,
    /// Made by this cluster for somebody who brought no token.
    pub guest: bool,
    /// When the token expires (`exp`), in milliseconds since 1970; `None`: never.
    pub expires: Option<u64>,
    /// The token's id (`jti`), by which it can be revoked.
    pub token_id: Option<String>,
    /// When the token was made (`iat`), in milliseconds since 1970; `None`: it does not say.
    pub issued: Option<u64>,
}

/// A user's rights in one room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rights {
    /// `r`: join, history, members.
    pub read: bool,
    /// `w`: send, react and typing; edit and delete one's own messages.
    pub write: bool,
    /// `m`: delete messages of others.
    pub moderate: bool,
    /// `p`: send in another's name, over REST.
    pub publish: bool,
}

impl Identity {
    /// Somebody whose token says nothing but who it is.
    #[must_use]
    pub fn of(user: User) -> Self {
        Self {
            user,
            rooms: None,
            guest: false,
            expires: None,
            token_id: None,
            issued: None,
        }
    }

    /// Whether the token has expired by this node's clock. The leeway for other clocks is given once, where
    /// a token is proved.
    #[must_use]
    pub fn has_expired(&self) -> bool {
        self.expires.is_some_and(|expires| expires <= now_ms())
    }
}

impl Rights {
    /// Read and write.
    pub const MEMBER: Self = Self {
        read: true,
        write: true,
        moderate: false,
        publish: false,
    };
    /// Nothing.
    pub const NONE: Self = Self {
        read: false,
        write: false,
        moderate: false,
        publish: false,
    };

    /// The rights that both allow.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            read: self.read && other.read,
            write: self.write && other.write,
            moderate: self.moderate && other.moderate,
            publish: self.publish && other.publish,
        }
    }

    /// Any of `r`, `w`, `m` and `p`, in this order.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        const TEXTS: [&str; 16] = [
            "", "p", "m", "mp", "w", "wp", "wm", "wmp", "r", "rp", "rm", "rmp", "rw", "rwp", "rwm",
            "rwmp",
        ];
        let bits = [self.read, self.write, self.moderate, self.publish];
        let index = bits
            .into_iter()
            .fold(0, |sum, bit| sum * 2 + usize::from(bit));
        TEXTS[index]
    }
}

impl TryFrom<String> for Rights {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut rights = Self::NONE;
        for letter in text.chars() {
            let right = match letter {
                'r' => &mut rights.read,
                'w' => &mut rights.write,
                'm' => &mut rights.moderate,
                'p' => &mut rights.publish,
                _ => return Err(bad_rights(&text)),
            };
            if std::mem::replace(right, true) {
                return Err(bad_rights(&text));
            }
        }
        Ok(rights)
    }
}

fn bad_rights(text: &str) -> String {
    format!(
        "rights are \"r\", \"w\", \"m\" and \"p\" together, each once, or nothing; not {text:?}"
    )
}

impl From<Rights> for String {
    fn from(rights: Rights) -> Self {
        rights.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_ends_with_its_token() {
        let user = User {
            id: hubbub_protocol::UserId::new("u").unwrap(),
            name: "U".into(),
        };
        let until = |expires| Identity {
            expires,
            ..Identity::of(user.clone())
        };
        assert!(!until(None).has_expired() && !until(Some(u64::MAX)).has_expired());
        assert!(until(Some(0)).has_expired() && until(Some(now_ms())).has_expired());
    }

    #[test]
    fn rights_are_written_with_letters() {
        for text in [
            "", "r", "w", "m", "p", "rw", "rm", "wm", "rwm", "rwp", "mp", "rwmp",
        ] {
            assert_eq!(Rights::try_from(text.to_owned()).unwrap().as_str(), text);
        }
        assert_eq!(Rights::try_from("wr".to_owned()).unwrap(), Rights::MEMBER);
        for bad in ["x", "rr", "rwx", "read", " r", "R"] {
            assert!(Rights::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
