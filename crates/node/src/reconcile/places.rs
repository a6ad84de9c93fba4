//! The newest acked place of each room to which this node has published, whether the room is open
//! here or not. So a Redis that has lost an acked event is noticed even if no client follows the
//! room.

use std::collections::HashMap;

use hubbub_broker::Place;
use hubbub_protocol::{EpochOrder, RoomId};
use parking_lot::Mutex;

/// Rooms of one generation. When it is full, the generation before is forgotten.
const ROOMS: usize = 20_000;

/// Places of up to two generations of rooms.
#[derive(Debug, Default)]
pub(crate) struct AckedPlaces(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    newer: HashMap<RoomId, Place>,
    older: HashMap<RoomId, Place>,
}

impl AckedPlaces {
    /// Notes that an event was stored at this place.
    pub(crate) fn note(&self, room: &RoomId, place: Place) {
        let mut generations = self.0.lock();
        if generations.newer.len() >= ROOMS && !generations.newer.contains_key(room) {
            generations.older = std::mem::take(&mut generations.newer);
        }
        match generations.get(room) {
            Some(known) if !is_later(&place, known) => {}
            Some(_) | None => drop(generations.newer.insert(room.clone(), place)),
        }
    }

    /// The newest place of a room. `None`: this node remembers none.
    pub(crate) fn get(&self, room: &RoomId) -> Option<Place> {
        self.0.lock().get(room).cloned()
    }

    /// All remembered rooms.
    pub(crate) fn rooms(&self) -> Vec<RoomId> {
        let generations = self.0.lock();
        let older = generations.older.keys();
        let older = older.filter(|room| !generations.newer.contains_key(*room));
        generations.newer.keys().chain(older).cloned().collect()
    }
}

impl Generations {
    fn get(&self, room: &RoomId) -> Option<&Place> {
        self.newer.get(room).or_else(|| self.older.get(room))
    }
}

/// Whether `place` is later than `known`.
pub(crate) fn is_later(place: &Place, known: &Place) -> bool {
    let (place, known) = (&place.position, &known.position);
    match place.epoch.order(&known.epoch) {
        EpochOrder::Newer => true,
        EpochOrder::Same | EpochOrder::Rival => place.offset > known.offset,
        EpochOrder::Older => false,
    }
}

#[cfg(test)]
mod tests {
    use hubbub_protocol::{Epoch, Position};

    use super::*;

    fn place(epoch: &str, offset: u64) -> Place {
        Place {
            position: Position {
                epoch: Epoch::new(epoch).unwrap(),
                offset,
            },
            message: None,
        }
    }

    fn room(number: usize) -> RoomId {
        RoomId::new(&format!("r{number}")).unwrap()
    }

    #[test]
    fn the_latest_place_counts() {
        let (places, room) = (AckedPlaces::default(), room(1));
        let (old, new) = ("0mx000001-aaaa", "0mx000002-aaaa");
        for given in [place(old, 7), place(old, 5), place(new, 9), place(old, 20)] {
            places.note(&room, given);
        }
        assert_eq!(places.get(&room), Some(place(new, 9)));
    }

    #[test]
    fn only_so_many_rooms_are_remembered() {
        let places = AckedPlaces::default();
        for number in 0..3 * ROOMS {
            places.note(&room(number), place("e", 1));
        }
        assert!(places.rooms().len() <= 2 * ROOMS);
        assert_eq!(places.get(&room(3 * ROOMS - 1)), Some(place("e", 1)));
        assert_eq!(places.get(&room(0)), None);
    }
}
