//! One oracle that many recorders and senders write to while a test runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hubbub_verify::{ClientId, Verifier};

/// The oracle; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Mutex<Verifier>>);

impl Ledger {
    /// The oracle itself, for as long as the guard is held.
    pub fn open(&self) -> MutexGuard<'_, Verifier> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more client.
    #[must_use]
    pub fn client(&self, name: &str) -> Page {
        let client = self.open().client(name);
        Page {
            ledger: self.clone(),
            client,
        }
    }
}

/// One client's part of it.
#[derive(Debug, Clone)]
pub struct Page {
    ledger: Ledger,
    client: ClientId,
}

impl Page {
    /// Writes.
    pub fn write(&self, write: impl FnOnce(&mut Verifier, ClientId)) {
        write(&mut self.ledger.open(), self.client);
    }

    /// Writes a line as it came.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn line(&self, line: &str) {
        self.write(|verifier, client| {
            if let Err(error) = verifier.line(client, line) {
                panic!("a line that cannot be read: {error}: {line}");
            }
        });
    }
}
