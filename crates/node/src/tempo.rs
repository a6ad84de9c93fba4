//! How quickly a room's sends come: in a quiet room each is published at once, in a busy one they
//! wait a little for each other, so that one call, one packet and one write carry several.

use std::time::{Duration, Instant};

/// From one publish of a busy room to the next.
const INTERVAL: Duration = Duration::from_millis(4);
/// Sends a millisecond, here, from which on a room is busy: below, there would be nothing to join.
const BUSY: f32 = 0.5;
/// Sends count for about so many milliseconds.
const MEMORY: f32 = 20.0;

/// The recent sends of one room on this node.
#[derive(Debug, Default)]
pub(crate) struct Tempo {
    /// When the last publish began.
    last: Option<Instant>,
    /// Sends a millisecond, as they were then.
    rate: f32,
}

impl Tempo {
    /// How long the next publish is to wait for more.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        let Some(last) = self.last else {
            return Duration::ZERO;
        };
        let passed = now.saturating_duration_since(last);
        if self.faded(passed) < BUSY {
            return Duration::ZERO;
        }
        INTERVAL.saturating_sub(passed)
    }

    /// Counts a publish that begins now.
    pub(crate) fn count(&mut self, sends: usize, now: Instant) {
        let passed = self.last.map(|last| now.saturating_duration_since(last));
        let before = passed.map_or(0.0, |passed| self.faded(passed));
        self.rate = before + sends as f32 / MEMORY;
        self.last = Some(now);
    }

    fn faded(&self, passed: Duration) -> f32 {
        let millis = passed.as_secs_f32() * 1000.0;
        self.rate * (-millis / MEMORY).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends so many times, evenly, and returns how often it would have been published and the
    /// longest wait.
    fn play(sends: u32, every: Duration) -> (u32, Duration) {
        let (mut tempo, start) = (Tempo::default(), Instant::now());
        let (mut calls, mut longest) = (0, Duration::ZERO);
        let mut waiting: Option<(usize, Instant)> = None;
        for number in 0..sends {
            let now = start + every * number;
            if let Some((count, due)) = waiting.filter(|(_, due)| *due <= now) {
                tempo.count(count, due);
                calls += 1;
                waiting = None;
            }
            match &mut waiting {
                Some((count, _)) => *count += 1,
                None => {
                    let wait = tempo.wait(now);
                    longest = longest.max(wait);
                    waiting = Some((1, now + wait));
                }
            }
        }
        (calls + 1, longest)
    }

    #[test]
    fn a_quiet_room_never_waits() {
        let (calls, longest) = play(1_000, Duration::from_millis(4));
        assert_eq!((calls, longest), (1_000, Duration::ZERO));
    }

    #[test]
    fn a_busy_room_joins_and_waits_no_longer_than_the_interval() {
        let (calls, longest) = play(1_000, Duration::from_millis(1));
        assert!((190..300).contains(&calls), "{calls}");
        assert!(longest <= INTERVAL && !longest.is_zero());
    }

    #[test]
    fn silence_makes_it_quiet_again() {
        let (mut tempo, start) = (Tempo::default(), Instant::now());
        tempo.count(100, start);
        assert!(!tempo.wait(start + Duration::from_millis(1)).is_zero());
        assert!(tempo.wait(start + Duration::from_millis(4)).is_zero());
        tempo.count(1, start + Duration::from_secs(1));
        assert!(tempo.wait(start + Duration::from_secs(1)).is_zero());
    }
}
