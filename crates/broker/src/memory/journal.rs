//! Where the embedded broker commits events before anybody hears of them, so that what was acked
//! survives the process. Whoever holds the other end of the queue has the archive.

use hubbub_protocol::{Envelope, Nonce, Position, RoomId, UserId};
use tokio::sync::{mpsc, oneshot};

/// Requests that wait for the archive; beyond, publishes wait before they ask.
const QUEUE: usize = 1_024;

/// Why events are not committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// Certainly not.
    #[error("not committed: {0}")]
    Refused(String),
    /// Perhaps: it has to be tried again until it is certain.
    #[error("perhaps committed: {0}")]
    Unknown(String),
}

/// Events of one room to be committed, all or none.
#[derive(Debug)]
pub struct Commit {
    /// Which room.
    pub room: RoomId,
    /// The offset above which its life began; `None`: it began before this process.
    pub base: Option<u64>,
    /// In order. The same ones may be asked for again, and must then be committed once.
    pub events: Vec<Envelope>,
    /// Told when it is certain.
    pub done: oneshot::Sender<Result<(), JournalError>>,
}

/// A nonce, and where its event is.
#[derive(Debug)]
pub struct UsedNonce {
    /// Whose it is.
    pub from: UserId,
    /// The nonce.
    pub nonce: Nonce,
    /// `None`: it was not used.
    pub position: Option<Position>,
}

/// What the embedded broker asks of the archive.
#[derive(Debug)]
pub enum JournalRequest {
    /// Keep these.
    Commit(Commit),
    /// Which of these nonces were used before this process began?
    Nonces {
        /// In which room.
        room: RoomId,
        /// Comes back with its positions filled in.
        nonces: Vec<UsedNonce>,
        /// The answer.
        answer: oneshot::Sender<Result<Vec<UsedNonce>, JournalError>>,
    },
}

/// The broker's end of the queue to the archive.
#[derive(Debug, Clone)]
pub struct Journal(mpsc::Sender<JournalRequest>);

impl Journal {
    /// Both ends.
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
