//! Pages that were read from the stream for members who are further back than the room's log. Other
//! members that need the same page get it without another read.

use std::collections::VecDeque;

use hubbub_protocol::{Envelope, Epoch};

use super::log::{LogBudget, cost};

/// The most pages that a room remembers.
const PAGES: usize = 8;
/// The most bytes that a room remembers, beside the newest page.
const BYTES: usize = 1024 * 1024;

#[derive(Debug)]
struct KnownPage {
    after: u64,
    events: Vec<Envelope>,
    bytes: usize,
}

/// The newest of these pages. Their bytes count in the node's budget for logs.
#[derive(Debug)]
pub(crate) struct RecentReads {
    pages: VecDeque<KnownPage>,
    bytes: usize,
    budget: LogBudget,
    deletions: u64,
}

impl RecentReads {
    pub(crate) fn new(budget: LogBudget) -> Self {
        Self {
            pages: VecDeque::new(),
            bytes: 0,
            budget,
            deletions: 0,
        }
    }

    /// The page that begins after this offset, of this epoch.
    pub(crate) fn get(&self, after: u64, epoch: &Epoch) -> Option<Vec<Envelope>> {
        let is_it = |page: &&KnownPage| {
            let first = page.events.first();
            page.after == after && first.is_some_and(|event| event.position.epoch == *epoch)
        };
        self.pages
            .iter()
            .find(is_it)
            .map(|page| page.events.clone())
    }

    pub(crate) fn remember(&mut self, after: u64, events: &[Envelope]) {
        while self.pages.len() >= PAGES || self.bytes > BYTES {
            let Some(oldest) = self.pages.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes;
            self.budget.give_back(oldest.bytes);
        }
        let bytes = events.iter().map(cost).sum();
        self.bytes += bytes;
        self.budget.add(bytes);
        self.pages.push_back(KnownPage {
            after,
            events: events.to_vec(),
            bytes,
        });
    }

    /// Drops all pages if one begins with an event from before `cutoff` (milliseconds since 1970).
    pub(crate) fn expire(&mut self, cutoff: u64) {
        let is_old = |page: &KnownPage| {
            let first = page.events.first();
            first.is_some_and(|event| event.read().is_ok_and(|event| event.ts < cutoff))
        };
        if self.pages.iter().any(is_old) {
            self.clear();
        }
    }

    /// Drops all pages if deletions or edits have happened since they were read: they may hold a
    /// body that was removed since. `deletions`: see [`super::log::RoomLog::deletions`].
    pub(crate) fn forget_before(&mut self, deletions: u64) {
        if self.deletions != deletions {
            self.deletions = deletions;
            self.clear();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.budget.give_back(self.bytes);
        self.bytes = 0;
        self.pages.clear();
    }
}

impl Drop for RecentReads {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::log::tests::page;
    use super::*;

    #[test]
    fn pages_are_found_until_others_take_their_place() {
        let budget = LogBudget::default();
        let mut reads = RecentReads::new(budget.clone());
        let events = page("e", 20, 1..=20).events;
        for after in 0..=PAGES {
            reads.remember(after as u64, &events[after..after + 2]);
        }
        let epoch = &events[0].position.epoch;
        assert_eq!(reads.get(0, epoch), None);
        assert_eq!(reads.get(3, epoch).as_deref(), Some(&events[3..5]));
        assert_eq!(reads.get(3, &Epoch::new("other").unwrap()), None);
        drop(reads);
        assert_eq!(budget.used(), 0);
    }
}
