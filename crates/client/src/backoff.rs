//! The wait before the next attempt. Full jitter spreads the reconnects of many clients.

use std::time::Duration;

/// An exponential back-off. After `n` failures the delay is random between 0 and `base` × 2ⁿ, at most
/// `cap`.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(base: Duration, cap: Duration) -> Self {
        Self {
            base,
            cap,
            failures: 0,
        }
    }

    /// The upper bound of the next delay.
    fn ceiling(&self) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.cap)
    }

    /// Counts a failure and draws the delay before the next attempt.
    pub(crate) fn next_delay(&mut self) -> Duration {
        let delay = self.ceiling().mul_f64(fastrand::f64());
        self.failures = (self.failures + 1).min(31);
        delay
    }

    /// Forgets all failures, because a connection was stable.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_millis(500);
    const CAP: Duration = Duration::from_secs(20);

    #[test]
    fn the_ceiling_doubles_up_to_the_cap() {
        let mut backoff = Backoff::new(BASE, CAP);
        let ceilings: Vec<_> = (0..8)
            .map(|_| {
                let ceiling = backoff.ceiling();
                assert!(backoff.next_delay() <= ceiling);
                ceiling.as_millis()
            })
            .collect();
        assert_eq!(
            ceilings,
            [500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000]
        );
    }

    #[test]
    fn a_very_long_outage_does_not_overflow() {
        let mut backoff = Backoff::new(BASE, CAP);
        for _ in 0..1000 {
            assert!(backoff.next_delay() <= CAP);
        }
        backoff.reset();
        assert_eq!(backoff.ceiling(), BASE);
    }

    #[test]
    fn delays_are_spread_over_the_whole_range() {
        let delays: Vec<_> = (0..1000)
            .map(|_| Backoff::new(BASE, CAP).next_delay())
            .collect();
        assert!(delays.iter().any(|delay| *delay < BASE / 10));
        assert!(delays.iter().any(|delay| *delay > BASE * 9 / 10));
    }
}
