//! Reservations: what a client costs is taken from budgets before the work is done.
//!
//! Four budgets hold for each piece of work: those of the connection, the user, the address and the
//! node, in this order. A [`Reservation`] returns what it holds when it is dropped, so nothing is
//! lost when a client goes away in the middle of its work. Nobody waits while holding one: either all
//! budgets have enough, or nothing is taken and the work is tried again until its deadline. The one
//! exception is a long message with a body: it is in memory while its work is done, so it stays reserved
//! while that work waits for a read, until the same deadline.
//!
//! Answers also have a pace: a user may read [`USER_BYTES_PER_SECOND`] from the stores, kept up, and
//! an address [`ADDRESS_SHARE`] times as much. An IPv6 client pays as a part of its /64, /56 and /48
//! networks, so that one line has one share. While the node's budget is nearly spent, an address that holds
//! something gets no more than a part of what is free, so that something stays for all others. A search counts as [`SEARCH_COST`] times the time it took,
//! whether or not its client has waited for it. Repairs and operators hold no reservations.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hubbub_protocol::{ConnectionId, UserId};
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use tokio::time::sleep_until;

use crate::Limits;
use crate::address::ClientNetwork;
use crate::error::CommandError;
use crate::expiring_map::ExpiringMap;
use crate::node::Node;

/// An address holds at most one part in so many of the node's budget, and a user as much.
const ADDRESS_SHARE: u32 = 8;
/// An address that holds something already may hold at most one part in so many of what is free.
const FREE_SHARE: u32 = 2;
/// A connection holds at most one part in so many.
const CONNECTION_SHARE: u32 = 32;
/// Reads of the broker or the archive that one node has under way for clients.
const NODE_READS: usize = 64;
/// Searches that one node has under way.
const NODE_SEARCHES: usize = 16;
/// Searches of one user may take one part in so many of the time, kept up.
const SEARCH_COST: u32 = 4;
/// Bytes of answers that one user may read a second, kept up.
const USER_BYTES_PER_SECOND: f64 = 4.0 * 1024.0 * 1024.0;
/// Seconds' worth of bytes that may be read at once.
const READ_BURST: Duration = Duration::from_secs(4);
/// Bytes in memory for each byte of a message: what has come, the text, and what is made of it.
const MESSAGE_COPIES: usize = 3;
/// The pause before a reservation is tried again: the first one, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// The client that work is done for.
#[derive(Debug, Clone, Default)]
pub struct Payer {
    /// `None`: a request that has no session.
    pub connection: Option<ConnectionId>,
    /// `None`: not known yet.
    pub user: Option<UserId>,
    /// The client's address, or the first one of its IPv6 /64 network. `None`: not known.
    pub address: Option<IpAddr>,
}

/// An amount of work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Memory that is held: bodies that are read, answers until they are written.
    pub bytes: usize,
    /// Reads of the broker or the archive that are under way.
    pub reads: usize,
    /// Full-text searches that are under way.
    pub searches: usize,
}

/// A budget's owner.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Owner {
    Connection(ConnectionId),
    User(UserId),
    Network(ClientNetwork),
}

/// All budgets of one node.
#[derive(Debug)]
pub(crate) struct Reservations {
    node: Amount,
    /// The bytes that are taken now, as a metric.
    reserved_bytes: Gauge,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: Amount,
    /// Owners that hold nothing have no entry.
    of: HashMap<Owner, Amount>,
    /// Until then an owner has read what its pace allows.
    paid_until: ExpiringMap<Owner, Instant>,
}

/// Work that is paid for, until it is dropped.
#[derive(Debug)]
pub struct Reservation {
    budgets: Arc<Reservations>,
    payer: Payer,
    amount: Amount,
    since: Instant,
}

/// The reason why nothing was reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spent {
    /// A budget of the client's own is spent: its earlier work has to end first.
    Own,
    /// The client has read as much as its pace allows; it may go on after this time.
    Pace(Duration),
    /// The node's budget is spent.
    Node,
}

