//! Messages from the reading side to the writing side of one connection.

use std::future::poll_fn;

use std::task::Poll;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

/// The most items that wait. When there are more, the inbound half waits until the client has read.
const CAPACITY: usize = 64;

/// A bounded queue inside one task.
#[derive(Debug)]
pub struct Backlog<T> {
    items: Mutex<Vec<T>>,
    taken: Notify,
}

impl<T> Default for Backlog<T> {
    fn default() -> Self {
        Self {
            items: Mutex::default(),
            taken: Notify::new(),
        }
    }
}

impl<T> Backlog<T> {
    /// Leaves an item; call [`Backlog::has_room`] before the next message is heard.
    pub fn push(&self, item: T) {
        self.lock().push(item);
    }

    /// Waits while many items are here, until the outbound half has taken them.
    pub async fn has_room(&self) {
        while self.lock().len() >= CAPACITY {
            self.taken.notified().await;
        }
    }

    /// Everything that is here now.
    pub fn take(&self) -> Vec<T> {
        let items = std::mem::take(&mut *self.lock());
        if items.len() >= CAPACITY {
            self.taken.notify_one();
        }
        items
    }

    /// Ready when something is here: see [`super::Outbound`] for why there is no waker.
    pub async fn has_items(&self) {
        poll_fn(|_| {
            if self.lock().is_empty() {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        self.items.lock()
    }
}
