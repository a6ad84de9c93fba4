//! The bytes of all streams in memory, and of those that one user or one address has begun.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use hubbub_protocol::UserId;

/// The user and the address that began a room, which pay for its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Payers {
    pub(super) user: UserId,
    pub(super) address: IpAddr,
}

/// Who has how many bytes. Users and addresses without any have no entry.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    total: usize,
    users: HashMap<UserId, usize>,
    addresses: HashMap<IpAddr, usize>,
}

impl Ledger {
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// A stream that had `before` bytes has `after` now.
    pub(super) fn book(&mut self, payers: Option<&Payers>, before: usize, after: usize) {
        self.total = (self.total + after).saturating_sub(before);
        if let Some(Payers { user, address }) = payers {
            book_of(&mut self.users, user, before, after);
            book_of(&mut self.addresses, address, before, after);
        }
    }

    /// The larger of what the user and the address have.
    pub(super) fn held_by(&self, payers: &Payers) -> usize {
        let user = self.users.get(&payers.user).copied();
        let address = self.addresses.get(&payers.address).copied();
        user.max(address).unwrap_or(0)
    }
}

fn book_of<K: Hash + Eq + Clone>(
    sums: &mut HashMap<K, usize>,
    key: &K,
    before: usize,
    after: usize,
) {
    let sum = sums.get(key).copied().unwrap_or(0);
    match (sum + after).saturating_sub(before) {
        0 => drop(sums.remove(key)),
        sum => drop(sums.insert(key.clone(), sum)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_payers_have_what_they_began() {
        let payers = |user: &str, address: &str| Payers {
            user: UserId::new(user).unwrap(),
            address: address.parse().unwrap(),
        };
        let (alice, bob) = (payers("alice", "10.0.0.1"), payers("bob", "10.0.0.1"));
        let mut ledger = Ledger::default();
        ledger.book(Some(&alice), 0, 10);
        ledger.book(Some(&bob), 0, 5);
        ledger.book(None, 0, 7);
        assert_eq!((ledger.total(), ledger.held_by(&alice)), (22, 15));
        assert_eq!(ledger.held_by(&payers("bob", "10.0.0.2")), 5);
        ledger.book(Some(&alice), 10, 0);
        ledger.book(Some(&bob), 5, 0);
        assert_eq!((ledger.total(), ledger.held_by(&bob)), (7, 0));
        assert!(ledger.users.is_empty() && ledger.addresses.is_empty());
    }
}
