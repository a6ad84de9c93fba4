//! How far the archive has each room, as one owner remembers it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hubbub_broker::Run;
use hubbub_protocol::{Epoch, Position, RoomId};

/// A busy room's stream is compared with the archive once in so long, in case Redis was changed in a
/// way that nobody noticed.
const TRUST: Duration = Duration::from_secs(30);
/// Rooms that are remembered; beyond, all are asked for again.
const ROOMS: usize = 10_000;

/// How far the archive has a room.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) position: Position,
    /// The stream's epoch when it was last compared.
    pub(super) epoch: Epoch,
    run: Run,
    /// When the stream was last compared with the archive.
    compared: Instant,
}

impl Known {
    pub(super) fn new(position: Position, epoch: Epoch, run: Run) -> Self {
        Self {
            position,
            epoch,
            run,
            compared: Instant::now(),
        }
    }

    fn is_trusted(&self, run: &Run) -> bool {
        self.run == *run && self.compared.elapsed() < TRUST
    }
}

/// One owner's progress in its rooms. The owner asks for the progress that it does not remember.
#[derive(Debug, Default)]
pub(super) struct Progress {
    rooms: HashMap<RoomId, Known>,
    /// Places that the archive has refused, since another event has them.
    refused: HashMap<RoomId, u64>,
}

impl Progress {
    /// Up to where the room is archived; `None`: its stream has to be compared first.
    pub(super) fn get(&self, room: &RoomId, run: &Run) -> Option<&Known> {
        self.rooms.get(room).filter(|known| known.is_trusted(run))
    }

    pub(super) fn forget(&mut self, room: &RoomId) {
        self.rooms.remove(room);
    }

    pub(super) fn set(&mut self, room: RoomId, mut known: Known) {
        if self.rooms.len() >= ROOMS {
            self.rooms.clear();
        }
        let before = self.rooms.get(&room);
        if let Some(before) = before.filter(|before| before.is_trusted(&known.run)) {
            known.compared = before.compared;
        }
        self.rooms.insert(room, known);
    }

    /// Notes that the archive has refused an event, and says whether it did so before.
    pub(super) fn is_refused_again(&mut self, room: &RoomId, offset: u64) -> bool {
        if self.refused.len() >= ROOMS {
            self.refused.clear();
        }
        self.refused.insert(room.clone(), offset) == Some(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_run_has_to_be_compared_first() {
        let mut progress = Progress::default();
        let room = RoomId::new("r").unwrap();
        let position = Position {
            epoch: Epoch::new("e").unwrap(),
            offset: 3,
        };
        let epoch = position.epoch.clone();
        progress.set(
            room.clone(),
            Known::new(position.clone(), epoch, "s.1".into()),
        );
        let known = progress.get(&room, &"s.1".into()).unwrap();
        assert_eq!(known.position, position);
        assert!(progress.get(&room, &"s.2".into()).is_none());
        progress.forget(&room);
        assert!(progress.get(&room, &"s.1".into()).is_none());
    }

    #[test]
    fn a_place_that_is_refused_twice_is_told() {
        let mut progress = Progress::default();
        let room = RoomId::new("r").unwrap();
        assert!(!progress.is_refused_again(&room, 7));
        assert!(progress.is_refused_again(&room, 7));
        assert!(!progress.is_refused_again(&room, 8));
    }
}
