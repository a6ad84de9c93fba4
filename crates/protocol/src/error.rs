//! Error codes: they answer one command; the connection goes on.

use std::fmt;

use serde::Serialize;

/// A stable name for what went wrong with a command. The message beside it is for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The frame is no command that this server knows.
    BadFrame,
    /// There is no valid token.
    Unauthorized,
    /// The room is absent or not allowed: the same answer for both.
    Forbidden,
    /// The command needs membership of the room.
    NotJoined,
    /// The room id breaks the rule for room ids.
    BadRoom,
    /// The body is larger than `limits.body_bytes`.
    TooLarge,
    /// Too many commands; `retry_after_ms` says when to try again.
    RateLimited,
    /// `limits.rooms_per_connection` is reached.
    TooManyRooms,
    /// The target does not exist.
    NotFound,
    /// The nonce was used before with another body.
    Conflict,
    /// Not stored: try again later.
    Unavailable,
    /// Perhaps stored: try again with the same nonce.
    Unknown,
    /// The server's own fault.
    Internal,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [Self; 13] = [
        Self::BadFrame,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotJoined,
        Self::BadRoom,
        Self::TooLarge,
        Self::RateLimited,
        Self::TooManyRooms,
        Self::NotFound,
        Self::Conflict,
        Self::Unavailable,
        Self::Unknown,
        Self::Internal,
    ];

    /// The code as it stands on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadFrame => "bad_frame",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotJoined => "not_joined",
            Self::BadRoom => "bad_room",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::TooManyRooms => "too_many_rooms",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Unavailable => "unavailable",
            Self::Unknown => "unknown",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_and_serde_agree() {
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_string(&code).unwrap(), format!("\"{code}\""));
        }
    }
}
