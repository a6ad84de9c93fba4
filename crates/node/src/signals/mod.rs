//! Signals to the others of a room, such as that a user types. They are not stored. This node
//! sends those of a user in a room at most once in [`INTERVAL`], over all transports together.

mod reading;
mod typing;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hubbub_protocol::frame::ServerFrame;
use hubbub_protocol::{ConnectionId, Frame, RoomId, User, UserId};
use parking_lot::Mutex;

pub(crate) use self::reading::Reading;
pub(crate) use self::typing::Typing;
use crate::node::Node;

/// Between two signals of a user in a room.
const INTERVAL: Duration = Duration::from_secs(1);
/// Users in rooms below which nothing is forgotten.
const FEW: usize = 1_024;

/// When something is told.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    /// At once.
    Tell,
    /// The signal that is due then.
    Wait(Instant),
    /// Not at all, or by somebody who waits already.
    Nothing,
}

/// The users' latest signals in rooms.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    pub(crate) typing: Lately<Typing>,
    pub(crate) reading: Lately<Reading>,
}

/// The state of each user in each room, for as long as somebody holds it or it still counts.
#[derive(Debug)]
pub(crate) struct Lately<T>(Mutex<Known<T>>);

#[derive(Debug)]
struct Known<T> {
    by_user: HashMap<(UserId, RoomId), Arc<T>>,
    /// With so many, those that do not count any more are forgotten first.
    many: usize,
}

/// Whether it still says something that nothing else knows.
pub(crate) trait Counts {
    fn counts(&self, now: Instant) -> bool;
}

impl<T> Default for Lately<T> {
    fn default() -> Self {
        Self(Mutex::new(Known {
            by_user: HashMap::new(),
            many: FEW,
        }))
    }
}

impl<T: Default + Counts> Lately<T> {
    pub(crate) fn of(&self, user: &UserId, room: &RoomId) -> Arc<T> {
        let mut known = self.0.lock();
        if known.by_user.len() >= known.many {
            let now = Instant::now();
            let in_use = |it: &Arc<T>| Arc::strong_count(it) > 1 || it.counts(now);
            known.by_user.retain(|_, it| in_use(it));
            known.many = FEW.max(known.by_user.len() * 2);
        }
        let key = (user.clone(), room.clone());
        Arc::clone(known.by_user.entry(key).or_default())
    }

    /// The state of a user in a room, if there is one.
    pub(crate) fn known(&self, user: &UserId, room: &RoomId) -> Option<Arc<T>> {
        let key = (user.clone(), room.clone());
        self.0.lock().by_user.get(&key).cloned()
    }
}

/// Somebody's voice in one room.
pub(crate) struct Voice {
    node: Arc<Node>,
    connection: ConnectionId,
    room: RoomId,
    user: User,
}

impl Node {
    /// The connection that it came from, which is not told of it.
    pub(crate) fn voice(
        self: &Arc<Self>,
        connection: &ConnectionId,
        user: &User,
        room: &RoomId,
    ) -> Voice {
        Voice {
            node: Arc::clone(self),
            connection: connection.clone(),
            room: room.clone(),
            user: user.clone(),
        }
    }

    /// The voice of somebody without a connection.
    fn voice_without(self: &Arc<Self>, user: &User, room: &RoomId) -> Voice {
        self.voice(&ConnectionId::generate(), user, room)
    }
}

impl Voice {
    /// Best effort: nobody learns that it was missed.
    async fn tell(&self, frame: &ServerFrame<'_>) {
        let (room, frame) = (&self.room, Frame::encode(frame));
        let told = self
            .node
            .broker
            .signal(room, &self.connection, &frame)
            .await;
        if let Err(error) = told {
            tracing::debug!(%room, %error, "a signal is not passed on");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Never;

    impl Counts for Never {
        fn counts(&self, _: Instant) -> bool {
            false
        }
    }

    #[test]
    fn what_nobody_holds_and_counts_no_more_is_forgotten() {
        let lately = Lately::<Never>::default();
        let room = RoomId::new("lobby").unwrap();
        let user = |number: usize| UserId::new(&format!("user-{number}")).unwrap();
        let held = lately.of(&user(0), &room);
        assert!(Arc::ptr_eq(&held, &lately.of(&user(0), &room)));
        for number in 1..10 * FEW {
            lately.of(&user(number), &room);
        }
        assert!(lately.0.lock().by_user.len() <= FEW);
        assert!(Arc::ptr_eq(&held, &lately.of(&user(0), &room)));
    }
}
