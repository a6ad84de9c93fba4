//! The connection to the cluster: waiting for the next attempt, connecting, or open.

use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use crate::socket::{Ending, Opened, Socket};

/// The state of the connection.
#[derive(Debug)]
pub(crate) enum Connection {
    /// The next attempt begins at this time.
    Waiting(Instant),
    /// An attempt is under way.
    Opening(AbortOnDropHandle<Result<Opened, Ending>>),
    /// The connection is open.
    Open(Box<Socket>),
}

/// A change of the connection, or a frame on it.
#[derive(Debug)]
pub(crate) enum Progress {
    /// It is time for the next attempt.
    Due,
    /// The connection is open.
    Opened(Box<Opened>),
    /// A frame was received.
    Text(String),
    /// The connection, or the attempt, has ended.
    Ended(Ending),
}

impl Connection {
    /// Waits for the next progress. Reads frames only if `reading`. Cancel safe.
    pub(crate) async fn progress(&mut self, reading: bool) -> Progress {
        match self {
            Self::Waiting(until) => {
                sleep_until(*until).await;
                Progress::Due
            }
            Self::Opening(attempt) => match attempt.await {
                Ok(Ok(opened)) => Progress::Opened(Box::new(opened)),
                Ok(Err(ending)) => Progress::Ended(ending),
                // The runtime shuts down.
                Err(error) => Progress::Ended(Ending::abrupt(error.to_string())),
            },
            Self::Open(socket) => match socket.progress(reading).await {
                Ok(text) => Progress::Text(text),
                Err(ending) => Progress::Ended(ending),
            },
        }
    }
}
