//! Short locks: nothing is awaited while one is held, and a panic elsewhere does not spread.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks; after a panic of another holder the state is used as it was left.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