impl Amount {
    /// An amount of memory, and no read.
    #[must_use]
    pub fn bytes(bytes: usize) -> Self {
        Self {
            bytes,
            ..Self::default()
        }
    }

    /// One read whose answer has at most `bytes`.
    #[must_use]
    pub fn read(bytes: usize) -> Self {
        Self {
            bytes,
            reads: 1,
            searches: 0,
        }
    }

    fn part(self, share: u32) -> Self {
        let share = usize::try_from(share).expect("a share is small");
        Self {
            bytes: self.bytes / share,
            reads: self.reads.div_ceil(share),
            searches: self.searches.div_ceil(share),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes + other.bytes,
            reads: self.reads + other.reads,
            searches: self.searches + other.searches,
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes - other.bytes,
            reads: self.reads - other.reads,
            searches: self.searches - other.searches,
        }
    }

    fn times(self, count: u32) -> Self {
        let count = usize::try_from(count).expect("a count of shares is small");
        Self {
            bytes: self.bytes * count,
            reads: self.reads * count,
            searches: self.searches * count,
        }
    }

    /// Whether `held` and this are within a budget, in what this is about.
    fn fits_beside(self, held: Self, budget: Self) -> bool {
        let fits = |this, held, budget| this == 0 || held + this <= budget;
        fits(self.bytes, held.bytes, budget.bytes)
            && fits(self.reads, held.reads, budget.reads)
            && fits(self.searches, held.searches, budget.searches)
    }

    fn fits(self, budget: Self) -> bool {
        self.bytes <= budget.bytes && self.reads <= budget.reads && self.searches <= budget.searches
    }
}

impl Payer {
    /// From the narrowest to the widest.
    fn owners(&self) -> impl Iterator<Item = Owner> {
        let connection = self.connection.clone().map(Owner::Connection);
        let user = self.user.clone().map(Owner::User);
        let networks = self.address.into_iter().flat_map(ClientNetwork::all_of);
        let named = [connection, user].into_iter().flatten();
        named.chain(networks.map(Owner::Network))
    }
}

impl Reservations {
    pub(crate) fn new(limits: &Limits, reserved_bytes: Gauge) -> Arc<Self> {
        let bytes = usize::try_from(limits.outbox_node_bytes.as_u64()).unwrap_or(usize::MAX);
        Arc::new(Self {
            reserved_bytes,
            node: Amount {
                bytes,
                reads: NODE_READS,
                searches: NODE_SEARCHES,
            },
            state: Mutex::default(),
        })
    }

    /// The most that one owner may hold.
    fn budget(&self, owner: &Owner) -> Amount {
        match owner {
            Owner::Connection(_) => self.node.part(CONNECTION_SHARE),
            Owner::User(_) => self.node.part(ADDRESS_SHARE),
            Owner::Network(network) => self.node.part(ADDRESS_SHARE).times(network.shares()),
        }
    }

    /// Takes all of it from every budget, or nothing. No amount is larger than the smallest budget,
    /// so whoever holds nothing can always be served.
    fn take(self: &Arc<Self>, payer: &Payer, amount: Amount) -> Result<Reservation, Spent> {
        let most = self.node.part(CONNECTION_SHARE).bytes;
        let amount = Amount {
            bytes: amount.bytes.min(most),
            ..amount
        };
        let mut state = self.state.lock();
        let now = Instant::now();
        let fair = self.node.minus(state.taken).part(FREE_SHARE);
        for owner in payer.owners() {
            let held = state.of.get(&owner).copied().unwrap_or_default();
            let is_fair = match owner {
                Owner::Network(_) if held != Amount::default() => amount.fits_beside(held, fair),
                Owner::Connection(_) | Owner::User(_) | Owner::Network(_) => true,
            };
            if !is_fair || !held.plus(amount).fits(self.budget(&owner)) {
                return Err(Spent::Own);
            }
            let is_read = amount.reads > 0;
            if let Some(paid) = state.paid_until.get(&owner).filter(|_| is_read)
                && *paid > now + READ_BURST
            {
                return Err(Spent::Pace(*paid - now - READ_BURST));
            }
        }
        if !state.taken.plus(amount).fits(self.node) {
            return Err(Spent::Node);
        }
        for owner in payer.owners() {
            let held = state.of.entry(owner).or_default();
            *held = held.plus(amount);
        }
        let taken = state.taken.plus(amount);
        self.set_taken(&mut state, taken);
        Ok(Reservation {
            budgets: Arc::clone(self),
            payer: payer.clone(),
            amount,
            since: now,
        })
    }

