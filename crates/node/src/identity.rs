//! Who a session belongs to and what it may do.

use hubbub_protocol::{RoomId, User};
use serde::{Deserialize, Serialize};

/// What a token proved.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Who.
    pub user: User,
    /// The token's `rooms` claim; `None`: every room that is not private, read and write.
    pub rooms: Option<Vec<RoomGrant>>,
}

/// One entry of a token's `rooms` claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomGrant {
    /// A room id, or the beginning of one and `*`.
    pub room: String,
    /// What is allowed there.
    pub rights: Rights,
}

/// What a user may do in a room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rights {
    /// Join, history, members.
    pub read: bool,
    /// Send, react and typing; edit and delete one's own messages.
    pub write: bool,
    /// Delete messages of others.
    pub moderate: bool,
    /// Send in the name of others, for backends.
    pub publish: bool,
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

    /// Any of `r`, `w`, `m` and `p`, in this order.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        const ALL: [&str; 16] = [
            "", "r", "w", "rw", "m", "rm", "wm", "rwm", "p", "rp", "wp", "rwp", "mp", "rmp", "wmp",
            "rwmp",
        ];
        let bit = |is_set: bool, value: usize| if is_set { value } else { 0 };
        ALL[bit(self.read, 1) + bit(self.write, 2) + bit(self.moderate, 4) + bit(self.publish, 8)]
    }

    fn and(self, other: Self) -> Self {
        Self {
            read: self.read || other.read,
            write: self.write || other.write,
            moderate: self.moderate || other.moderate,
            publish: self.publish || other.publish,
        }
    }
}

impl TryFrom<String> for Rights {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let has = |letter| text.matches(letter).count();
        let [r, w, m, p] = ['r', 'w', 'm', 'p'].map(has);
        let is_known = r + w + m + p == text.chars().count() && r.max(w).max(m).max(p) == 1;
        if !is_known {
            return Err(format!(
                "rights are \"r\", \"w\", \"m\" and \"p\" together, not {text:?}"
            ));
        }
        Ok(Self {
            read: r == 1,
            write: w == 1,
            moderate: m == 1,
            publish: p == 1,
        })
    }
}

impl From<Rights> for String {
    fn from(rights: Rights) -> Self {
        rights.as_str().to_owned()
    }
}

impl RoomGrant {
    fn covers(&self, room: &RoomId) -> bool {
        match self.room.strip_suffix('*') {
            Some(beginning) => room.as_str().starts_with(beginning),
            None => room.as_str() == self.room,
        }
    }
}

impl Identity {
    /// What this identity may do in `room`: the union of all grants that cover it.
    #[must_use]
    pub fn rights(&self, room: &RoomId) -> Rights {
        let Some(grants) = &self.rooms else {
            return Rights::MEMBER;
        };
        grants
            .iter()
            .filter(|grant| grant.covers(room))
            .fold(Rights::NONE, |sum, grant| sum.and(grant.rights))
    }
}

#[cfg(test)]
mod tests {
    use hubbub_protocol::UserId;

    use super::*;

    fn identity(rooms: Option<&[(&str, Rights)]>) -> Identity {
        let user = User {
            id: UserId::new("u").unwrap(),
            name: "U".to_owned(),
        };
        let grant = |(room, rights): &(&str, Rights)| RoomGrant {
            room: (*room).to_owned(),
            rights: *rights,
        };
        Identity {
            user,
            rooms: rooms.map(|grants| grants.iter().map(grant).collect()),
        }
    }

    #[test]
    fn without_a_claim_every_room_is_open() {
        let lobby = RoomId::new("lobby").unwrap();
        assert_eq!(identity(None).rights(&lobby), Rights::MEMBER);
        assert_eq!(identity(Some(&[])).rights(&lobby), Rights::NONE);
    }

    #[test]
    fn grants_add_up() {
        let read = Rights {
            read: true,
            ..Rights::NONE
        };
        let write = Rights {
            write: true,
            ..Rights::NONE
        };
        let identity = identity(Some(&[("team-*", read), ("team-a", write)]));
        assert_eq!(
            identity.rights(&RoomId::new("team-a").unwrap()).as_str(),
            "rw"
        );
        assert_eq!(
            identity.rights(&RoomId::new("team-b").unwrap()).as_str(),
            "r"
        );
        assert_eq!(identity.rights(&RoomId::new("other").unwrap()).as_str(), "");
    }

    #[test]
    fn rights_are_written_with_letters() {
        for text in ["r", "w", "m", "p", "rw", "rm", "wm", "rwm", "rwp", "rwmp"] {
            assert_eq!(Rights::try_from(text.to_owned()).unwrap().as_str(), text);
        }
        assert_eq!(Rights::try_from("wr".to_owned()).unwrap(), Rights::MEMBER);
        for bad in ["", "x", "rr", "rwx", "read"] {
            assert!(Rights::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
