//! The users with connections in a room on this node, and which of them the broker knows.

use std::collections::HashMap;
use std::time::Instant;

use hubbub_broker::{Attendance, BrokerError, Presence};
use hubbub_protocol::{User, UserId};
use indexmap::IndexSet;
use tokio::sync::watch;

/// Users in one registration.
const BATCH: usize = 64;

/// The users of a room on this node.
#[derive(Debug, Default)]
pub(super) struct Roster {
    users: HashMap<UserId, Local>,
    /// Users who came or left since the broker was told.
    changed: IndexSet<UserId>,
    is_registering: bool,
    /// Counts how often all registrations were lost.
    round: u64,
    /// The room's presence has to be read once all users are registered again.
    is_lost: bool,
    /// The newest count and version that the broker has answered.
    answered: Presence,
    /// The result of the newest registration. `None`: it succeeded.
    outcome: watch::Sender<Option<BrokerError>>,
}

#[derive(Debug)]
struct Local {
    user: User,
    connections: usize,
    /// The broker has the user.
    is_registered: bool,
    /// The list in which the broker had the user last. 0: none.
    registry: u64,
    /// When a user without connections counts as gone.
    leave_due: Option<Instant>,
    /// The broker has to remove the user.
    is_gone: bool,
}

impl Local {
    /// The broker's form of a user who is here.
    fn attendance(&self) -> Attendance {
        let user = self.user.clone();
        match self.registry {
            0 => Attendance::Enter(user),
            registry => Attendance::Again { user, registry },
        }
    }
}

/// Some changes on their way to the broker.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Registration {
    pub(super) users: Vec<Attendance>,
    round: u64,
}

impl Roster {
    /// Whether no user is here or registered from here.
    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Counts a connection. Returns whether the broker has to be told.
    pub(super) fn arrive(&mut self, user: &User) -> bool {
        let local = self.users.entry(user.id.clone()).or_insert_with(|| Local {
            user: user.clone(),
            connections: 0,
            is_registered: false,
            registry: 0,
            leave_due: None,
            is_gone: false,
        });
        local.connections += 1;
        local.leave_due = None;
        local.is_gone = false;
        if !local.is_registered {
            self.changed.insert(user.id.clone());
        }
        !local.is_registered
    }

    /// Uncounts a connection. Returns whether it was the user's last one here; then the user is
    /// gone at `due`.
    pub(super) fn depart(&mut self, user: &UserId, due: Instant) -> bool {
        let Some(local) = self.users.get_mut(user) else {
            return false;
        };
        local.connections = local.connections.saturating_sub(1);
        local.leave_due = (local.connections == 0).then_some(due);
        local.connections == 0
    }

    /// Returns whether the user is gone, so that the broker has to be told. A user is not gone who
    /// has a connection here, or who came back and was cut off again, which starts another delay.
    pub(super) fn leave(&mut self, user: &UserId, now: Instant) -> bool {
        let Some(local) = self.users.get_mut(user) else {
            return false;
        };
        local.is_gone = local.leave_due.is_some_and(|due| due <= now);
        if local.is_gone {
            self.changed.insert(user.clone());
        }
        local.is_gone
    }

    /// The room's presence as of a registration that included this user, or a later one.
    pub(super) fn registered(&self, user: &UserId) -> Option<Presence> {
        let is_registered = self
            .users
            .get(user)
            .is_some_and(|local| local.is_registered);
        is_registered.then(|| self.answered.clone())
    }

    /// Reports the results of registrations from now on.
    pub(super) fn outcome(&self) -> watch::Receiver<Option<BrokerError>> {
        self.outcome.subscribe()
    }

    /// Notes that all registrations were lost. Returns whether any user has to be registered again.
    pub(super) fn lose(&mut self) -> bool {
        self.round += 1;
        for (id, local) in &mut self.users {
            local.is_registered = false;
            self.changed.insert(id.clone());
        }
        self.is_lost = !self.users.is_empty();
        self.is_lost
    }

    /// Returns whether no registration is running already.
    pub(super) fn begin(&mut self) -> bool {
        !std::mem::replace(&mut self.is_registering, true)
    }

    /// The next changes for the broker. `None`: there are none, and the next change has to call
    /// `begin` again.
    pub(super) fn next(&mut self) -> Option<Registration> {
        let mut users = Vec::new();
        while users.len() < BATCH
            && let Some(id) = self.changed.shift_remove_index(0)
        {
            let Some(local) = self.users.get_mut(&id) else {
                continue;
            };
            if local.is_gone {
                // If the user comes back from now on, they have to be registered again.
                local.is_registered = false;
                users.push(Attendance::Exit(id));
            } else if !local.is_registered {
                users.push(local.attendance());
            }
        }
        if users.is_empty() {
            self.is_registering = false;
            return None;
        }
        let round = self.round;
        Some(Registration { users, round })
    }

