//! One verifier that many recorders and senders write to while a test runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hubbub_verify::{ClientId, Verifier};

/// The verifier. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Mutex<Verifier>>);

impl Ledger {
    /// Locks the verifier until the guard is dropped.
    pub fn open(&self) -> MutexGuard<'_, Verifier> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a client.
    #[must_use]
    pub fn client(&self, name: &str) -> Page {
        let client = self.open().client(name);
        Page {
            ledger: self.clone(),
            client,
        }
    }
}

/// One client's part of the ledger.
#[derive(Debug, Clone)]
pub struct Page {
    ledger: Ledger,
    client: ClientId,
}

impl Page {
    /// Writes to the verifier for this client.
    pub fn write(&self, write: impl FnOnce(&mut Verifier, ClientId)) {
        write(&mut self.ledger.open(), self.client);
    }

    /// Writes a line of the client's log.
    ///
    /// # Panics
    /// Panics if the line cannot be read.
    pub fn line(&self, line: &str) {
        self.write(|verifier, client| {
            if let Err(error) = verifier.line(client, line) {
                panic!("the line cannot be read: {error}: {line}");
            }
        });
    }
}
