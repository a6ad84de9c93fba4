//! [`Sidecar`]: the file `NAME.lock` beside an SQLite database, which remembers the last commit.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use hubbub_outage::Outage;

/// The longest sidecar that is read.
const LENGTH: usize = 256;

/// The identity of a database and the number of its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Random; another one each time the database was found to be a restored copy.
    pub(crate) incarnation: String,
    /// How many events were ever appended.
    pub(crate) events: u64,
}

/// The open file.
#[derive(Debug)]
pub(crate) struct Sidecar {
    file: File,
    /// The database's path, for log lines.
    path: PathBuf,
    outage: Outage,
}

impl Sidecar {
    pub(crate) fn new(file: File, database: &Path) -> Self {
        Self {
            file,
            path: database.to_owned(),
            outage: Outage::new(),
        }
    }

    /// The file itself, which carries a lock.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The origin in the file; `None`: there is none, or it cannot be read.
    pub(crate) fn read(&self) -> Option<Origin> {
        let mut bytes = [0; LENGTH];
        let length = self.file.read_at(&mut bytes, 0).ok()?;
        let text = std::str::from_utf8(&bytes[..length]).ok()?;
        let mut words = text.split_ascii_whitespace();
        let (incarnation, events) = (words.next()?, words.next()?);
        Some(Origin {
            incarnation: incarnation.to_owned(),
            events: events.parse().ok()?,
        })
    }

    /// Writes the origin of a commit. It is not flushed to the disk: after a power
    /// failure an older sidecar beside a newer database is harmless. A failure is harmless too: the
    /// sidecar stays older.
    pub(crate) fn write(&self, origin: &Origin) {
        let Origin {
            incarnation,
            events,
        } = origin;
        // Always as long, so that an overwritten one leaves no rest.
        let line = format!("{incarnation:<40} {events:020}\n");
        match self.file.write_all_at(line.as_bytes(), 0) {
            Ok(()) => drop(self.outage.end()),
            Err(error) => self.report(&error),
        }
    }

    /// Flushes the file to the disk, so that it is not found empty after a power failure.
    pub(crate) fn sync(&self) {
        if let Err(error) = self.file.sync_all() {
            self.report(&error);
        }
    }

    fn report(&self, error: &std::io::Error) {
        if let Some(now) = self.outage.fail(error) {
            tracing::warn!(%error, failures = now.failures, path = %self.path.display(),
                "cannot write the file beside the archive, a restored archive may go unnoticed");
        }
    }
}
