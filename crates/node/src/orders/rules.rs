//! The rules in force: bans, mutes, kicks and revoked tokens.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use std::time::SystemTime;

use hubbub_protocol::{CloseCode, Issued, Order, RoomId, Subject, Tokens, UserId};
use ipnet::IpNet;
use parking_lot::RwLock;

use crate::Identity;

/// The reason why a client is kept out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exclusion {
    /// The user or the address is banned.
    Banned,
    /// The token is revoked.
    Revoked,
}

impl Exclusion {
    /// The code with which a socket is closed.
    #[must_use]
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::Banned => CloseCode::Forbidden,
            Self::Revoked => CloseCode::Revoked,
        }
    }
}

/// The facts about a token that rules look at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proof {
    pub(crate) token_id: Option<Box<str>>,
    /// When the token was issued, in milliseconds since 1970.
    pub(crate) issued: Option<u64>,
}

impl Proof {
    pub(crate) fn of(identity: &Identity) -> Self {
        Self {
            token_id: identity.token_id.as_deref().map(Box::from),
            issued: identity.issued,
        }
    }
}

/// All rules, by name and by subject.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    state: RwLock<State>,
    /// Most of the time there are no such rules. These flags show it without taking the lock.
    has_address_bans: AtomicBool,
    has_mutes: AtomicBool,
    has_kicks: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    named: HashMap<String, Issued>,
    users: HashMap<UserId, Term>,
    /// Banned networks, by length of prefix.
    networks: HashMap<u8, HashMap<IpNet, Term>>,
    mutes: HashMap<(RoomId, UserId), Term>,
    kicks: HashMap<(RoomId, UserId), Term>,
    /// Per user: tokens issued at or before this time are revoked.
    users_tokens: HashMap<UserId, (u64, Term)>,
    tokens: HashMap<Box<str>, Term>,
}

/// How long a rule holds.
#[derive(Debug, Clone, Copy)]
struct Term {
    until: Option<u64>,
}

impl Term {
    fn holds(self, now: u64) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

impl Rules {
    /// Replaces all rules by these.
    pub(crate) fn replace(&self, rules: Vec<Issued>) {
        let mut state = State::default();
        for rule in rules {
            state.set(rule);
        }
        *self.write() = state;
        self.note();
    }

    /// The rules in force that are not among `others`.
    pub(crate) fn beside(&self, others: &[Issued]) -> Vec<Issued> {
        let others: HashSet<String> = others.iter().filter_map(|rule| rule.order.key()).collect();
        let (state, now) = (self.read(), now_ms());
        let rules = state.named.iter();
        let kept = rules.filter(|(name, rule)| !others.contains(*name) && !rule.is_over(now));
        kept.map(|(_, rule)| rule.clone()).collect()
    }

    /// Sets or lifts the order's rule, unless a later order has changed it already.
    pub(crate) fn apply(&self, issued: &Issued) {
        let mut state = self.write();
        let Some(name) = issued.order.key() else {
            return;
        };
        let known = state.named.get(&name);
        if known.is_some_and(|known| known.sequence > issued.sequence) {
            return;
        }
        state.forget(&name);
        if issued.order.effect() == hubbub_protocol::order::Effect::Lasting {
            state.set(issued.clone());
        }
        drop(state);
        self.note();
    }

    /// Removes expired rules.
    pub(crate) fn expire(&self) {
        let now = now_ms();
        let mut state = self.write();
        let over = state.named.iter().filter(|(_, rule)| rule.is_over(now));
        let over: Vec<String> = over.map(|(name, _)| name.clone()).collect();
        for name in over {
            state.forget(&name);
        }
        drop(state);
        self.note();
    }

    /// Why this client is kept out. `None`: it is not.
    pub(crate) fn exclusion(
        &self,
        user: &UserId,
        proof: &Proof,
        client: Option<IpAddr>,
    ) -> Option<Exclusion> {
        let (state, now) = (self.read(), now_ms());
        let is_banned = state.users.get(user).is_some_and(|term| term.holds(now))
            || client.is_some_and(|client| state.bans(client, now));
        if is_banned {
            return Some(Exclusion::Banned);
        }
        let token = proof.token_id.as_ref().and_then(|id| state.tokens.get(id));
        let by_id = token.is_some_and(|term| term.holds(now));
        let of_user = state.users_tokens.get(user);
        // A token without a time of issue counts as old.
        let by_age = of_user.is_some_and(|(before, term)| {
            term.holds(now) && proof.issued.is_none_or(|issued| issued <= *before)
        });
        (by_id || by_age).then_some(Exclusion::Revoked)
    }

