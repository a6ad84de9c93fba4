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
    /// Send and typing.
    pub write: bool,
}

impl Rights {
    /// Read and write.
    pub const ALL: Self = Self {
        read: true,
        write: true,
    };
    /// Neither.
    pub const NONE: Self = Self {
        read: false,
        write: false,
    };

    /// `rw`, `r`, `w` or nothing.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match (self.read, self.write) {
            (true, true) => "rw",
            (true, false) => "r",
            (false, true) => "w",
            (false, false) => "",
        }
    }
}

impl TryFrom<String> for Rights {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "rw" | "wr" => Ok(Self::ALL),
            "r" => Ok(Self {
                read: true,
                write: false,
            }),
            "w" => Ok(Self {
                read: false,
                write: true,
            }),
            other => Err(format!("rights are \"r\", \"w\" or \"rw\", not {other:?}")),
        }
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
            return Rights::ALL;
        };
        grants
            .iter()
            .filter(|grant| grant.covers(room))
            .fold(Rights::NONE, |sum, grant| Rights {
                read: sum.read || grant.rights.read,
                write: sum.write || grant.rights.write,
            })
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
        assert_eq!(identity(None).rights(&lobby), Rights::ALL);
        assert_eq!(identity(Some(&[])).rights(&lobby), Rights::NONE);
    }

    #[test]
    fn grants_add_up() {
        let read = Rights {
            read: true,
            write: false,
        };
        let write = Rights {
            read: false,
            write: true,
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
}
