//! The embedded broker's tickets, kept until they expire, are used, or give way to newer ones.

use std::collections::{BTreeMap, HashMap};

use std::time::{Duration, Instant};

use super::MemoryBroker;
use parking_lot::{Mutex, MutexGuard};

/// The tickets that are kept at most, and their bytes. Beyond it the oldest ones go: nobody is refused
/// because others have many.
const MOST: usize = 10_000;
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// The tickets by their digests.
#[derive(Debug, Default)]
pub(super) struct Tickets(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    by_digest: HashMap<String, Ticket>,
    /// The digests by the number of the ticket, the oldest first.
    by_age: BTreeMap<u64, String>,
    /// The tickets that were made so far.
    made: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Ticket {
    number: u64,
    expires: Instant,
    content: String,
}

impl State {
    fn insert(&mut self, digest: &str, content: &str, expires: Instant) {
        self.remove(digest);
        self.made += 1;
        let ticket = Ticket {
            number: self.made,
            expires,
            content: content.to_owned(),
        };
        self.bytes += size(digest, content);
        self.by_age.insert(ticket.number, digest.to_owned());
        self.by_digest.insert(digest.to_owned(), ticket);
        while self.by_digest.len() > MOST || self.bytes > MOST_BYTES {
            let Some((_, oldest)) = self.by_age.pop_first() else {
                return;
            };
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, digest: &str) -> Option<Ticket> {
        let ticket = self.by_digest.remove(digest)?;
        self.by_age.remove(&ticket.number);
        self.bytes -= size(digest, &ticket.content);
        Some(ticket)
    }

    /// Forgets the expired tickets at the old end.
    fn forget_expired(&mut self, now: Instant) {
        while let Some(oldest) = self.by_age.first_entry()
            && self.by_digest[oldest.get()].expires <= now
        {
            let digest = oldest.get().clone();
            self.remove(&digest);
        }
    }
}

fn size(digest: &str, content: &str) -> usize {
    digest.len() + content.len()
}

impl MemoryBroker {
    pub(crate) fn keep_ticket(&self, digest: &str, content: &str, life: Duration) {
        let now = Instant::now();
        let mut tickets = self.tickets();
        tickets.forget_expired(now);
        tickets.insert(digest, content, now + life);
    }

    pub(crate) fn ticket(&self, digest: &str, once: bool) -> Option<String> {
        let mut tickets = self.tickets();
        let (expires, content) = if once {
            tickets.remove(digest).map(|it| (it.expires, it.content))?
        } else {
            let ticket = tickets.by_digest.get(digest)?;
            (ticket.expires, ticket.content.clone())
        };
        (expires > Instant::now()).then_some(content)
    }

    fn tickets(&self) -> MutexGuard<'_, State> {
        self.cluster.0.tickets.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(count: usize, content: &str) -> State {
        let mut state = State::default();
        let end = Instant::now() + Duration::from_secs(60);
        for number in 0..count {
            state.insert(&number.to_string(), content, end);
        }
        state
    }

    #[test]
    fn the_oldest_tickets_give_way() {
        let state = filled(MOST + 10, "alice");
        assert_eq!((state.by_digest.len(), state.by_age.len()), (MOST, MOST));
        assert!(!state.by_digest.contains_key("9") && state.by_digest.contains_key("10"));
        let long = filled(MOST, &"x".repeat(9_000));
        assert!(long.bytes <= MOST_BYTES && long.by_digest.len() < MOST / 4);
        assert!(long.by_digest.contains_key(&(MOST - 1).to_string()));
    }

    #[test]
    fn used_and_expired_tickets_leave_nothing_behind() {
        let mut state = filled(10, "alice");
        assert!(state.remove("5").is_some() && state.remove("5").is_none());
        state.forget_expired(Instant::now() + Duration::from_secs(61));
        assert!(state.by_digest.is_empty() && state.by_age.is_empty());
        assert_eq!(state.bytes, 0);
    }
}