    fn give_back(&self, payer: &Payer, amount: Amount) {
        let mut state = self.state.lock();
        let taken = state.taken.minus(amount);
        self.set_taken(&mut state, taken);
        for owner in payer.owners() {
            if let Some(held) = state.of.get_mut(&owner) {
                *held = held.minus(amount);
                if *held == Amount::default() {
                    state.of.remove(&owner);
                }
            }
        }
    }

    fn set_taken(&self, state: &mut State, taken: Amount) {
        state.taken = taken;
        self.reserved_bytes
            .set(i64::try_from(taken.bytes).unwrap_or(i64::MAX));
    }

    /// Counts an answer against the pace of its payer.
    fn charge_bytes(&self, payer: &Payer, bytes: usize) {
        #[expect(clippy::cast_precision_loss, reason = "no answer has 2^52 bytes")]
        let cost = Duration::from_secs_f64(bytes as f64 / USER_BYTES_PER_SECOND);
        self.charge(payer, cost);
    }

    /// Moves the moment until which a payer has read what its pace allows.
    fn charge(&self, payer: &Payer, cost: Duration) {
        let mut state = self.state.lock();
        let now = Instant::now();
        for owner in payer.owners() {
            let cost = match owner {
                // The user's pace is that of all its connections.
                Owner::Connection(_) => continue,
                Owner::User(_) => cost,
                Owner::Network(network) => cost / (ADDRESS_SHARE * network.shares()),
            };
            let paid = state.paid_until.get_or_insert_with(owner, now, || now);
            *paid = (*paid).max(now) + cost;
        }
    }
}

impl Reservation {
    /// Keeps the bytes of an answer that has been made, returns everything else, and charges the payer's
    /// pace. An answer that is larger than what was reserved counts with that.
    pub fn settle(&mut self, bytes: usize) {
        self.budgets.charge_bytes(&self.payer, bytes);
        self.charge_search();
        let kept = Amount::bytes(bytes.min(self.amount.bytes));
        let rest = self.amount.minus(kept);
        self.amount = kept;
        self.budgets.give_back(&self.payer, rest);
    }

    /// Charges bytes that were read for an answer beside those that it has.
    pub fn charge_read(&self, bytes: usize) {
        self.budgets.charge_bytes(&self.payer, bytes);
    }

