//! The users who type in a room, as its members on this node were told.
//!
//! Each node ends typing for its own members, so that it ends on every node, whatever becomes of the
//! typist's node: see [`Typists`].

use std::time::{Duration, Instant};

use hubbub_protocol::{ConnectionId, Envelope, EventKind, User};

/// Typing ends without a renewal for so long.
pub(crate) const TYPING_TIMEOUT: Duration = Duration::from_secs(6);
/// Users who type at once in a room that members are told of. No list of names is longer.
const TYPISTS: usize = 100;

/// The users who type now: from `on` until `off`, a message of theirs, or [`TYPING_TIMEOUT`] without
/// another `on`. At most [`TYPISTS`]; members are not told of further ones.
#[derive(Debug, Default)]
pub(crate) struct Typists {
    now: Vec<Typist>,
    /// The node looks regularly whether somebody's time is over.
    is_watched: bool,
}

/// A user who types.
#[derive(Debug)]
pub(super) struct Typist {
    pub(super) user: User,
    /// The connection that said so, which is not told of itself.
    pub(super) origin: ConnectionId,
    until: Instant,
}

impl Typists {
    /// Takes `on` of a user. Returns whether members are told: also of a renewal, for those who came since.
    pub(super) fn begin(&mut self, user: User, origin: &ConnectionId, now: Instant) -> bool {
        let until = now + TYPING_TIMEOUT;
        let known = self.now.iter_mut().find(|typist| typist.user.id == user.id);
        if let Some(typist) = known {
            typist.until = until;
            typist.origin = origin.clone();
            return true;
        }
        if self.now.len() >= TYPISTS {
            return false;
        }
        let origin = origin.clone();
        self.now.push(Typist {
            user,
            origin,
            until,
        });
        true
    }

    /// Takes `off` of a user. Returns whether members are told: they are not when they know already.
    pub(super) fn end(&mut self, user: &User) -> bool {
        let ended = self.take(|typist| typist.user.id == user.id);
        !ended.is_empty()
    }

    /// Removes the authors of new messages, who have stopped typing.
    pub(super) fn take_authors(&mut self, events: &[Envelope]) -> Vec<Typist> {
        if self.now.is_empty() {
            return Vec::new();
        }
        let messages = events
            .iter()
            .filter(|event| event.kind() == EventKind::Message);
        let authors: Vec<User> = messages
            .filter_map(|message| message.read().ok()?.from)
            .collect();
        self.take(|typist| authors.iter().any(|author| author.id == typist.user.id))
    }

    /// Removes the users who have not renewed their typing in time.
    pub(super) fn take_expired(&mut self, now: Instant) -> Vec<Typist> {
        self.take(|typist| typist.until <= now)
    }

    fn take(&mut self, is_over: impl Fn(&Typist) -> bool) -> Vec<Typist> {
        let ended = self.now.extract_if(.., |typist| is_over(typist)).collect();
        if self.now.is_empty() {
            // Quiet rooms keep no memory for this.
            self.now = Vec::new();
        }
        ended
    }

    /// Somebody types and nobody watches yet: the caller does from now on.
    pub(super) fn begin_watch(&mut self) -> bool {
        !self.now.is_empty() && !std::mem::replace(&mut self.is_watched, true)
    }

    /// Returns whether somebody types still; if not, nobody watches any more.
    pub(super) fn go_on_watching(&mut self) -> bool {
        self.is_watched = !self.now.is_empty();
        self.is_watched
    }
}

#[cfg(test)]
mod tests {
    use hubbub_protocol::UserId;

    use super::*;

    fn user(id: &str) -> User {
        User {
            id: UserId::new(id).unwrap(),
            name: id.into(),
        }
    }

    fn ids(ended: &[Typist]) -> Vec<&str> {
        ended.iter().map(|typist| typist.user.id.as_str()).collect()
    }

    #[test]
    fn typing_ends_without_renewal() {
        let (mut typists, start) = (Typists::default(), Instant::now());
        let origin = ConnectionId::generate();
        assert!(typists.begin(user("ann"), &origin, start));
        assert!(typists.begin(user("bob"), &origin, start));
        let later = start + TYPING_TIMEOUT / 2;
        assert!(typists.begin(user("bob"), &origin, later), "a renewal");
        assert_eq!(
            ids(&typists.take_expired(start + TYPING_TIMEOUT)),
            ["ann"],
            "bob has renewed it"
        );
        assert_eq!(ids(&typists.take_expired(later + TYPING_TIMEOUT)), ["bob"]);
        assert!(!typists.end(&user("bob")), "members know already");
    }

    #[test]
    fn a_crowd_of_typists_is_bounded() {
        let (mut typists, now) = (Typists::default(), Instant::now());
        let origin = ConnectionId::generate();
        for number in 0..TYPISTS {
            assert!(typists.begin(user(&format!("user-{number}")), &origin, now));
        }
        assert!(!typists.begin(user("one-more"), &origin, now));
        assert!(!typists.end(&user("one-more")), "members were not told");
        assert!(typists.end(&user("user-0")));
        assert!(typists.begin(user("one-more"), &origin, now));
    }

    #[test]
    fn a_room_is_watched_once_while_somebody_types() {
        let (mut typists, now) = (Typists::default(), Instant::now());
        let origin = ConnectionId::generate();
        assert!(!typists.begin_watch(), "nobody types");
        typists.begin(user("ann"), &origin, now);
        assert!(typists.begin_watch() && !typists.begin_watch());
        typists.end(&user("ann"));
        typists.begin(user("ann"), &origin, now);
        assert!(!typists.begin_watch(), "still watched");
        typists.end(&user("ann"));
        assert!(!typists.go_on_watching());
        typists.begin(user("ann"), &origin, now);
        assert!(typists.begin_watch());
    }
}
