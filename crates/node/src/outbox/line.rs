//! A client's socket, as far as delivery may use it without its task.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;

use hubbub_protocol::Frame;

use super::Outbox;

/// A socket that may be written to from any thread. What it was given goes out before anything that
/// the connection's own task writes later.
pub trait Line: Debug + Send + Sync {
    /// Takes frames off the front, in order, as far as the socket takes them at once, and never
    /// waits. Returns whether the connection's task has to go on: something is left, with the line
    /// or in `frames`, or the socket is broken.
    fn send(&self, frames: &mut VecDeque<Frame>) -> bool;
}

/// Outboxes that have got frames and whose tasks sleep. Dropped, it writes to all of them, so that
/// none can be forgotten; that must not happen under a room's lock.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Due(Vec<Arc<Outbox>>);

/// As many sockets are written to in one go: less than a millisecond.
const AT_ONCE: usize = 64;

impl Due {
    /// Adds one; `most` is how many there may be in all.
    pub(crate) fn push(&mut self, outbox: &Arc<Outbox>, most: usize) {
        if self.0.capacity() == 0 {
            self.0.reserve(most);
        }
        self.0.push(Arc::clone(outbox));
    }

    /// Takes a part off, until what is left can be written to in one go.
    pub(crate) fn split(&mut self) -> Option<Self> {
        let keep = self.0.len().checked_sub(AT_ONCE).filter(|rest| *rest > 0)?;
        Some(Self(self.0.split_off(keep)))
    }

    /// Writes to all of them.
    pub(crate) fn flush(self) {
        drop(self);
    }
}

impl Drop for Due {
    fn drop(&mut self) {
        for outbox in &self.0 {
            outbox.flush();
        }
    }
}
