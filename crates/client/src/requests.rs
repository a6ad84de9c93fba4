//! Questions that have no answer yet: asked again on the next connection, answered once.

use std::collections::BTreeMap;

use hubbub_protocol::RoomId;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use crate::error::RequestError;
use crate::frame::Answer;
use crate::outgoing::Outgoing;

/// The questions, beside join and send, which are tracked elsewhere.
pub(crate) enum Question {
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

/// Without a token.
impl std::fmt::Debug for Question {
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

impl Question {
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

/// Where an answer goes.
pub(crate) type Reply = oneshot::Sender<Result<Answer, RequestError>>;

/// One question on its way.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) question: Question,
    pub(crate) deadline: Instant,
    pub(crate) reply: Reply,
    /// Given back when the answer goes: this bounds the book.
    pub(crate) permit: OwnedSemaphorePermit,
}

/// The open questions by id. Its bound is the semaphore behind the permits.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    open: BTreeMap<u64, (Asked, IsWritten)>,
}

type IsWritten = bool;

impl Requests {
    pub(crate) fn push(&mut self, id: u64, asked: Asked) {
        self.open.insert(id, (asked, false));
    }

    /// The frames to write now, in the order of their asking.
    pub(crate) fn take_due(&mut self) -> Vec<String> {
        let mut frames = Vec::new();
        for (id, (asked, is_written)) in &mut self.open {
            if !*is_written {
                *is_written = true;
                frames.push(asked.question.encode(*id));
            }
        }
        frames
    }

    /// The server has answered `id`; gives the answer back when this is no question's id.
    pub(crate) fn settle(&mut self, id: u64, answer: Answer) -> Option<Answer> {
        let Some((asked, _)) = self.open.remove(&id) else {
            return Some(answer);
        };
        let result = match answer {
            Answer::Error(refusal) => Err(RequestError::Refused(refusal)),
            answer => Ok(answer),
        };
        asked.answer(result);
        None
    }

    /// Whether an answer is awaited.
    pub(crate) fn is_open(&self) -> bool {
        self.open.values().any(|(_, is_written)| *is_written)
    }

    /// The connection is gone: what is unanswered is asked again. A leave is done by that.
    pub(crate) fn disconnected(&mut self) {
        let is_leave = |asked: &Asked| matches!(asked.question, Question::Leave { .. });
        for (_, (asked, _)) in self.open.extract_if(.., |_, (asked, _)| is_leave(asked)) {
            asked.answer(Ok(Answer::Left));
        }
        for (_, is_written) in self.open.values_mut() {
            *is_written = false;
        }
    }

    pub(crate) fn expire(&mut self, now: Instant) {
        for (_, (asked, _)) in self
            .open
            .extract_if(.., |_, (asked, _)| asked.deadline <= now)
        {
            asked.answer(Err(RequestError::TimedOut));
        }
    }

    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.open.values().map(|(asked, _)| asked.deadline).min()
    }

    pub(crate) fn close(&mut self) {
        while let Some((_, (asked, _))) = self.open.pop_first() {
            asked.answer(Err(RequestError::Closed));
        }
    }
}

impl Asked {
    pub(crate) fn answer(self, result: Result<Answer, RequestError>) {
        drop(self.permit);
        // A caller that no longer waits does not want to know.
        let _ = self.reply.send(result);
    }
}