    pub(crate) fn bans_address(&self, client: IpAddr) -> bool {
        self.has_address_bans.load(Ordering::Relaxed) && self.read().bans(client, now_ms())
    }

    pub(crate) fn mutes(&self, user: &UserId, room: &RoomId) -> bool {
        if !self.has_mutes.load(Ordering::Relaxed) {
            return false;
        }
        let state = self.read();
        let term = state.mutes.get(&(room.clone(), user.clone()));
        term.is_some_and(|term| term.holds(now_ms()))
    }

    /// Whether the user was kicked out of the room and must not come back yet.
    pub(crate) fn keeps_out(&self, user: &UserId, room: &RoomId) -> bool {
        if !self.has_kicks.load(Ordering::Relaxed) {
            return false;
        }
        let state = self.read();
        let term = state.kicks.get(&(room.clone(), user.clone()));
        term.is_some_and(|term| term.holds(now_ms()))
    }

    /// The users who are kicked out of a room at present.
    pub(crate) fn kicked(&self) -> Vec<(RoomId, UserId)> {
        if !self.has_kicks.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let (state, now) = (self.read(), now_ms());
        let kicks = state.kicks.iter().filter(|(_, term)| term.holds(now));
        kicks.map(|(who, _)| who.clone()).collect()
    }

    /// At most `limit` rules after the name `after`, by name.
    pub(crate) fn list(&self, after: &str, limit: usize) -> Vec<(String, Issued)> {
        let (state, now) = (self.read(), now_ms());
        let rules = state.named.iter();
        let mut rules: Vec<_> = rules
            .filter(|(name, rule)| name.as_str() > after && !rule.is_over(now))
            .collect();
        rules.sort_unstable_by_key(|(name, _)| *name);
        let rules = rules.into_iter().take(limit);
        rules
            .map(|(name, rule)| (name.clone(), rule.clone()))
            .collect()
    }

    fn note(&self) {
        let state = self.read();
        let (networks, mutes) = (!state.networks.is_empty(), !state.mutes.is_empty());
        let kicks = !state.kicks.is_empty();
        drop(state);
        self.has_address_bans.store(networks, Ordering::Relaxed);
        self.has_mutes.store(mutes, Ordering::Relaxed);
        self.has_kicks.store(kicks, Ordering::Relaxed);
    }

    fn read(&self) -> parking_lot::RwLockReadGuard<'_, State> {
        self.state.read()
    }

    fn write(&self) -> parking_lot::RwLockWriteGuard<'_, State> {
        self.state.write()
    }
}

impl State {
    fn set(&mut self, rule: Issued) {
        let term = Term { until: rule.until };
        match &rule.order {
            Order::Ban { subject, .. } => match subject {
                Subject::User(user) => drop(self.users.insert(user.clone(), term)),
                Subject::Address(net) => {
                    let of_length = self.networks.entry(net.prefix_len()).or_default();
                    of_length.insert(net.trunc(), term);
                }
            },
            Order::Mute { user, room, .. } => {
                self.mutes.insert((room.clone(), user.clone()), term);
            }
            Order::Kick {
                user,
                room: Some(room),
            } => drop(self.kicks.insert((room.clone(), user.clone()), term)),
            Order::Revoke { tokens } => match tokens {
                Tokens::Of(user) => {
                    self.users_tokens.insert(user.clone(), (rule.at(), term));
                }
                Tokens::Id(id) => drop(self.tokens.insert(id.as_str().into(), term)),
            },
            Order::Kick { room: None, .. }
            | Order::Unban { .. }
            | Order::Unmute { .. }
            | Order::Unrevoke { .. }
            | Order::Announce { .. }
            | Order::Drain { .. } => return,
        }
        if let Some(name) = rule.order.key() {
            self.named.insert(name, rule);
        }
    }

