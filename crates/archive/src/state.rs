//! How the archive is doing: whether its schema is ready, and what its last call ended with.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::time::timeout;

use crate::ArchiveError;

/// Shared by all clones of an archive.
#[derive(Debug)]
pub(crate) struct State {
    ready: AtomicBool,
    /// It was ready once.
    reached: AtomicBool,
    /// The failure of the last call; `None`: it succeeded.
    wrong: Mutex<Option<String>>,
    /// Why nothing can be written; `None`: the last try to write succeeded, as far as it is noted.
    unwritable: Mutex<Option<String>>,
    /// How long a call may take as a whole.
    patience: Duration,
    /// Sessions that were opened before this moment are not used again.
    retired: Mutex<Option<Instant>>,
}

/// Sessions are retired at most so often: while the database is read-only for all, each new session
/// fails like the one before.
const RETIREMENT: Duration = Duration::from_secs(1);

impl State {
    pub(crate) fn new(statement_timeout: Duration) -> Self {
        Self {
            ready: AtomicBool::new(false),
            reached: AtomicBool::new(false),
            wrong: Mutex::new(None),
            unwritable: Mutex::new(None),
            patience: statement_timeout * 2,
            retired: Mutex::new(None),
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    pub(crate) fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
        self.reached.store(true, Ordering::Release);
    }

    pub(crate) fn was_reached(&self) -> bool {
        self.reached.load(Ordering::Acquire)
    }

    pub(crate) fn unwritable(&self) -> Option<String> {
        self.unwritable.lock().clone()
    }

    /// A try to write failed, for this reason.
    pub(crate) fn cannot_write(&self, error: &ArchiveError) {
        *self.unwritable.lock() = Some(error.to_string());
    }

    /// Something was written.
    pub(crate) fn has_written(&self) {
        *self.unwritable.lock() = None;
    }

    pub(crate) fn wrong(&self) -> Option<String> {
        self.wrong.lock().clone()
    }

    /// Has every session of this moment closed instead of used: what made one of them stale has most
    /// likely reached all of them.
    fn retire_sessions(&self) {
        let mut retired = self.retired.lock();
        if retired.is_none_or(|at| at.elapsed() >= RETIREMENT) {
            *retired = Some(Instant::now());
        }
    }

    /// Whether a session of this age is not to be used again.
    pub(crate) fn is_retired(&self, age: Duration) -> bool {
        let retired = *self.retired.lock();
        retired.is_some_and(|at| age >= at.elapsed())
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
        match &result {
            Err(ArchiveError::StaleSession(_)) => self.retire_sessions(),
            Err(error @ ArchiveError::Full) => self.cannot_write(error),
            // Another database has taken its place: it is brought to the newest schema first.
            Err(ArchiveError::NoSchema(_)) => self.ready.store(false, Ordering::Release),
            Err(_) | Ok(_) => {}
        }
        let wrong = result.as_ref().err().map(ToString::to_string);
        *self.wrong.lock() = wrong;
        result
    }
}
