//! Requests without a reply yet. They are sent again on the next connection and answered once.

use std::collections::BTreeMap;

use hubbub_protocol::RoomId;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use crate::error::RequestError;
use crate::frame::Answer;
use crate::outgoing::Outgoing;

/// A request other than join and send, which are tracked elsewhere.
pub(crate) enum Request {
    Leave {
        room: RoomId,
    },
    History {
        room: RoomId,
        before: Option<u64>,
        limit: usize,
    },
    Members {
        room: RoomId,
    },
    Rooms,
    Refresh {
        token: String,
    },
    Ping,
}

/// Shows the request's kind without the token.
impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Leave { .. } => "Leave",
            Self::History { .. } => "History",
            Self::Members { .. } => "Members",
            Self::Rooms => "Rooms",
            Self::Refresh { .. } => "Refresh",
            Self::Ping => "Ping",
        })
    }
}

impl Request {
    fn encode(&self, id: u64) -> String {
        match self {
            Self::Leave { room } => Outgoing::Leave { id, room },
            Self::History {
                room,
                before,
                limit,
            } => Outgoing::History {
                id,
                room,
                before: *before,
                limit: *limit,
            },
            Self::Members { room } => Outgoing::Members { id, room },
            Self::Rooms => Outgoing::Rooms { id },
            Self::Refresh { token } => Outgoing::Refresh { id, token },
            Self::Ping => Outgoing::Ping { id },
        }
        .encode()
    }
}

/// The channel that a reply goes to.
pub(crate) type ReplySender = oneshot::Sender<Result<Answer, RequestError>>;

/// One request that waits for its reply.
#[derive(Debug)]
pub(crate) struct PendingRequest {
    pub(crate) request: Request,
    pub(crate) deadline: Instant,
    pub(crate) reply: ReplySender,
    /// The permit is released with the reply, which bounds the number of open requests.
    pub(crate) permit: OwnedSemaphorePermit,
}

/// The open requests by ID. The semaphore behind the permits bounds them.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    open: BTreeMap<u64, (PendingRequest, IsWritten)>,
}

type IsWritten = bool;

impl Requests {
    pub(crate) fn push(&mut self, id: u64, pending: PendingRequest) {
        self.open.insert(id, (pending, false));
    }

    /// The frames to write now, in the order of the requests.
    pub(crate) fn take_due(&mut self) -> Vec<String> {
        let mut frames = Vec::new();
        for (id, (pending, is_written)) in &mut self.open {
            if !*is_written {
                *is_written = true;
                frames.push(pending.request.encode(*id));
            }
        }
        frames
    }

    /// Answers request `id`. Returns the reply if no request has this ID.
    pub(crate) fn settle(&mut self, id: u64, answer: Answer) -> Option<Answer> {
        let Some((pending, _)) = self.open.remove(&id) else {
            return Some(answer);
        };
        let result = match answer {
            Answer::Error(refusal) => Err(RequestError::Refused(refusal)),
            answer => Ok(answer),
        };
        pending.answer(result);
        None
    }

    /// Whether a reply is awaited.
    pub(crate) fn is_open(&self) -> bool {
        self.open.values().any(|(_, is_written)| *is_written)
    }

    /// The connection is lost. Open requests are sent again, except leaves, which the loss completes.
    pub(crate) fn disconnected(&mut self) {
        let is_leave = |pending: &PendingRequest| matches!(pending.request, Request::Leave { .. });
        for (_, (pending, _)) in self
            .open
            .extract_if(.., |_, (pending, _)| is_leave(pending))
        {
            pending.answer(Ok(Answer::Left));
        }
        for (_, is_written) in self.open.values_mut() {
            *is_written = false;
        }
    }

    pub(crate) fn expire(&mut self, now: Instant) {
        for (_, (pending, _)) in self
            .open
            .extract_if(.., |_, (pending, _)| pending.deadline <= now)
        {
            pending.answer(Err(RequestError::TimedOut));
        }
    }

    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.open
            .values()
            .map(|(pending, _)| pending.deadline)
            .min()
    }

    pub(crate) fn close(&mut self) {
        while let Some((_, (pending, _))) = self.open.pop_first() {
            pending.answer(Err(RequestError::Closed));
        }
    }
}

impl PendingRequest {
    pub(crate) fn answer(self, result: Result<Answer, RequestError>) {
        drop(self.permit);
        // A caller that no longer waits has dropped its receiver.
        let _ = self.reply.send(result);
    }
}
