//! Why a command failed, and how that is told to the client: the only place where it is mapped.

use hubbub_archive::ArchiveError;
use hubbub_broker::BrokerError;
use hubbub_outage::Outage;
use hubbub_protocol::command::RequestId;
use hubbub_protocol::frame::ServerFrame;
use hubbub_protocol::{ErrorCode, Frame};

/// Calls that the archive refuses, whoever makes them.
static ARCHIVE: Outage = Outage::new();
/// Calls that the broker refuses, whoever makes them.
static BROKER: Outage = Outage::new();
/// Stored events that this version cannot read, wherever it meets them.
pub(crate) static UNREADABLE: Outage = Outage::new();

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// `hello` came later than in the first frame.
    #[error("say hello in the first frame only")]
    LateHello,
    /// The session is not in the room.
    #[error("join the room first")]
    NotJoined,
    /// Absent or not allowed: the same for both.
    #[error("not allowed, or no such room")]
    Forbidden,
    /// An operator has muted the user in this room.
    #[error("you are muted in this room: you may read, not write")]
    Muted,
    /// There are as many rules as are kept.
    #[error("there are too many bans, mutes, revocations and kicks: lift some first")]
    TooManyRules,
    /// Beyond `limits.body_bytes`.
    #[error("body has {bytes} bytes, at most {limit} are allowed")]
    TooLarge {
        /// As sent.
        bytes: usize,
        /// At most.
        limit: u64,
    },
    /// Beyond `limits.rooms_per_connection`.
    #[error("at most {limit} rooms for one connection, leave one first")]
    TooManyRooms {
        /// At most.
        limit: u32,
    },
    /// Beyond `limits.sends_per_second` and its siblings.
    #[error("too fast, wait before the next")]
    RateLimited {
        /// When it may be tried again.
        retry_after_ms: u64,
    },
    /// The user who began the room has more bytes of events than allowed, and the archive does not
    /// have them yet.
    #[error(
        "the rooms of whoever began this one hold too many bytes: wait until they are archived, or \
         delete messages"
    )]
    Crowded,
    /// The message has as many different reactions as a message may have.
    #[error("this message has {limit} different reactions, and no message may have more")]
    TooManyReactions {
        /// At most.
        limit: usize,
    },
    /// The user has put as many different reactions on the message as one user may.
    #[error("you have {limit} reactions on this message, take one back first")]
    TooManyOwnReactions {
        /// At most.
        limit: usize,
    },
    /// There is no such message, or it is deleted.
    #[error("no such message")]
    NotFound,
    /// Nothing is kept for so long here.
    #[error("this needs an archive, and this server has none: see archive.url")]
    NoArchive,
    /// A search that costs too much, or too many before it.
    #[error("the search took too long: look for more or rarer words, or in one room")]
    SearchTimeout,
    /// The nonce or the name is taken.
    #[error("this nonce was used for something else")]
    Conflict,
    /// Certainly not done.
    #[error("unavailable right now and nothing was stored, try again later")]
    Unavailable,
    /// Perhaps done.
    #[error("perhaps stored, try again with the same nonce")]
    Unknown,
    /// A defect, which is logged.
    #[error("the server failed")]
    Internal,
}

impl CommandError {
    /// The code that clients get.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::LateHello => ErrorCode::BadFrame,
            Self::NotJoined => ErrorCode::NotJoined,
            Self::Forbidden | Self::Muted => ErrorCode::Forbidden,
            Self::TooLarge { .. }
            | Self::TooManyReactions { .. }
            | Self::TooManyOwnReactions { .. } => ErrorCode::TooLarge,
            Self::TooManyRooms { .. } => ErrorCode::TooManyRooms,
            Self::RateLimited { .. } | Self::Crowded => ErrorCode::RateLimited,
            Self::NotFound => ErrorCode::NotFound,
            Self::Conflict | Self::TooManyRules => ErrorCode::Conflict,
            Self::NoArchive | Self::SearchTimeout | Self::Unavailable => ErrorCode::Unavailable,
            Self::Unknown => ErrorCode::Unknown,
            Self::Internal => ErrorCode::Internal,
        }
    }

    /// When the same may be tried again; `None`: that would not help, or at once.
    #[must_use]
    pub fn retry_after_ms(&self) -> Option<u64> {
        /// The archive needs some seconds at least to take what waits for it.
        const CROWDED: u64 = 5_000;
        match self {
            Self::RateLimited { retry_after_ms } => Some(*retry_after_ms),
            Self::Crowded => Some(CROWDED),
            _ => None,
        }
    }

    /// The `error` frame that answers request `id`.
    #[must_use]
    pub fn to_wire(&self, id: Option<&RequestId>) -> Frame {
        let retry_after_ms = self.retry_after_ms();
        Frame::encode(&ServerFrame::Error {
            id,
            code: self.code(),
            message: &self.to_string(),
            retry_after_ms,
        })
    }

    /// The archive's failure to read something.
    pub(crate) fn of_archive(error: ArchiveError) -> Self {
        if matches!(error, ArchiveError::SearchTimeout(_)) {
            return Self::SearchTimeout;
        }
        if error.is_retryable() {
            tracing::debug!(%error, "the archive does not answer");
            return Self::Unavailable;
        }
        if let Some(now) = ARCHIVE.fail(&error) {
            tracing::error!(%error, failures = now.failures, lasted = ?now.lasted, "the archive failed");
        }
        Self::Internal
    }

    /// The failure of something that stores nothing: it can simply be asked again.
    pub(crate) fn of_read(error: BrokerError) -> Self {
        match error {
            BrokerError::Unavailable(_) | BrokerError::Unknown(_) | BrokerError::Unreconciled => {
                Self::Unavailable
            }
            BrokerError::TooManyRules
            | BrokerError::Unexpected(_)
            | BrokerError::BadUrl(_)
            | BrokerError::Unfit(_) => {
                if let Some(now) = BROKER.fail(&error) {
                    tracing::error!(%error, failures = now.failures, lasted = ?now.lasted, "the broker failed");
                }
                Self::Internal
            }
        }
    }
}
