//! The rate of a room's sends. A busy room publishes once per batch interval of its node, so that one call,
//! one packet and one write carry several sends.

use std::time::{Duration, Instant};

use super::LONGEST as BEAT;
use super::frequency::Frequency;
use super::timer::Timer;

/// Sends per second, on this node, from which on a room is busy. Below it there is nothing to
/// gather.
const BUSY: f32 = 500.0;
/// About how long a send counts in the rate.
const MEMORY: Duration = Duration::from_millis(20);

/// The recent sends of one room on this node.
#[derive(Debug, Default)]
pub(crate) struct RoomBatching {
    /// Counted when their publish begins.
    sends: Frequency,
}

impl RoomBatching {
    pub(crate) fn is_busy(&self, now: Instant) -> bool {
        self.sends.at(MEMORY, now) >= BUSY
    }

    /// Whether a publish has begun in this interval.
    pub(crate) fn has_published(&self, batch_tick: &BatchTick, now: Instant) -> bool {
        let last = self.sends.counted();
        last.is_some_and(|last| last >= batch_tick.last(now))
    }

    /// Counts a publish that begins now.
    pub(crate) fn count(&mut self, sends: usize, now: Instant) {
        self.sends.count(sends, MEMORY, now);
    }
}

/// Moments at even intervals. Each node has its own, because simultaneous publishes of all nodes
/// would only queue in Redis.
#[derive(Debug)]
pub(crate) struct BatchTick {
    first: Instant,
    timer: Timer,
}

impl BatchTick {
    pub(crate) fn new() -> Self {
        Self {
            first: Instant::now(),
            timer: Timer::default(),
        }
    }

    /// Waits for the end of the interval. Cancel safe.
    pub(crate) async fn next(&self) {
        self.timer.until(self.last(Instant::now()) + BEAT).await;
    }

    fn last(&self, now: Instant) -> Instant {
        let since = now.saturating_duration_since(self.first).as_nanos() % BEAT.as_nanos();
        now - Duration::from_nanos(u64::try_from(since).expect("shorter than an interval"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts so many sends at even intervals. Returns how often the room was busy right before a
    /// send.
    fn play(number: u32, every: Duration) -> usize {
        let (mut batching, start) = (RoomBatching::default(), Instant::now());
        let busy = (0..number).filter(|index| {
            let now = start + every * *index;
            let is_busy = batching.is_busy(now);
            batching.count(1, now);
            is_busy
        });
        busy.count()
    }

    #[test]
    fn a_quiet_room_never_waits() {
        assert_eq!(play(1_000, Duration::from_millis(4)), 0);
    }

    #[test]
    fn a_room_is_busy_after_some_milliseconds() {
        let busy = play(1_000, Duration::from_millis(1));
        assert!((960..1_000).contains(&busy), "{busy}");
    }

    #[test]
    fn a_room_that_publishes_at_each_beat_stays_busy() {
        let (mut batching, start) = (RoomBatching::default(), Instant::now());
        let busy = (0..100).filter(|beat| {
            let now = start + BEAT * *beat;
            let is_busy = batching.is_busy(now);
            batching.count(5, now);
            is_busy
        });
        assert!(busy.count() > 90);
    }

    #[test]
    fn silence_makes_it_quiet_again() {
        let (mut batching, start) = (RoomBatching::default(), Instant::now());
        batching.count(100, start);
        assert!(batching.is_busy(start + Duration::from_millis(1)));
        assert!(!batching.is_busy(start + Duration::from_secs(1)));
    }

    #[test]
    fn a_busy_room_publishes_once_a_beat() {
        let (batch_tick, mut batching) = (BatchTick::new(), RoomBatching::default());
        let at = |micros| batch_tick.first + Duration::from_micros(micros);
        let waits = |batching: &RoomBatching, micros| {
            batching.is_busy(at(micros)) && batching.has_published(&batch_tick, at(micros))
        };
        assert!(!waits(&batching, 1_000));
        batching.count(20, at(1_000));
        assert!(waits(&batching, 4_799));
        assert!(!waits(&batching, 4_800), "none in this interval yet");
        batching.count(4, at(4_900));
        assert!(waits(&batching, 9_000));
        batching.count(1, at(500_000));
        assert!(!waits(&batching, 500_001), "quiet again");
    }

    #[test]
    fn the_last_beat_is_less_than_one_away() {
        let batch_tick = BatchTick::new();
        for (nanos, since) in [(0, 0), (1, 1), (4_799_999, 4_799_999), (4_800_000, 0)] {
            let now = batch_tick.first + Duration::from_nanos(nanos);
            assert_eq!(now - batch_tick.last(now), Duration::from_nanos(since));
        }
    }
}
