//! The recent frequency of something.

use std::time::{Duration, Instant};

/// A counter whose counts fade with time.
#[derive(Debug, Default)]
pub(super) struct Frequency {
    /// The rate per second at the time of the last count.
    value: f32,
    counted: Option<Instant>,
}

impl Frequency {
    /// Counts. `memory` is about how long a count lasts.
    pub(super) fn count(&mut self, number: usize, memory: Duration, now: Instant) {
        self.value = self.at(memory, now) + number as f32 / memory.as_secs_f32();
        self.counted = Some(now);
    }

    /// The rate per second.
    pub(super) fn at(&self, memory: Duration, now: Instant) -> f32 {
        let Some(counted) = self.counted else {
            return 0.0;
        };
        let past = now.saturating_duration_since(counted);
        self.value * (-past.div_duration_f32(memory)).exp()
    }

    /// When the last count was.
    pub(super) fn counted(&self) -> Option<Instant> {
        self.counted
    }
}
