//! The queue on which the embedded broker asks the archive to commit events before any node
//! receives them, so that acked events survive the process. The archive's task holds the receiving
//! end.

use hubbub_protocol::{Envelope, Nonce, Position, RoomId, UserId};
use tokio::sync::{mpsc, oneshot};

/// Requests that wait for the archive. While the queue is full, publishes wait before they ask.
const QUEUE: usize = 1_024;

/// The reason why events are not known to be committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// They are certainly not committed.
    #[error("not committed: {0}")]
    Refused(String),
    /// They may be committed. The commit has to be retried until its result is certain.
    #[error("perhaps committed: {0}")]
    Unknown(String),
}

/// Events of one room to commit, all or none.
#[derive(Debug)]
pub struct Commit {
    /// Their room.
    pub room: RoomId,
    /// The offset above which the stream's epoch began. `None`: it began before this process.
    pub base: Option<u64>,
    /// The events, in order. The same events may be requested again and must be committed only
    /// once.
    pub events: Vec<Envelope>,
    /// Receives the result as soon as it is certain.
    pub done: oneshot::Sender<Result<(), JournalError>>,
}

/// A nonce and the position of its event.
#[derive(Debug)]
pub struct UsedNonce {
    /// The user who sent it.
    pub from: UserId,
    /// The nonce.
    pub nonce: Nonce,
    /// The position of its event. `None`: the nonce was not used.
    pub position: Option<Position>,
}

/// One request of the embedded broker to the archive.
#[derive(Debug)]
pub enum JournalRequest {
    /// Commit these events.
    Commit(Commit),
    /// Look up which of these nonces were used before this process began.
    Nonces {
        /// The room of the nonces.
        room: RoomId,
        /// The nonces; the answer returns them with their positions filled in.
        nonces: Vec<UsedNonce>,
        /// Receives the answer.
        answer: oneshot::Sender<Result<Vec<UsedNonce>, JournalError>>,
    },
}

/// The broker's end of the queue to the archive.
#[derive(Debug, Clone)]
pub struct Journal(mpsc::Sender<JournalRequest>);

impl Journal {
    /// Returns both ends of a new queue.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<JournalRequest>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), receiver)
    }

    pub(super) async fn commit(
        &self,
        room: &RoomId,
        base: Option<u64>,
        events: &[Envelope],
    ) -> Result<(), JournalError> {
        let (done, committed) = oneshot::channel();
        let commit = Commit {
            room: room.clone(),
            base,
            events: events.to_vec(),
            done,
        };
        self.ask(JournalRequest::Commit(commit)).await?;
        let gone = |_| JournalError::Refused("the archive is closed".to_owned());
        committed.await.map_err(gone)?
    }

    pub(super) async fn find_nonces(
        &self,
        room: &RoomId,
        nonces: Vec<UsedNonce>,
    ) -> Result<Vec<UsedNonce>, JournalError> {
        let (answer, found) = oneshot::channel();
        let room = room.clone();
        let request = JournalRequest::Nonces {
            room,
            nonces,
            answer,
        };
        self.ask(request).await?;
        let gone = |_| JournalError::Refused("the archive is closed".to_owned());
        found.await.map_err(gone)?
    }

    async fn ask(&self, request: JournalRequest) -> Result<(), JournalError> {
        let gone = |_| JournalError::Refused("the archive is closed".to_owned());
        self.0.send(request).await.map_err(gone)
    }
}
