//! The retries of one event: the pause before the next try, and when the event is given up.

use std::time::{Duration, Instant};

/// The longest pause before the second try. It doubles with each further try. The pause is random, up
/// to this.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_secs(60);
/// The fewest tries before an event is given up.
const FEWEST: u32 = 5;

/// The state of one event's retries.
#[derive(Debug)]
pub(crate) struct Retry {
    pub(crate) tries: u32,
    failed_first: Option<Instant>,
    pause: Duration,
}

impl Retry {
    pub(crate) fn new() -> Self {
        Self {
            tries: 0,
            failed_first: None,
            pause: FIRST_PAUSE,
        }
    }

    /// Counts a failed try. Returns the pause before the next one, with full jitter but at least
    /// `asked`, or `None` if the event is given up.
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
    fn an_event_is_given_up_after_enough_time_and_tries() {
        let mut retry = Retry::new();
        for _ in 1..FEWEST {
            assert!(retry.fail(Duration::ZERO, None).is_some());
        }
        assert_eq!(retry.fail(Duration::ZERO, None), None);
        let mut retry = Retry::new();
        let hour = Duration::from_secs(3_600);
        let pauses: Vec<_> = (0..100).filter_map(|_| retry.fail(hour, None)).collect();
        assert_eq!(pauses.len(), 100);
        assert!(pauses.iter().all(|pause| *pause <= LAST_PAUSE));
    }

    #[test]
    fn retry_after_is_honoured_up_to_a_minute() {
        let hour = Duration::from_secs(3_600);
        let asked = |pause| Retry::new().fail(hour, Some(Duration::from_secs(pause)));
        assert_eq!(asked(30), Some(Duration::from_secs(30)));
        assert_eq!(asked(1_000), Some(LAST_PAUSE));
    }
}
