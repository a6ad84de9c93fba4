//! One event's tries: how long until the next, and when it is given up.

use std::time::{Duration, Instant};

/// Before the second try, times a random number up to 1; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_secs(60);
/// An event is not given up before so many tries.
const FEWEST: u32 = 5;

/// The tries at one event so far.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) tries: u32,
    failed_first: Option<Instant>,
    pause: Duration,
}

impl Trial {
    pub(crate) fn new() -> Self {
        Self {
            tries: 0,
            failed_first: None,
            pause: FIRST_PAUSE,
        }
    }

    /// One more try failed. `None`: enough. Else how long to wait, with full jitter, and at least as
    /// long as was asked for.
    pub(crate) fn fail(
        &mut self,
        give_up_after: Duration,
        asked: Option<Duration>,
    ) -> Option<Duration> {
        self.tries += 1;
        let since = *self.failed_first.get_or_insert_with(Instant::now);
        if self.tries >= FEWEST && since.elapsed() >= give_up_after {
            return None;
        }
        let longest = self.pause;
        self.pause = (longest * 2).min(LAST_PAUSE);
        let pause = longest.mul_f64(fastrand::f64());
        Some(pause.max(asked.unwrap_or_default().min(LAST_PAUSE)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_given_up_after_time_and_tries() {
        let mut trial = Trial::new();
        for _ in 1..FEWEST {
            assert!(trial.fail(Duration::ZERO, None).is_some());
        }
        assert_eq!(trial.fail(Duration::ZERO, None), None);
        let mut trial = Trial::new();
        let hour = Duration::from_secs(3_600);
        let pauses: Vec<_> = (0..100).filter_map(|_| trial.fail(hour, None)).collect();
        assert_eq!(pauses.len(), 100);
        assert!(pauses.iter().all(|pause| *pause <= LAST_PAUSE));
    }

    #[test]
    fn a_pause_that_is_asked_for_is_kept_up_to_a_minute() {
        let hour = Duration::from_secs(3_600);
        let asked = |pause| Trial::new().fail(hour, Some(Duration::from_secs(pause)));
        assert_eq!(asked(30), Some(Duration::from_secs(30)));
        assert_eq!(asked(1_000), Some(LAST_PAUSE));
    }
}
