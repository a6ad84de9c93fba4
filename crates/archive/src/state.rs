//! How the archive is doing: whether its schema is ready, and what its last call ended with.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::timeout;

use crate::ArchiveError;

/// Shared by all clones of an archive.
#[derive(Debug)]
pub(crate) struct State {
    ready: AtomicBool,
    /// What the last call failed with; `None`: it went well.
    wrong: Mutex<Option<String>>,
    /// How long a call may take as a whole.
    patience: Duration,
}

impl State {
    pub(crate) fn new(statement_timeout: Duration) -> Self {
        Self {
            ready: AtomicBool::new(false),
            wrong: Mutex::new(None),
            patience: statement_timeout * 2,
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    pub(crate) fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    pub(crate) fn wrong(&self) -> Option<String> {
        self.wrong
            .lock()
            .expect("nothing panics while it is held")
            .clone()
    }

    /// Waits for `call` within the patience, and remembers how it ended. A server that is frozen
    /// enforces no timeout of its own.
    pub(crate) async fn watch<T>(
        &self,
        call: impl Future<Output = Result<T, ArchiveError>>,
    ) -> Result<T, ArchiveError> {
        let result = timeout(self.patience, call).await.unwrap_or_else(|_| {
            let patience = self.patience;
            Err(ArchiveError::Unavailable(format!(
                "no answer within {patience:?}"
            )))
        });
        let wrong = result.as_ref().err().map(ToString::to_string);
        *self.wrong.lock().expect("nothing panics while it is held") = wrong;
        result
    }
}
