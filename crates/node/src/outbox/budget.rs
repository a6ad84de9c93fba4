//! The bound on all outboxes of a node together.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::Limits;

/// The bytes that all outboxes of a node hold. When it is exceeded, live events are refused
/// everywhere, and the node closes the largest outboxes until the bytes fit again.
#[derive(Debug)]
pub(crate) struct OutboxBudget {
    used: AtomicUsize,
    limit: usize,
    spent: Notify,
}

impl OutboxBudget {
    pub(crate) fn new(limits: &Limits) -> Self {
        let limit = usize::try_from(limits.outbox_node_bytes.as_u64()).unwrap_or(usize::MAX);
        Self {
            used: AtomicUsize::new(0),
            limit,
            spent: Notify::new(),
        }
    }

    pub(super) fn add(&self, bytes: usize) {
        if self.used.fetch_add(bytes, Ordering::Relaxed) + bytes > self.limit {
            self.spent.notify_one();
        }
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// How many bytes exceed the limit.
    pub(crate) fn excess(&self) -> usize {
        self.used.load(Ordering::Relaxed).saturating_sub(self.limit)
    }

    /// Waits until the limit is exceeded.
    pub(crate) async fn overdrawn(&self) {
        while self.excess() == 0 {
            self.spent.notified().await;
        }
    }
}
