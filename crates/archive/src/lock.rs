//! One process a file: an advisory lock beside it, which the system takes back when the process ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use crate::ArchiveError;

/// Held for as long as it lives. The lock's file stays where it is: whoever removed it could not know
/// who has opened it meanwhile.
#[derive(Debug)]
pub(crate) struct FileLock(File);

impl FileLock {
    /// Takes the lock of a file, by whichever name it is the same lock. Where there is no such file an
    /// empty one is made, so that there is one to be locked before anybody opens it as a database.
    pub(crate) fn take(path: &Path) -> Result<Self, ArchiveError> {
        let refused = |path: &Path, error| ArchiveError::Open {
            path: path.display().to_string(),
            source: sqlx::Error::Io(error),
        };
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(|error| refused(path, error))?;
        let path = path.canonicalize().map_err(|error| refused(path, error))?;
        let beside = beside(&path);
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&beside)
            .map_err(|error| refused(&beside, error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(ArchiveError::InUse {
                path: path.display().to_string(),
            }),
            Err(TryLockError::Error(error)) => Err(refused(&beside, error)),
        }
    }
}

/// Said, not left to the closing: a child that is just being started holds the file a moment longer.
impl Drop for FileLock {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the archive's lock was not given back");
        }
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}
