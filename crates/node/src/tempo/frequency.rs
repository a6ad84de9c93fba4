//! How often something has happened lately.

use std::time::{Duration, Instant};

/// Counts, of which each is worth less the longer it is ago.
#[derive(Debug, Default)]
pub(super) struct Frequency {
    /// How often a second, as it was then.
    value: f32,
    counted: Option<Instant>,
}

impl Frequency {
    /// What is counted counts for about so long.
    pub(super) fn count(&mut self, number: usize, memory: Duration, now: Instant) {
        self.value = self.at(memory, now) + number as f32 / memory.as_secs_f32();
        self.counted = Some(now);
    }

    /// How often a second.
    pub(super) fn at(&self, memory: Duration, now: Instant) -> f32 {
        let Some(counted) = self.counted else {
            return 0.0;
        };
        let past = now.saturating_duration_since(counted);
        self.value * (-past.div_duration_f32(memory)).exp()
    }

    /// When something was counted last.
    pub(super) fn counted(&self) -> Option<Instant> {
        self.counted
    }
}
