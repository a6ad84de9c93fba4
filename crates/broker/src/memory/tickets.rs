//! The embedded broker's tickets, kept until they expire or are used.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::MemoryBroker;
use crate::BrokerError;

/// The most tickets that are kept at once. Beyond it, new ones are refused.
const MOST: usize = 10_000;

/// Expiry and content of each ticket, by its digest.
#[derive(Debug, Default)]
pub(super) struct Tickets(Mutex<HashMap<String, (Instant, String)>>);

impl MemoryBroker {
    pub(crate) fn keep_ticket(
        &self,
        digest: &str,
        content: &str,
        life: Duration,
    ) -> Result<(), BrokerError> {
        let now = Instant::now();
        let tickets = self.cluster.0.tickets.0.lock();
        let mut tickets = tickets.unwrap_or_else(PoisonError::into_inner);
        if tickets.len() >= MOST {
            tickets.retain(|_, (ends, _)| *ends > now);
        }
        if tickets.len() >= MOST {
            return Err(BrokerError::Unavailable("too many tickets".to_owned()));
        }
        tickets.insert(digest.to_owned(), (now + life, content.to_owned()));
        Ok(())
    }

    pub(crate) fn ticket(&self, digest: &str, once: bool) -> Option<String> {
        let tickets = self.cluster.0.tickets.0.lock();
        let mut tickets = tickets.unwrap_or_else(PoisonError::into_inner);
        let found = match once {
            true => tickets.remove(digest),
            false => tickets.get(digest).cloned(),
        };
        let (ends, content) = found?;
        (ends > Instant::now()).then_some(content)
    }
}
