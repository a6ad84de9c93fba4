//! Whether a room is whole: for operators who want to be sure.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use hubbub_protocol::{Envelope, Epoch, Position, RoomId};

use crate::append::Hole;
use crate::archive::{EventColumns, envelope};
use crate::value::{to_i64, to_u64, values};
use crate::{Archive, ArchiveError};

/// The check of a room's events: lives, holes and duplicates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomCheck {
    /// Its lives, in the order of their first offsets.
    pub lives: Vec<LifeCheck>,
    /// Events whose offset or whose id another event of the room has too.
    pub duplicates: u64,
    /// The offset of the first of them.
    pub first_duplicate: Option<u64>,
}

/// One life of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LifeCheck {
    /// Its name.
    pub epoch: Epoch,
    /// The offset above which it began to number, where that is known.
    pub base: Option<u64>,
    /// Up to this offset its events were taken away because they were too old; 0: none.
    pub expired: u64,
    /// The offset of the first event that is there; 0: there is none.
    pub first: u64,
    /// The offset of the last event that is there.
    pub last: u64,
    /// How many are there.
    pub events: u64,
    /// Offsets that are missing, and nobody knows why: first and last of each range.
    pub holes: Vec<(u64, u64)>,
    /// Offsets that are known to be lost.
    pub recorded: Vec<Hole>,
}

impl RoomCheck {
    /// Whether nothing is missing that should be there, and nothing is there twice.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.duplicates == 0 && self.lives.iter().all(|life| life.holes.is_empty())
    }
}

/// Rows read at once.
const PAGE: usize = 5_000;
/// Ids that are remembered to find one that comes twice. In a larger room only such are found that lie
/// not farther apart.
const REMEMBERED: usize = 4_000_000;
const EVENTS: &str = "SELECT number, epoch, message FROM events \
    WHERE room_id = (SELECT id FROM rooms WHERE room = $1) AND (number, epoch) > ($2, $3) \
    ORDER BY number, epoch LIMIT $4";
const EXPORT: &str = "SELECT epoch, number, message, frame FROM events \
    WHERE room_id = (SELECT id FROM rooms WHERE room = $1) AND (number, epoch) > ($2, $3) \
    ORDER BY number, epoch LIMIT $4";

/// The walk through a room's events.
struct Walk {
    lives: BTreeMap<String, LifeCheck>,
    hasher: RandomState,
    /// Hashes of message ids.
    seen: HashSet<u64>,
    previous: Option<i64>,
    duplicates: u64,
    first_duplicate: Option<u64>,
}

impl Archive {
    /// Walks through all events of a room, in pages: what is missing, and what is there twice.
    ///
    /// # Errors
    /// [`ArchiveError`] when the database does not answer.
    pub async fn check(&self, room: &RoomId) -> Result<RoomCheck, ArchiveError> {
        let mut walk = Walk {
            lives: self.state().watch(self.lives(room)).await?,
            hasher: RandomState::new(),
            seen: HashSet::new(),
            previous: None,
            duplicates: 0,
            first_duplicate: None,
        };
        let mut after = (0, String::new());
        loop {
            let values = values![room.as_str(), after.0, after.1.as_str(), PAGE];
            let rows = self.rows::<(i64, String, String)>(EVENTS, values);
            let rows = self.state().watch(rows).await?;
            let Some((number, epoch, _)) = rows.last() else {
                return Ok(walk.end());
            };
            after = (*number, epoch.clone());
            for (number, epoch, message) in rows {
                walk.step(number, &epoch, &message)?;
            }
        }
    }

    /// The lives that are known and the holes that are recorded.
    async fn lives(&self, room: &RoomId) -> Result<BTreeMap<String, LifeCheck>, ArchiveError> {
        let sql = "SELECT epoch, base, expired FROM lives \
            WHERE room_id = (SELECT id FROM rooms WHERE room = $1)";
        let rows: Vec<(String, Option<i64>, i64)> = self.rows(sql, values![room.as_str()]).await?;
        let mut lives = BTreeMap::new();
        for (epoch, base, expired) in rows {
            let life = LifeCheck {
                epoch: Epoch::new(&epoch).map_err(|_| ArchiveError::BadRow("an epoch"))?,
                base: base.map(to_u64),
                expired: to_u64(expired),
                first: 0,
                last: 0,
                events: 0,
                holes: Vec::new(),
                recorded: Vec::new(),
            };
            lives.insert(epoch, life);
        }
        let sql = "SELECT epoch, first, last, reason FROM holes \
            WHERE room_id = (SELECT id FROM rooms WHERE room = $1) ORDER BY first, last";
        let rows: Vec<(String, i64, i64, String)> = self.rows(sql, values![room.as_str()]).await?;
        for (epoch, first, last, reason) in rows {
            let life = lives.get_mut(&epoch);
            let life = life.ok_or(ArchiveError::BadRow("a hole without a life"))?;
            life.recorded.push(Hole {
                epoch: life.epoch.clone(),
                first: to_u64(first),
                last: to_u64(last),
                reason,
            });
        }
        Ok(lives)
    }

