//! The rate of a room's sends. A busy room publishes once per beat of its node, so that one call,
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
pub(crate) struct Tempo {
    /// Counted when their publish begins.
    sends: Frequency,
}

impl Tempo {
    pub(crate) fn is_busy(&self, now: Instant) -> bool {
        self.sends.at(MEMORY, now) >= BUSY
    }

    /// Whether a publish has begun in this beat.
    pub(crate) fn has_published(&self, beats: &Beats, now: Instant) -> bool {
        let last = self.sends.counted();
        last.is_some_and(|last| last >= beats.last(now))
    }

    /// Counts a publish that begins now.
    pub(crate) fn count(&mut self, sends: usize, now: Instant) {
        self.sends.count(sends, MEMORY, now);
    }
}

/// Moments at even intervals. Each node has its own, because simultaneous publishes of all nodes
/// would only queue in Redis.
#[derive(Debug)]
pub(crate) struct Beats {
    first: Instant,
    timer: Timer,
}

impl Beats {
    pub(crate) fn new() -> Self {
        Self {
            first: Instant::now(),
            timer: Timer::default(),
        }
    }

    /// Waits for the next beat. Cancel safe.
    pub(crate) async fn next(&self) {
        self.timer.until(self.last(Instant::now()) + BEAT).await;
    }

    fn last(&self, now: Instant) -> Instant {
        let since = now.saturating_duration_since(self.first).as_nanos() % BEAT.as_nanos();
        now - Duration::from_nanos(u64::try_from(since).expect("shorter than a beat"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts so many sends at even intervals. Returns how often the room was busy right before a
    /// send.
    fn play(number: u32, every: Duration) -> usize {
        let (mut tempo, start) = (Tempo::default(), Instant::now());
        let busy = (0..number).filter(|index| {
            let now = start + every * *index;
            let is_busy = tempo.is_busy(now);
            tempo.count(1, now);
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
        let (mut tempo, start) = (Tempo::default(), Instant::now());
        let busy = (0..100).filter(|beat| {
            let now = start + BEAT * *beat;
            let is_busy = tempo.is_busy(now);
            tempo.count(5, now);
            is_busy
        });
        assert!(busy.count() > 90);
    }

    #[test]
    fn silence_makes_it_quiet_again() {
        let (mut tempo, start) = (Tempo::default(), Instant::now());
        tempo.count(100, start);
        assert!(tempo.is_busy(start + Duration::from_millis(1)));
        assert!(!tempo.is_busy(start + Duration::from_secs(1)));
    }

    #[test]
    fn a_busy_room_publishes_once_a_beat() {
        let (beats, mut tempo) = (Beats::new(), Tempo::default());
        let at = |micros| beats.first + Duration::from_micros(micros);
        let waits = |tempo: &Tempo, micros| {
            tempo.is_busy(at(micros)) && tempo.has_published(&beats, at(micros))
        };
        assert!(!waits(&tempo, 1_000));
        tempo.count(20, at(1_000));
        assert!(waits(&tempo, 4_799));
        assert!(!waits(&tempo, 4_800), "none in this beat yet");
        tempo.count(4, at(4_900));
        assert!(waits(&tempo, 9_000));
        tempo.count(1, at(500_000));
        assert!(!waits(&tempo, 500_001), "quiet again");
    }

    #[test]
    fn the_last_beat_is_less_than_one_away() {
        let beats = Beats::new();
        for (nanos, since) in [(0, 0), (1, 1), (4_799_999, 4_799_999), (4_800_000, 0)] {
            let now = beats.first + Duration::from_nanos(nanos);
            assert_eq!(now - beats.last(now), Duration::from_nanos(since));
        }
    }
}
