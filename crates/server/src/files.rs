//! How many files, and so connections, this process may have open.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Kept for Redis, logs, listeners and operators.
const RESERVED: u64 = 64;

/// Raises the soft limit to the hard one, as far as the system lets us.
pub(crate) fn raise_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

/// Connections that fit below the limit of open files; 0: there is no limit.
pub(crate) fn connection_limit() -> usize {
    let Some(files) = getrlimit(Resource::Nofile).current else {
        return 0;
    };
    usize::try_from(files.saturating_sub(RESERVED).max(1)).unwrap_or(0)
}