    /// Charges the time of a search that ends now.
    fn charge_search(&self) {
        if self.amount.searches > 0 {
            let cost = self.since.elapsed() * SEARCH_COST;
            self.budgets.charge(&self.payer, cost);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.charge_search();
        self.budgets.give_back(&self.payer, self.amount);
    }
}

impl Node {
    /// Reserves work for a client; tries again until `limits.send_timeout` is over.
    ///
    /// # Errors
    /// [`CommandError::RateLimited`]: the client has too much under way or has read too much;
    /// [`CommandError::Unavailable`]: all clients of this node together have.
    pub async fn reserve(
        &self,
        payer: &Payer,
        amount: Amount,
    ) -> Result<Reservation, CommandError> {
        let deadline = self.send_deadline();
        let mut pause = FIRST_PAUSE;
        loop {
            let spent = match self.reservations.take(payer, amount) {
                Ok(reservation) => return Ok(reservation),
                Err(spent) => spent,
            };
            let again = Instant::now() + pause.mul_f64(0.5 + fastrand::f64());
            if again >= deadline {
                self.metrics.unpaid.inc();
                return Err(spent.into());
            }
            sleep_until(again.into()).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Reserves the memory of one message of a client before it is read.
    ///
    /// # Errors
    /// As [`Node::reserve`].
    pub async fn reserve_message(
        &self,
        payer: &Payer,
        bytes: usize,
    ) -> Result<Reservation, CommandError> {
        let amount = Amount::bytes(bytes.saturating_mul(MESSAGE_COPIES));
        self.reserve(payer, amount).await
    }

    /// The most that a page of so many events can take.
    #[must_use]
    pub fn cost_of_page(&self, events: usize) -> Amount {
        /// An event's fields beside its body.
        const OVERHEAD: usize = 1_024;
        let limits = &self.config.limits;
        let body = usize::try_from(limits.body_bytes.as_u64()).unwrap_or(usize::MAX);
        let events = events.clamp(1, limits.resume_page);
        Amount::read(body.saturating_add(OVERHEAD).saturating_mul(events))
    }
}

impl From<Spent> for CommandError {
    fn from(spent: Spent) -> Self {
        let wait = match spent {
            Spent::Own => Duration::from_secs(1),
            Spent::Pace(wait) => wait.max(Duration::from_millis(1)),
            Spent::Node => return Self::Unavailable,
        };
        Self::RateLimited {
            retry_after_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budgets() -> Arc<Reservations> {
        Reservations::new(&Limits::default(), Gauge::default())
    }

    fn payer(connection: &str, user: &str, address: &str) -> Payer {
        Payer {
            connection: Some(ConnectionId::new(connection).unwrap()),
            user: Some(UserId::new(user).unwrap()),
            address: Some(address.parse().unwrap()),
        }
    }

    const READ: Amount = Amount {
        bytes: 1_000,
        reads: 1,
        searches: 0,
    };

    fn taken(budgets: &Arc<Reservations>, payer: &Payer, amount: Amount) -> Vec<Reservation> {
        std::iter::from_fn(|| budgets.take(payer, amount).ok()).collect()
    }

    #[test]
    fn each_budget_is_a_part_of_the_wider_one() {
        let budgets = budgets();
        let first = taken(&budgets, &payer("c1", "alice", "10.0.0.1"), READ);
        assert_eq!(first.len(), NODE_READS / 32);
        let mut held = first;
        for connection in 2..10 {
            let payer = payer(&format!("c{connection}"), "alice", "10.0.0.1");
            held.extend(taken(&budgets, &payer, READ));
        }
        assert_eq!(held.len(), NODE_READS / 8, "of one user");
        let other = taken(&budgets, &payer("d1", "bob", "10.0.0.1"), READ);
        assert!(other.is_empty(), "the address has no more");
        let foreign = taken(&budgets, &payer("e1", "carol", "10.0.0.2"), READ);
        assert_eq!(foreign.len(), 2, "another address has");
        drop((held, foreign));
        let state = budgets.state.lock();
        assert_eq!(state.taken, Amount::default());
        assert!(state.of.is_empty(), "nothing stays behind");
    }

    #[test]
    fn the_node_has_a_budget_too() {
        let budgets = budgets();
        let mut held = Vec::new();
        for number in 0..100 {
            let payer = payer("c", &format!("u{number}"), &format!("10.0.0.{number}"));
            let payer = Payer {
                connection: None,
                ..payer
            };
            held.extend(taken(&budgets, &payer, READ));
        }
        assert_eq!(held.len(), NODE_READS);
        let late = payer("late", "late", "10.1.0.1");
        assert_eq!(budgets.take(&late, READ).unwrap_err(), Spent::Node);
    }

    /// Returns the reservations of clients that take all they can get, one read each in turn.
    fn held_by(budgets: &Arc<Reservations>, payers: &[Payer]) -> Vec<Vec<Reservation>> {
        let mut held: Vec<Vec<Reservation>> = payers.iter().map(|_| Vec::new()).collect();
        loop {
            let before: usize = held.iter().map(Vec::len).sum();
            for (payer, held) in payers.iter().zip(&mut held) {
                held.extend(budgets.take(payer, READ).ok());
            }
            if held.iter().map(Vec::len).sum::<usize>() == before {
                return held;
            }
        }
    }

    fn from(address: String) -> Payer {
        Payer {
            address: Some(address.parse().unwrap()),
            ..Payer::default()
        }
    }

    #[test]
    fn many_greedy_addresses_leave_a_part_to_others() {
        let budgets = budgets();
        let greedy: Vec<Payer> = (0..16).map(|n| from(format!("10.0.0.{n}"))).collect();
        let held = held_by(&budgets, &greedy);
        let counts: Vec<usize> = held.iter().map(Vec::len).collect();
        assert!(
            counts.iter().all(|count| (3..=4).contains(count)),
            "{counts:?}"
        );
        let others: Vec<Payer> = (0..4).map(|n| from(format!("10.1.0.{n}"))).collect();
        let reads: Vec<_> = others.iter().map(|it| budgets.take(it, READ)).collect();
        assert!(reads.iter().all(Result::is_ok), "{reads:?}");
    }

    #[test]
    fn an_ipv6_line_has_one_share_and_a_site_two() {
        let share = NODE_READS / 8;
        let held = |addresses: Vec<String>| {
            let payers: Vec<Payer> = addresses.into_iter().map(from).collect();
            let held = held_by(&budgets(), &payers);
            held.iter().map(Vec::len).sum::<usize>()
        };
        let of_line = |n: u32| format!("2001:db8:0:{:x}::", 0x0500 + n);
        assert_eq!(held((0..8).map(of_line).collect()), share);
        let of_site = |n: u32| format!("2001:db8:0:{:x}::", n << 8);
        assert_eq!(held((0..8).map(of_site).collect()), 2 * share);
        let of_sites = |n: u32| format!("2001:db8:{n:x}::");
        assert!(held((0..8).map(of_sites).collect()) > 4 * share);
    }

    #[test]
    fn an_answer_keeps_its_bytes_and_nothing_else() {
        let budgets = budgets();
        let payer = payer("c", "alice", "10.0.0.1");
        let mut read = budgets.take(&payer, READ).unwrap();
        read.settle(300);
        assert_eq!(budgets.state.lock().taken, Amount::bytes(300));
        read.settle(10_000);
        assert_eq!(budgets.state.lock().taken, Amount::bytes(300));
        drop(read);
        assert_eq!(budgets.state.lock().taken, Amount::default());
    }

    #[test]
    fn a_search_is_charged_by_its_time_though_nobody_waits_for_it() {
        let budgets = budgets();
        let payer = payer("c", "alice", "10.0.0.1");
        let search = Amount {
            searches: 1,
            ..READ
        };
        let mut held = budgets.take(&payer, search).unwrap();
        held.since -= Duration::from_secs(2);
        drop(held);
        let wait = budgets.take(&payer, search).unwrap_err();
        assert!(
            matches!(wait, Spent::Pace(wait) if wait > Duration::from_secs(3)),
            "{wait:?}"
        );
    }

    #[test]
    fn more_than_a_connection_may_hold_is_reserved_as_all_of_it() {
        let budgets = budgets();
        let payer = payer("c", "alice", "10.0.0.1");
        let huge = budgets.take(&payer, Amount::bytes(usize::MAX)).unwrap();
        assert_eq!(huge.amount, Amount::bytes(budgets.node.bytes / 32));
        assert_eq!(budgets.take(&payer, READ).unwrap_err(), Spent::Own);
    }

    #[test]
    fn who_reads_too_much_waits() {
        let budgets = budgets();
        let payer = payer("c", "alice", "10.0.0.1");
        for _ in 0..5 {
            let mut read = budgets.take(&payer, READ).unwrap();
            read.settle(4 << 20);
        }
        let Spent::Pace(wait) = budgets.take(&payer, READ).unwrap_err() else {
            panic!("something else is spent")
        };
        assert!(wait <= Duration::from_secs(1), "{wait:?}");
        assert!(
            budgets.take(&payer, Amount::bytes(1)).is_ok(),
            "it may send"
        );
        let neighbour = Payer {
            user: Some(UserId::new("bob").unwrap()),
            connection: None,
            ..payer
        };
        assert!(budgets.take(&neighbour, READ).is_ok());
    }
}
