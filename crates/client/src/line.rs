//! The line to the cluster: between connections, connecting, or connected.

use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use crate::socket::{Ending, Opened, Socket};

/// In which of its three states the line is.
#[derive(Debug)]
pub(crate) enum Line {
    /// The next attempt begins at this time.
    Waiting(Instant),
    /// An attempt is under way.
    Opening(AbortOnDropHandle<Result<Opened, Ending>>),
    /// Connected.
    Open(Box<Socket>),
}

/// An event on the line.
#[derive(Debug)]
pub(crate) enum Progress {
    /// It is time for the next attempt.
    Due,
    /// A connection is there.
    Opened(Box<Opened>),
    /// A frame came.
    Text(String),
    /// The connection, or the attempt, is over.
    Ended(Ending),
}

impl Line {
    /// Waits for what happens next; reads only while `reading`. Cancel safe.
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
