//! A client's socket, as far as delivery may write to it without the connection's task.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;

use hubbub_protocol::Frame;

use super::Outbox;

/// A socket that any thread may write to. Frames that it was given go out before everything that
/// the connection's own task writes later.
pub trait Line: Debug + Send + Sync {
    /// Takes frames off the front, in order, as many as the socket takes at once. Never waits.
    /// Returns whether the connection's task has to continue: something is left, in the line or in
    /// `frames`, or the socket is broken.
    fn send(&self, frames: &mut VecDeque<Frame>) -> bool;
}

/// Outboxes that got frames while their tasks sleep. Dropping it writes to all of them, so that
/// none is forgotten. It must not be dropped under a room's lock.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Due(Vec<Arc<Outbox>>);

/// How many sockets are written to in one go: less than a millisecond.
const AT_ONCE: usize = 64;

impl Due {
    /// Adds an outbox. `most` is the expected number in all.
    pub(crate) fn push(&mut self, outbox: &Arc<Outbox>, most: usize) {
        if self.0.capacity() == 0 {
            self.0.reserve(most);
        }
        self.0.push(Arc::clone(outbox));
    }

    /// Takes a part off, until the rest can be written to in one go.
    pub(crate) fn split(&mut self) -> Option<Self> {
        let keep = self.0.len().checked_sub(AT_ONCE).filter(|rest| *rest > 0)?;
        Some(Self(self.0.split_off(keep)))
    }

    /// Writes to all outboxes.
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
