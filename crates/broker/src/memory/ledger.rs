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

/// One of a room's two payers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Payer {
    User(UserId),
    Address(IpAddr),
}

impl Payers {
    /// Both payers, one by one.
    pub(super) fn each(&self) -> [Payer; 2] {
        [Payer::User(self.user.clone()), Payer::Address(self.address)]
    }

    /// Whether this is the user or the address that pays.
    pub(super) fn include(&self, payer: &Payer) -> bool {
        match payer {
            Payer::User(user) => self.user == *user,
            Payer::Address(address) => self.address == *address,
        }
    }
}

/// The bytes of each user and address. Those without any have no entry.
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

    /// The bytes of all streams that one payer has begun.
    pub(super) fn held_by(&self, payer: &Payer) -> usize {
        let sum = match payer {
            Payer::User(user) => self.users.get(user),
            Payer::Address(address) => self.addresses.get(address),
        };
        sum.copied().unwrap_or(0)
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
        let held =
            |ledger: &Ledger, payers: &Payers| payers.each().map(|payer| ledger.held_by(&payer));
        assert_eq!((ledger.total(), held(&ledger, &alice)), (22, [10, 15]));
        assert_eq!(held(&ledger, &payers("bob", "10.0.0.2")), [5, 0]);
        ledger.book(Some(&alice), 10, 0);
        ledger.book(Some(&bob), 5, 0);
        assert_eq!((ledger.total(), held(&ledger, &bob)), (7, [0, 0]));
        assert!(ledger.users.is_empty() && ledger.addresses.is_empty());
    }
}