    /// Applies the broker's answer.
    pub(super) fn end(
        &mut self,
        registration: Registration,
        answer: Result<Presence, BrokerError>,
    ) {
        let Registration { users, round } = registration;
        let registry = answer.as_ref().map_or(0, |presence| presence.registry);
        let is_kept = answer.is_ok() && round == self.round;
        for user in users {
            let id = match &user {
                Attendance::Enter(user) | Attendance::Again { user, .. } => &user.id,
                Attendance::Exit(id) => id,
            };
            let Some(local) = self.users.get_mut(id) else {
                continue;
            };
            match user {
                _ if !is_kept => {
                    self.changed.insert(id.clone());
                }
                Attendance::Enter(_) | Attendance::Again { .. } => {
                    local.is_registered = true;
                    local.registry = registry;
                }
                Attendance::Exit(_) if local.is_gone => {
                    self.users.remove(id);
                }
                // The user is back meanwhile, and waits to be registered again.
                Attendance::Exit(_) => {}
            }
        }
        let failure = match answer {
            Ok(presence) => {
                self.answered = presence;
                None
            }
            Err(error) => Some(error),
        };
        self.outcome.send_replace(failure);
    }

    /// Returns whether all users have been registered again after a loss, so that the room's
    /// presence has to be read.
    pub(super) fn end_loss(&mut self) -> bool {
        self.changed.is_empty() && std::mem::take(&mut self.is_lost)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn user(id: &str) -> User {
        User {
            id: UserId::new(id).unwrap(),
            name: id.into(),
        }
    }

    fn enter(id: &str) -> Attendance {
        Attendance::Enter(user(id))
    }

    fn exit(id: &str) -> Attendance {
        Attendance::Exit(user(id).id)
    }

    /// Registers everything. Returns what the broker was told.
    fn register(roster: &mut Roster) -> Vec<Attendance> {
        let mut told = Vec::new();
        while let Some(next) = roster.next() {
            told.extend(next.users.clone());
            roster.end(next, Ok(Presence::default()));
        }
        told
    }

    fn roster_of(id: &str) -> Roster {
        let mut roster = Roster::default();
        assert!(roster.arrive(&user(id)));
        assert_eq!(register(&mut roster), [enter(id)]);
        roster
    }

    #[test]
    fn only_the_first_connection_registers_and_only_the_last_leaves() {
        let (mut roster, now) = (roster_of("a"), Instant::now());
        assert!(!roster.arrive(&user("a")));
        assert!(!roster.depart(&user("a").id, now));
        assert!(roster.depart(&user("a").id, now));
        assert!(!roster.arrive(&user("a")), "back in time");
        assert!(!roster.leave(&user("a").id, now));
        roster.depart(&user("a").id, now);
        assert!(roster.leave(&user("a").id, now));
        assert_eq!(register(&mut roster), [exit("a")]);
        assert!(roster.is_empty());
    }

    #[test]
    fn a_second_reload_has_its_own_delay() {
        let mut roster = roster_of("a");
        let (first, second) = (Instant::now(), Instant::now() + Duration::from_secs(4));
        roster.depart(&user("a").id, first);
        roster.arrive(&user("a"));
        roster.depart(&user("a").id, second);
        assert!(
            !roster.leave(&user("a").id, first),
            "the first reload's time is up, the second's is not"
        );
        assert!(roster.leave(&user("a").id, second));
    }

    #[test]
    fn who_comes_back_while_the_broker_is_told_is_registered_again() {
        let (mut roster, now) = (roster_of("a"), Instant::now());
        roster.depart(&user("a").id, now);
        roster.leave(&user("a").id, now);
        let leaving = roster.next().unwrap();
        assert!(roster.arrive(&user("a")));
        roster.end(leaving, Ok(Presence::default()));
        assert_eq!(register(&mut roster), [enter("a")]);
        assert!(!roster.is_empty());
    }

    #[test]
    fn who_leaves_while_being_registered_is_taken_back() {
        let (mut roster, now) = (Roster::default(), Instant::now());
        roster.arrive(&user("a"));
        let entering = roster.next().unwrap();
        roster.depart(&user("a").id, now);
        assert!(roster.leave(&user("a").id, now));
        roster.end(entering, Ok(Presence::default()));
        assert_eq!(register(&mut roster), [exit("a")]);
        assert!(roster.is_empty());
    }

    #[test]
    fn what_failed_is_told_again() {
        let mut roster = Roster::default();
        roster.arrive(&user("a"));
        let first = roster.next().unwrap();
        let error = BrokerError::Unavailable("away".to_owned());
        roster.end(first, Err(error));
        assert_eq!(roster.registered(&user("a").id), None);
        assert_eq!(register(&mut roster), [enter("a")]);
        assert_eq!(roster.registered(&user("a").id), Some(Presence::default()));
    }

    #[test]
    fn after_a_loss_all_are_registered_again_even_those_on_their_way() {
        let mut roster = roster_of("a");
        roster.arrive(&user("b"));
        let under_the_old_lease = roster.next().unwrap();
        assert!(roster.lose());
        roster.end(under_the_old_lease, Ok(Presence::default()));
        assert!(!roster.end_loss(), "not yet");
        assert_eq!(register(&mut roster).len(), 2);
        assert!(roster.end_loss(), "the presence has to be read");
        assert!(!roster.end_loss(), "once");
    }
}
