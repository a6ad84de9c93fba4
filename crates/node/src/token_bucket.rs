//! How fast one connection may ask for something: a bucket that refills with time.

use std::time::{Duration, Instant};

use crate::expiring_map::Expires;

/// How long refusals count against a connection.
const FLOOD_WINDOW: Duration = Duration::from_secs(10);
/// After so many bursts' worth of refusals within the window, it is flooding.
const FLOOD_BURSTS: u32 = 3;

/// The verdict on one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allowed,
    /// Refused; the next is allowed after this time.
    TooFast(Duration),
    /// Refused too often: the client does not listen.
    Flooding,
}

/// A token bucket, and how often it was found empty.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    /// The time in which one comes free; zero: there is no limit.
    one: Duration,
    burst: u32,
    /// When the bucket will be full, if nothing more is taken: says how full it is now.
    full_at: Instant,
    refused: u32,
    window_began: Instant,
}

impl TokenBucket {
    /// A full bucket. A rate of 0 allows everything.
    pub(crate) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        Self::within(Duration::from_secs(1), per_second, burst, now)
    }

    /// The same for a rate of `count` in each `period`.
    pub(crate) fn within(period: Duration, count: u32, burst: u32, now: Instant) -> Self {
        Self {
            one: period.checked_div(count).unwrap_or_default(),
            burst: burst.max(1),
            full_at: now,
            refused: 0,
            window_began: now,
        }
    }

    pub(crate) fn take(&mut self, now: Instant) -> Verdict {
        let one = self.one;
        if one.is_zero() {
            return Verdict::Allowed;
        }
        let full_at = self.full_at.max(now) + one;
        let excess = full_at
            .saturating_duration_since(now)
            .saturating_sub(one * self.burst);
        if excess.is_zero() {
            self.full_at = full_at;
            return Verdict::Allowed;
        }
        match self.refuse(now) {
            Verdict::Flooding => Verdict::Flooding,
            Verdict::Allowed | Verdict::TooFast(_) => Verdict::TooFast(excess),
        }
    }

    /// Somebody else has refused one: it counts as if this had.
    pub(crate) fn refuse(&mut self, now: Instant) -> Verdict {
        if now.duration_since(self.window_began) > FLOOD_WINDOW {
            self.window_began = now;
            self.refused = 0;
        }
        self.refused += 1;
        if self.refused > FLOOD_BURSTS * self.burst {
            Verdict::Flooding
        } else {
            Verdict::TooFast(Duration::ZERO)
        }
    }
}

impl Expires for TokenBucket {
    /// The bucket is full, and no refusal counts any more.
    fn expires(&self) -> Instant {
        match self.refused {
            0 => self.full_at,
            _ => self.full_at.max(self.window_began + FLOOD_WINDOW),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let start = Instant::now();
        let mut rate = TokenBucket::new(10, 30, start);
        let passed = (0..40)
            .filter(|_| rate.take(start) == Verdict::Allowed)
            .count();
        assert_eq!(passed, 30);
        let Verdict::TooFast(wait) = rate.take(start) else {
            panic!("allowed")
        };
        assert_eq!(wait, Duration::from_millis(100));
        assert_eq!(rate.take(start + wait), Verdict::Allowed);
        let later = start + Duration::from_secs(1);
        assert_eq!(
            (0..20)
                .filter(|_| rate.take(later) == Verdict::Allowed)
                .count(),
            9
        );
    }

    #[test]
    fn who_does_not_listen_is_flooding() {
        let start = Instant::now();
        let mut rate = TokenBucket::new(10, 30, start);
        let verdicts: Vec<_> = (0..200).map(|_| rate.take(start)).collect();
        assert_eq!(
            verdicts
                .iter()
                .filter(|v| matches!(v, Verdict::TooFast(_)))
                .count(),
            90
        );
        assert_eq!(verdicts.last(), Some(&Verdict::Flooding));
    }

    #[test]
    fn zero_means_no_limit() {
        let start = Instant::now();
        let mut rate = TokenBucket::new(0, 0, start);
        assert!((0..10_000).all(|_| rate.take(start) == Verdict::Allowed));
    }
}