    fn forget(&mut self, name: &str) {
        let Some(rule) = self.named.remove(name) else {
            return;
        };
        match rule.order {
            Order::Ban { subject, .. } => match subject {
                Subject::User(user) => drop(self.users.remove(&user)),
                Subject::Address(net) => {
                    let length = net.prefix_len();
                    if let Some(of_length) = self.networks.get_mut(&length) {
                        of_length.remove(&net.trunc());
                        if of_length.is_empty() {
                            self.networks.remove(&length);
                        }
                    }
                }
            },
            Order::Mute { user, room, .. } => drop(self.mutes.remove(&(room, user))),
            Order::Kick {
                user,
                room: Some(room),
            } => drop(self.kicks.remove(&(room, user))),
            Order::Revoke { tokens } => match tokens {
                Tokens::Of(user) => drop(self.users_tokens.remove(&user)),
                Tokens::Id(id) => drop(self.tokens.remove(id.as_str())),
            },
            Order::Kick { room: None, .. }
            | Order::Unban { .. }
            | Order::Unmute { .. }
            | Order::Unrevoke { .. }
            | Order::Announce { .. }
            | Order::Drain { .. } => {}
        }
    }

    fn bans(&self, client: IpAddr, now: u64) -> bool {
        // An IPv4 client of an IPv6 socket is checked by its IPv4 address.
        let client = client.to_canonical();
        self.networks.iter().any(|(length, nets)| {
            let Ok(net) = IpNet::new(client, *length) else {
                return false;
            };
            nets.get(&net.trunc()).is_some_and(|term| term.holds(now))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn issued(sequence: u64, until: Option<u64>, order: Order) -> Issued {
        Issued {
            sequence,
            until,
            order,
        }
    }

    fn ban(net: &str) -> Order {
        Order::Ban {
            subject: Subject::Address(net.parse().unwrap()),
            reason: None,
        }
    }

    #[test]
    fn networks_hold_their_addresses() {
        let rules = Rules::default();
        rules.apply(&issued(1, None, ban("10.1.2.3/32")));
        rules.apply(&issued(2, None, ban("2001:db8:0:1::/64")));
        rules.apply(&issued(3, Some(1), ban("10.9.0.0/16")));
        let bans = |address: &str| rules.bans_address(address.parse().unwrap());
        assert!(bans("10.1.2.3") && bans("::ffff:10.1.2.3") && bans("2001:db8:0:1:ffff::1"));
        assert!(!bans("10.1.2.4") && !bans("2001:db8:0:2::1"));
        assert!(!bans("10.9.1.1"), "it is over");
        let unban = Order::Unban {
            subject: Subject::Address("10.1.2.3/32".parse().unwrap()),
        };
        rules.apply(&issued(4, None, unban));
        assert!(!bans("10.1.2.3") && bans("2001:db8:0:1::"));
        rules.expire();
        assert_eq!(rules.list("", 10).len(), 1);
    }

    #[test]
    fn tokens_of_before_count_no_more() {
        let rules = Rules::default();
        let order = Order::Revoke {
            tokens: Tokens::Of(user("eve")),
        };
        rules.apply(&issued(10_000_000, None, order));
        let made = |issued| Proof {
            issued,
            token_id: None,
        };
        let excludes = |who: &str, at| rules.exclusion(&user(who), &made(at), None);
        assert_eq!(excludes("eve", Some(9_000)), Some(Exclusion::Revoked));
        assert_eq!(excludes("eve", None), Some(Exclusion::Revoked));
        assert_eq!(excludes("eve", Some(11_000)), None);
        assert_eq!(excludes("bob", None), None);
    }

    #[test]
    fn a_late_order_does_not_undo_a_later_one() {
        let rules = Rules::default();
        let room = RoomId::new("r").unwrap();
        let mute = Order::Mute {
            user: user("eve"),
            room: room.clone(),
            reason: None,
        };
        rules.apply(&issued(5, None, mute.clone()));
        let unmute = Order::Unmute {
            user: user("eve"),
            room: room.clone(),
        };
        rules.apply(&issued(4, None, unmute.clone()));
        assert!(rules.mutes(&user("eve"), &room));
        rules.apply(&issued(6, None, unmute));
        assert!(!rules.mutes(&user("eve"), &room));
        rules.replace(vec![issued(7, None, mute)]);
        assert!(rules.mutes(&user("eve"), &room) && !rules.mutes(&user("bob"), &room));
    }
}
