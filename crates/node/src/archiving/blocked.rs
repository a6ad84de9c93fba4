//! Rooms that cannot be archived now, though the archive is there: each is tried again after a pause
//! that grows, so that a fault of one room neither holds up the others nor fills the log.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use hubbub_protocol::RoomId;

/// The pause after the first failure, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Rooms that are remembered; beyond, all are tried again.
const ROOMS: usize = 10_000;

/// The rooms that are blocked, with their pauses.
#[derive(Debug, Default)]
pub(super) struct Blocked(HashMap<RoomId, Pause>);

#[derive(Debug)]
struct Pause {
    length: Duration,
    until: Instant,
}

impl Blocked {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the room's pause is not over.
    pub(super) fn holds(&self, room: &RoomId) -> bool {
        let pause = self.0.get(room);
        pause.is_some_and(|pause| pause.until > Instant::now())
    }

    /// The room could not be archived.
    pub(super) fn fail(&mut self, room: &RoomId) {
        if self.0.len() >= ROOMS {
            self.0.clear();
        }
        let before = self.0.get(room).map(|pause| pause.length * 2);
        let length = before.unwrap_or(FIRST_PAUSE).min(LONGEST_PAUSE);
        // Rooms that failed together do not come back together.
        let until = Instant::now() + length.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.0.insert(room.clone(), Pause { length, until });
    }

    /// The room was archived. Returns whether it was the last that was blocked.
    pub(super) fn release(&mut self, room: &RoomId) -> bool {
        self.0.remove(room).is_some() && self.0.is_empty()
    }

    /// Forgets the rooms that wait no longer, where `waiting` are all that do.
    pub(super) fn keep<'a>(&mut self, waiting: impl Iterator<Item = &'a RoomId>, are_all: bool) {
        if self.0.is_empty() || !are_all {
            return;
        }
        let waiting: HashSet<&RoomId> = waiting.collect();
        self.0.retain(|room, _| waiting.contains(room));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_the_room_is_archived() {
        let (mut blocked, room) = (Blocked::default(), RoomId::new("r").unwrap());
        let length = |blocked: &Blocked| blocked.0.get(&RoomId::new("r").unwrap()).unwrap().length;
        assert!(!blocked.holds(&room));
        for _ in 0..10 {
            blocked.fail(&room);
        }
        assert!(blocked.holds(&room));
        assert_eq!(length(&blocked), LONGEST_PAUSE);
        assert!(blocked.release(&room) && !blocked.release(&room));
        assert!(!blocked.holds(&room));
        blocked.fail(&room);
        assert_eq!(length(&blocked), FIRST_PAUSE);
    }

    #[test]
    fn a_room_that_waits_no_longer_is_forgotten() {
        let mut blocked = Blocked::default();
        let (a, b) = (RoomId::new("a").unwrap(), RoomId::new("b").unwrap());
        blocked.fail(&a);
        blocked.fail(&b);
        blocked.keep(std::iter::once(&a), false);
        assert_eq!(blocked.len(), 2);
        blocked.keep(std::iter::once(&a), true);
        assert_eq!(blocked.len(), 1);
    }
}
