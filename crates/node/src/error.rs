//! Why a command failed, and how that is told to the client: the only place where it is mapped.

use hubbub_archive::ArchiveError;
use hubbub_broker::BrokerError;
use hubbub_protocol::command::RequestId;
use hubbub_protocol::frame::ServerFrame;
use hubbub_protocol::{ErrorCode, Frame};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("say hello in the first frame only")]
    LateHello,
    #[error("join the room first")]
    NotJoined,
    #[error("not allowed, or no such room")]
    Forbidden,
    #[error("body has {bytes} bytes, at most {limit} are allowed")]
    TooLarge { bytes: usize, limit: u64 },
    #[error("at most {limit} rooms for one connection, leave one first")]
    TooManyRooms { limit: u32 },
    #[error("too many sends, wait before the next")]
    RateLimited { retry_after_ms: u64 },
    #[error("no such message")]
    NotFound,
    #[error("this needs an archive, and this server has none: see archive.url")]
    NoArchive,
    #[error("this nonce was used for something else")]
    Conflict,
    #[error("not stored, try again later")]
    Unavailable,
    #[error("perhaps stored, try again with the same nonce")]
    Unknown,
    #[error("the server failed")]
    Internal,
}

impl CommandError {
    /// The `error` frame that answers request `id`.
    pub(crate) fn to_wire(&self, id: Option<&RequestId>) -> Frame {
        let (code, retry_after_ms) = match self {
            Self::LateHello => (ErrorCode::BadFrame, None),
            Self::NotJoined => (ErrorCode::NotJoined, None),
            Self::Forbidden => (ErrorCode::Forbidden, None),
            Self::TooLarge { .. } => (ErrorCode::TooLarge, None),
            Self::TooManyRooms { .. } => (ErrorCode::TooManyRooms, None),
            Self::RateLimited { retry_after_ms } => (ErrorCode::RateLimited, Some(*retry_after_ms)),
            Self::NotFound => (ErrorCode::NotFound, None),
            Self::Conflict => (ErrorCode::Conflict, None),
            Self::NoArchive | Self::Unavailable => (ErrorCode::Unavailable, None),
            Self::Unknown => (ErrorCode::Unknown, None),
            Self::Internal => (ErrorCode::Internal, None),
        };
        let message = self.to_string();
        Frame::encode(&ServerFrame::Error {
            id,
            code,
            message: &message,
            retry_after_ms,
        })
    }

    /// The archive's failure to read something.
    pub(crate) fn of_archive(error: ArchiveError) -> Self {
        if error.is_retryable() {
            tracing::debug!(%error, "the archive does not answer");
            return Self::Unavailable;
        }
        tracing::error!(%error, "the archive failed");
        Self::Internal
    }

    /// The failure of something that stores nothing: it can simply be asked again.
    pub(crate) fn of_read(error: BrokerError) -> Self {
        match error {
            BrokerError::Unavailable(_) | BrokerError::Unknown(_) => Self::Unavailable,
            BrokerError::NoLife
            | BrokerError::Unexpected(_) | BrokerError::BadUrl(_) | BrokerError::Unfit(_) => {
                tracing::error!(%error, "broker failed");
                Self::Internal
            }
        }
    }
}
