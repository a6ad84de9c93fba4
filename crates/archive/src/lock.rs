//! [`FileLock`] gives an SQLite file to one process, and notices when the file is taken away.
//!
//! Two advisory locks are taken, which the system takes back when the process ends: one on the database
//! file itself, so that a hard link is the same file, and one on the sidecar file `NAME.lock` beside it,
//! which older versions take. The sidecar also remembers the last commit (see [`Sidecar`]).

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::ArchiveError;
use crate::sidecar::Sidecar;
use parking_lot::Mutex;

/// The lock of one database, held for as long as it lives. The sidecar stays where it is: a process that
/// removed it could not know who has opened it meanwhile.
#[derive(Debug)]
pub(crate) struct FileLock {
    path: PathBuf,
    sidecar: Sidecar,
    /// Closing it would give up SQLite's own locks on the file, so it is dropped after SQLite's
    /// connections.
    database: File,
    identity: Identity,
    /// The write-ahead log that this process writes; `None`: not known yet.
    log: Mutex<Option<Identity>>,
}

/// The file behind a path, by device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// `None`: there is no file of that name.
    fn of(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        Some(Self {
            device: found.dev(),
            inode: found.ino(),
        })
    }
}

impl FileLock {
    /// Takes the locks of a database; by whichever name, it is the same database. Makes an empty file
    /// where there is none, so that it can be locked before SQLite opens it.
    pub(crate) fn take(path: &Path) -> Result<Self, ArchiveError> {
        let refused = |path: &Path, error| ArchiveError::Open {
            path: path.display().to_string(),
            source: sqlx::Error::Io(error),
        };
        let mut create = OpenOptions::new();
        create.create(true).append(true);
        if !path.exists() {
            create.open(path).map_err(|error| refused(path, error))?;
        }
        let path = path.canonicalize().map_err(|error| refused(path, error))?;
        let beside = beside(&path, ".lock");
        // The sidecar goes first: to open and close a database that this very process uses would give
        // up SQLite's locks on it.
        let sidecar = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(&beside)
            .map_err(|error| refused(&beside, error))?;
        lock(&sidecar, &path)?;
        let database = create.open(&path).map_err(|error| refused(&path, error))?;
        lock(&database, &path)?;
        let found = database.metadata().map_err(|error| refused(&path, error))?;
        Ok(Self {
            identity: Identity {
                device: found.dev(),
                inode: found.ino(),
            },
            sidecar: Sidecar::new(sidecar, &path),
            path,
            database,
            log: Mutex::default(),
        })
    }

    /// Why what is committed now would be lost; `None`: the path still names the file that is open.
    pub(crate) fn problem(&self) -> Option<String> {
        let path = self.path.display();
        match Identity::of(&self.path) {
            None => return Some(format!("{path} was removed while it was in use")),
            Some(found) if found != self.identity => {
                return Some(format!("{path} was replaced while it was in use"));
            }
            Some(_) => {}
        }
        let log = *self.log.lock();
        let is_other = log.is_some_and(|log| Identity::of(&self.log_path()) != Some(log));
        is_other.then(|| format!("the write-ahead log of {path} was removed while it was in use"))
    }

    /// Remembers which write-ahead log the open connection writes, unless it is known.
    pub(crate) fn learn_log(&self) {
        let mut log = self.log.lock();
        *log = log.or_else(|| Identity::of(&self.log_path()));
    }

    /// Forgets the write-ahead log: the connection is closed, and the next one may make another.
    pub(crate) fn forget_log(&self) {
        *self.log.lock() = None;
    }

    /// The file beside the database.
    pub(crate) fn sidecar(&self) -> &Sidecar {
        &self.sidecar
    }

    fn log_path(&self) -> PathBuf {
        beside(&self.path, "-wal")
    }
}

/// Unlocks at once. A child process that is just being started holds the files a moment longer than this
/// process, so closing them is not enough.
impl Drop for FileLock {
    fn drop(&mut self) {
        for file in [self.sidecar.file(), &self.database] {
            if let Err(error) = file.unlock() {
                tracing::warn!(%error, "the archive's lock was not given back");
            }
        }
    }
}

fn lock(file: &File, path: &Path) -> Result<(), ArchiveError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(ArchiveError::InUse {
            path: path.display().to_string(),
        }),
        Err(TryLockError::Error(error)) => Err(ArchiveError::Open {
            path: path.display().to_string(),
            source: sqlx::Error::Io(error),
        }),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
