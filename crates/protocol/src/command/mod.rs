//! The commands of clients.

mod decode;
mod request_id;

pub use decode::{decode_command, decode_named_command};
pub use request_id::RequestId;
use serde::{Deserialize, Serialize};

pub use crate::body::Body;
pub use crate::since::Since;
use crate::{ErrorCode, Nonce, ReactionKey, RoomId};

/// A command and the id that its reply repeats.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// `None`: the reply carries no id.
    pub id: Option<RequestId>,
    /// The command.
    pub command: Command,
}

/// Where a join starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinFrom {
    /// Only what comes from now on.
    Now,
    /// The newest `n` events first.
    Recent(usize),
    /// Everything after a position that the client has seen.
    Since(Since),
}

/// The commands of `hubbub.v1`.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Says who the client is, once, as the first frame.
    Hello {
        /// `None` asks for a new guest.
        token: Option<String>,
    },
    /// Become a member and hear the room's events; again: a resync.
    Join {
        /// Which room.
        room: RoomId,
        /// The events to replay.
        from: JoinFrom,
    },
    /// No longer a member.
    Leave {
        /// Which room.
        room: RoomId,
    },
    /// A message to everyone in the room.
    Send {
        /// Which room.
        room: RoomId,
        /// How it is stored.
        terms: Terms,
        /// Any JSON value.
        body: Body,
    },
    /// Another body for a message of one's own.
    Edit {
        /// Which room.
        room: RoomId,
        /// The message's offset.
        target: u64,
        /// How it is stored.
        terms: Terms,
        /// The new one.
        body: Body,
    },
    /// A message loses its body; its place is kept.
    Delete {
        /// Which room.
        room: RoomId,
        /// The message's offset.
        target: u64,
        /// How it is stored.
        terms: Terms,
    },
    /// A reaction to a message, or its end.
    React {
        /// Which room.
        room: RoomId,
        /// The message's offset.
        target: u64,
        /// How it is stored.
        terms: Terms,
        /// Which reaction.
        key: ReactionKey,
        /// `false`: no longer.
        on: bool,
    },
    /// The user has read the room up to here.
    Read {
        /// Which room.
        room: RoomId,
        /// The last event read.
        offset: u64,
    },
    /// The user writes, or has stopped to.
    Typing {
        /// Which room.
        room: RoomId,
        /// `false`: stopped.
        on: bool,
    },
    /// A page of messages as they stand now.
    History {
        /// Which room.
        room: RoomId,
        /// Which part.
        span: HistorySpan,
        /// At most so many.
        limit: usize,
    },
    /// Asks for the users in a room.
    Members {
        /// Which room.
        room: RoomId,
    },
    /// The public rooms and mine.
    Rooms,
    /// A new token for this connection, of the same user.
    Refresh {
        /// The token.
        token: String,
    },
    /// Answered by `pong`.
    Ping,
}

impl Command {
    /// Whether the command may be about as long as the frame that it came in: it has a body or a token.
    /// All other commands are short, however much the frame held that nobody reads.
    #[must_use]
    pub fn may_be_long(&self) -> bool {
        match self {
            Self::Hello { .. } | Self::Send { .. } | Self::Edit { .. } | Self::Refresh { .. } => {
                true
            }
            Self::Join { .. }
            | Self::Leave { .. }
            | Self::Delete { .. }
            | Self::React { .. }
            | Self::Read { .. }
            | Self::Typing { .. }
            | Self::History { .. }
            | Self::Members { .. }
            | Self::Rooms
            | Self::Ping => false,
        }
    }
}

/// The terms of a command that stores an event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// Makes a retry safe.
    pub nonce: Option<Nonce>,
    /// The least that the answer shall promise; `None`: what the server promises anyway.
    pub ack: Option<AckLevel>,
}

/// How safe an acked event is: in order of what it takes to lose it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AckLevel {
    /// Stored in the room's stream.
    #[default]
    Stream,
    /// And on at least one replica of Redis.
    Replicated,
    /// And committed to the archive.
    Archived,
}

impl AckLevel {
    /// The level as it stands on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Replicated => "replicated",
            Self::Archived => "archived",
        }
    }
}

/// Which part of a room's messages is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistorySpan {
    /// The newest ones below this offset; `None`: the newest of all.
    Before(Option<u64>),
    /// The oldest ones above this offset.
    After(u64),
    /// About half below this offset, and half from it on.
    Around(u64),
}

/// Why a frame is no command.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct DecodeError {
    /// `bad_frame` or `bad_room`.
    pub code: ErrorCode,
    /// Names what is wrong and what to do.
    pub message: String,
    /// The request's id, where it could be read.
    pub id: Option<RequestId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bodies_and_tokens_make_a_command_long() {
        let is_long = |json: &str| decode_command(json).unwrap().command.may_be_long();
        for long in [
            r#"{"type":"send","room":"r","body":1}"#,
            r#"{"type":"edit","room":"r","target":1,"body":1}"#,
            r#"{"type":"hello","token":"t"}"#,
            r#"{"type":"refresh","token":"t"}"#,
        ] {
            assert!(is_long(long), "{long}");
        }
        let padded = format!(
            r#"{{"type":"history","room":"r","pad":"{}"}}"#,
            "x".repeat(20_000)
        );
        for short in [
            padded.as_str(),
            r#"{"type":"react","room":"r","target":1,"key":"k","on":true}"#,
            r#"{"type":"rooms"}"#,
        ] {
            assert!(!is_long(short), "{short}");
        }
    }
}
