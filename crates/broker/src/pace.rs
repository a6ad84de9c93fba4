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

/// One more of something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Of which limit.
    pub kind: PaceKind,
    /// Who.
    pub user: UserId,
    /// What this node has given since it last told; it counts in any case.
    pub given: Duration,
    /// What one costs: the time between two, kept up.
    pub cost: Duration,
    /// How far a user may be ahead.
    pub burst: Duration,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// There may be one more, which counts now.
    pub is_allowed: bool,
    /// How far the user is ahead, over all nodes.
    pub ahead: Duration,
}
