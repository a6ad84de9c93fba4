//! The expiry of tokens: one list for the whole node, looked at now and then, so that an idle
//! connection needs no timer for it.

use std::collections::BTreeSet;

use std::time::Duration;

use hubbub_protocol::{CloseCode, ConnectionId};
use parking_lot::Mutex;
use tokio::time::sleep;

use crate::node::Node;
use crate::orders::now_ms;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// Connections by the times at which their tokens expire, in milliseconds since 1970.
#[derive(Debug, Default)]
pub(crate) struct Expiry(Mutex<BTreeSet<(u64, ConnectionId)>>);

impl Expiry {
    pub(crate) fn add(&self, expires: Option<u64>, connection: &ConnectionId) {
        if let Some(expires) = expires {
            self.0.lock().insert((expires, connection.clone()));
        }
    }

    pub(crate) fn remove(&self, expires: Option<u64>, connection: &ConnectionId) {
        if let Some(expires) = expires {
            self.0.lock().remove(&(expires, connection.clone()));
        }
    }

    /// Takes out whoever's token has expired.
    fn take_due(&self, now: u64) -> Vec<ConnectionId> {
        let mut list = self.0.lock();
        let mut due = Vec::new();
        while list.first().is_some_and(|(expires, _)| *expires <= now) {
            due.extend(list.pop_first().map(|(_, connection)| connection));
        }
        due
    }
}

impl Node {
    /// Runs for as long as the node: closes connections whose tokens have expired (4411).
    pub(crate) async fn keep_expiry(&self) {
        loop {
            sleep(LOOK).await;
            for connection in self.expiry.take_due(now_ms()) {
                if let Some(outbox) = self.hub.outbox(&connection) {
                    outbox.close(CloseCode::TokenExpired);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_due_is_taken_once_and_in_order() {
        let expiry = Expiry::default();
        let [a, b, c] = std::array::from_fn(|_| ConnectionId::generate());
        expiry.add(Some(300), &a);
        expiry.add(Some(100), &b);
        expiry.add(Some(200), &c);
        expiry.add(None, &c);
        assert_eq!(expiry.take_due(99), []);
        expiry.remove(Some(200), &c);
        assert_eq!(expiry.take_due(300), [b, a]);
        assert_eq!(expiry.take_due(u64::MAX), []);
    }
}
