//! A user's share of a limit that counts over the whole cluster.

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
    /// The limit.
    pub kind: PaceKind,
    /// The user.
    pub user: UserId,
    /// The share that this node granted since its last report; it counts in any case.
    pub given: Duration,
    /// The cost of one: the time between two at the sustained rate.
    pub cost: Duration,
    /// How far a user may be ahead.
    pub burst: Duration,
}

/// The answer to a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// There may be one more, which counts now.
    pub is_allowed: bool,
    /// How far the user is ahead, over all nodes.
    pub ahead: Duration,
}
