//! What a user has taken of a limit that counts over the whole cluster.

use std::time::Duration;

use hubbub_protocol::UserId;

/// Which limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PaceKind {
    /// `limits.user_sends_per_second`.
    Sends,
    /// `limits.user_new_rooms_per_minute`.
    NewRooms,
}

impl PaceKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Sends => "sends",
            Self::NewRooms => "rooms",
        }
    }
}

/// What a user has taken on this node since it was last told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Of which limit.
    pub kind: PaceKind,
    /// Who.
    pub user: UserId,
    /// How often.
    pub taken: u32,
    /// Between two, as the limit has it.
    pub interval: Duration,
}