    /// Events of a room as they are stored, in the order of their offsets, after a position; at most
    /// `limit`. With the position of the last one it goes on.
    ///
    /// # Errors
    /// [`ArchiveError`] when the database does not answer.
    pub async fn export(
        &self,
        room: &RoomId,
        after: Option<&Position>,
        limit: usize,
    ) -> Result<Vec<Envelope>, ArchiveError> {
        let (number, epoch) = after.map_or((0, ""), |after| {
            (to_i64(after.offset), after.epoch.as_str())
        });
        let rows = self.rows::<EventColumns>(EXPORT, values![room.as_str(), number, epoch, limit]);
        let rows = self.state().watch(rows).await?;
        rows.into_iter().map(envelope).collect()
    }

    /// How many events of a room are there.
    ///
    /// # Errors
    /// [`ArchiveError`] when the database does not answer.
    pub async fn count(&self, room: &RoomId) -> Result<u64, ArchiveError> {
        let sql = "SELECT count(*) FROM events \
            WHERE room_id = (SELECT id FROM rooms WHERE room = $1)";
        let rows = self.rows::<(i64,)>(sql, values![room.as_str()]);
        let row = self.state().watch(rows).await?.pop();
        Ok(row.map_or(0, |(count,)| to_u64(count)))
    }
}

impl Walk {
    fn step(&mut self, number: i64, epoch: &str, message: &str) -> Result<(), ArchiveError> {
        let life = self.lives.get_mut(epoch);
        let life = life.ok_or(ArchiveError::BadRow("an event without a life"))?;
        life.take(to_u64(number));
        if self.seen.len() >= REMEMBERED {
            self.seen.clear();
        }
        // Where only the place is left, there is no id to compare.
        let is_unknown = message == hubbub_protocol::MessageId::unknown().as_str();
        let is_new = is_unknown || self.seen.insert(self.hasher.hash_one(message));
        if self.previous == Some(number) || !is_new {
            self.duplicates += 1;
            self.first_duplicate.get_or_insert(to_u64(number));
        }
        self.previous = Some(number);
        Ok(())
    }

    fn end(self) -> RoomCheck {
        let mut lives: Vec<LifeCheck> = self.lives.into_values().collect();
        lives.sort_by_key(|life| (life.first, life.base));
        RoomCheck {
            lives,
            duplicates: self.duplicates,
            first_duplicate: self.first_duplicate,
        }
    }
}

impl LifeCheck {
    /// Takes the next event. Without a known base, the life begins with the first that is there.
    fn take(&mut self, number: u64) {
        let known = self.base.map(|base| base.max(self.expired));
        let known = known.or((self.expired > 0).then_some(self.expired));
        let expected = match self.events {
            0 => known.map_or(number, |last| last + 1),
            _ => self.last + 1,
        };
        if expected < number {
            self.miss(expected, number - 1);
        }
        if self.events == 0 {
            self.first = number;
        }
        self.last = number;
        self.events += 1;
    }

    /// Notes what is missing and not recorded as lost.
    fn miss(&mut self, mut first: u64, last: u64) {
        for hole in &self.recorded {
            if hole.last < first || hole.first > last {
                continue;
            }
            if hole.first > first {
                self.holes.push((first, hole.first - 1));
            }
            first = hole.last + 1;
        }
        if first <= last {
            self.holes.push((first, last));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(
        base: Option<u64>,
        expired: u64,
        recorded: &[(u64, u64)],
        numbers: &[u64],
    ) -> LifeCheck {
        let epoch = Epoch::new("e").unwrap();
        let recorded = recorded.iter().map(|(first, last)| Hole {
            epoch: epoch.clone(),
            first: *first,
            last: *last,
            reason: String::new(),
        });
        let mut life = LifeCheck {
            recorded: recorded.collect(),
            epoch: epoch.clone(),
            base,
            expired,
            first: 0,
            last: 0,
            events: 0,
            holes: Vec::new(),
        };
        for number in numbers {
            life.take(*number);
        }
        life
    }

    #[test]
    fn what_is_missing_is_a_hole_unless_it_is_recorded_or_expired() {
        let holes = |base, expired, recorded: &[_], numbers: &[_]| {
            life(base, expired, recorded, numbers).holes
        };
        assert_eq!(holes(Some(0), 0, &[], &[1, 2, 3]), []);
        assert_eq!(holes(None, 0, &[], &[5, 6]), []);
        assert_eq!(holes(Some(3), 0, &[], &[5, 6, 9]), [(4, 4), (7, 8)]);
        assert_eq!(holes(Some(0), 4, &[], &[5, 6]), []);
        assert_eq!(holes(Some(0), 3, &[], &[5]), [(4, 4)]);
        assert_eq!(holes(Some(0), 0, &[(2, 3), (5, 5)], &[1, 4, 6]), []);
        assert_eq!(
            holes(Some(0), 0, &[(3, 4), (4, 6)], &[1, 9]),
            [(2, 2), (7, 8)]
        );
    }
}
