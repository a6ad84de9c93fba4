//! Limits the rate of sends to the server's limit. The server ends a connection that is too fast (4429).

use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

/// The server's limits from `welcome`. 0 or an absent field means no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct SendLimits {
    sends_per_second: u32,
    sends_burst: u32,
}

/// A copy of the server's token bucket with one token less, which allows for the network's jitter.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    limits: SendLimits,
    /// The time at which the bucket will be full. `None` if it is full.
    full_at: Option<Instant>,
}

impl Pace {
    /// A new connection has a full bucket.
    pub(crate) fn restart(&mut self, limits: SendLimits) {
        *self = Self {
            limits,
            full_at: None,
        };
    }

    /// The time at which the next send may go.
    pub(crate) fn next(&self, now: Instant) -> Instant {
        let Some((one, full_at)) = self.after_one(now) else {
            return now;
        };
        let burst = self.limits.sends_burst.saturating_sub(1).max(1);
        let earliest = full_at.checked_sub(one * burst).unwrap_or(now);
        earliest.max(now)
    }

    /// Takes a token for a send that goes now.
    pub(crate) fn take(&mut self, now: Instant) {
        self.full_at = self.after_one(now).map(|(_, full_at)| full_at);
    }

    /// The cost of one send, and the time at which the bucket would be full after it.
    fn after_one(&self, now: Instant) -> Option<(Duration, Instant)> {
        let one = Duration::from_secs(1).checked_div(self.limits.sends_per_second)?;
        let full_at = self.full_at.map_or(now, |full_at| full_at.max(now));
        Some((one, full_at + one))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of sends that may go at `now`.
    fn burst(pace: &mut Pace, now: Instant) -> usize {
        let mut count = 0;
        while count < 1_000 && pace.next(now) == now {
            pace.take(now);
            count += 1;
        }
        count
    }

    #[test]
    fn after_a_burst_the_rate_holds() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        pace.restart(SendLimits {
            sends_per_second: 10,
            sends_burst: 30,
        });
        assert_eq!(
            burst(&mut pace, start),
            29,
            "one less than the server allows"
        );
        let next = pace.next(start);
        assert_eq!(next - start, Duration::from_millis(100));
        assert_eq!(burst(&mut pace, next), 1);
        assert_eq!(burst(&mut pace, start + Duration::from_secs(60)), 29);
    }

    #[test]
    fn without_a_limit_all_sends_go() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.restart(SendLimits::default());
        assert_eq!(burst(&mut pace, now), 1_000);
    }
}
