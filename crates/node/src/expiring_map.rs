//! [`ExpiringMap`]: a bounded map of entries that mean nothing after a moment.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

/// The entries that a map holds at most.
const MOST: usize = 50_000;

/// A value that means nothing after a moment.
pub trait Expires {
    /// The moment from which the value says no more than a missing one, as a full token bucket does.
    fn expires(&self) -> Instant;
}

impl Expires for Instant {
    fn expires(&self) -> Instant {
        *self
    }
}

/// A map that holds at most 50,000 entries.
///
/// A full map forgets what has expired. If that is too little, it forgets the entries that would expire
/// first, until three quarters are left: so many new keys never free the spenders that are furthest ahead.
#[derive(Debug)]
pub struct ExpiringMap<K, V> {
    entries: HashMap<K, V>,
    most: usize,
}

impl<K, V> Default for ExpiringMap<K, V> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            most: MOST,
        }
    }
}

impl<K: Eq + Hash, V: Expires> ExpiringMap<K, V> {
    /// The value of a key, expired or not.
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key)
    }

    /// The value of a key; `new` makes one that is missing.
    pub fn get_or_insert_with(&mut self, key: K, now: Instant, new: impl FnOnce() -> V) -> &mut V {
        self.make_room_for(&key, now);
        self.entries.entry(key).or_insert_with(new)
    }

    /// Sets the value of a key.
    pub fn insert(&mut self, key: K, value: V, now: Instant) {
        self.make_room_for(&key, now);
        self.entries.insert(key, value);
    }

    /// Forgets a key.
    pub fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        self.entries.remove(key);
    }

    /// Forgets the entries of which `is_kept` is false.
    pub fn retain(&mut self, mut is_kept: impl FnMut(&K, &V) -> bool) {
        self.entries.retain(|key, value| is_kept(key, value));
    }

    /// Each sweep frees a quarter, so an insertion costs a constant time on average.
    fn make_room_for(&mut self, key: &K, now: Instant) {
        if self.entries.len() < self.most || self.entries.contains_key(key) {
            return;
        }
        self.entries.retain(|_, value| value.expires() > now);
        let mut excess = self.entries.len().saturating_sub(self.most / 4 * 3);
        if excess == 0 {
            return;
        }
        let mut ends: Vec<Instant> = self.entries.values().map(Expires::expires).collect();
        let last = *ends.select_nth_unstable(excess - 1).1;
        self.entries.retain(|_, value| {
            let is_kept = excess == 0 || value.expires() > last;
            excess -= usize::from(!is_kept);
            is_kept
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn map_of(most: usize) -> ExpiringMap<usize, Instant> {
        ExpiringMap {
            entries: HashMap::new(),
            most,
        }
    }

    #[test]
    fn a_full_map_forgets_the_expired_entries_first() {
        let (mut map, now) = (map_of(8), Instant::now());
        for key in 0..8 {
            let end = if key < 4 { now } else { now + SECOND };
            map.insert(key, end, now);
        }
        map.insert(8, now + SECOND, now);
        let kept: Vec<usize> = (0..10).filter(|key| map.get(key).is_some()).collect();
        assert_eq!(kept, [4, 5, 6, 7, 8]);
    }

    #[test]
    fn a_flood_of_new_keys_does_not_free_the_one_that_is_furthest_ahead() {
        let (mut map, now) = (map_of(100), Instant::now());
        let spender = map.get_or_insert_with(0, now, || now);
        *spender += 60 * SECOND;
        for key in 1..10_000 {
            *map.get_or_insert_with(key, now, || now) += SECOND;
            assert!(map.entries.len() <= 100);
        }
        assert_eq!(map.get(&0), Some(&(now + 60 * SECOND)));
    }

    #[test]
    fn entries_that_expire_together_leave_room_too() {
        let (mut map, now) = (map_of(8), Instant::now());
        for key in 0..100 {
            map.insert(key, now + SECOND, now);
            assert!(map.entries.len() <= 8 && map.get(&key).is_some());
        }
    }
}
