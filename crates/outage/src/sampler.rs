//! [`Sampler`] decides which of many similar log lines are written.

use parking_lot::Mutex;

use std::time::{Duration, Instant};

/// Admits a few log lines in each period and counts the others. It is for lines that are no failures, such
/// as those about single connections: [`crate::Outage`] would keep one a minute only.
///
/// ```
/// # use hubbub_outage::Sampler;
/// # use std::time::Duration;
/// static OPENED: Sampler = Sampler::new(50, Duration::from_secs(1));
/// if OPENED.admits() {
///     println!("connection opened");
/// }
/// // Now and then:
/// let left_out = OPENED.take_left_out();
/// if left_out > 0 {
///     println!("{left_out} lines about connections were left out");
/// }
/// ```
#[derive(Debug)]
pub struct Sampler {
    most: u32,
    period: Duration,
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    began: Option<Instant>,
    admitted: u32,
    left_out: u64,
}

impl Sampler {
    /// Makes a sampler that admits `most` lines in each `period`.
    #[must_use]
    pub const fn new(most: u32, period: Duration) -> Self {
        Self {
            most,
            period,
            window: Mutex::new(Window {
                began: None,
                admitted: 0,
                left_out: 0,
            }),
        }
    }

    /// Returns whether the next line is to be written; if not, it is counted as left out.
    #[must_use]
    pub fn admits(&self) -> bool {
        self.admits_at(Instant::now())
    }

    /// Returns how many lines were left out since the last call.
    #[must_use]
    pub fn take_left_out(&self) -> u64 {
        std::mem::take(&mut self.lock().left_out)
    }

    fn admits_at(&self, now: Instant) -> bool {
        let mut window = self.lock();
        let is_over = |began| now.saturating_duration_since(began) >= self.period;
        if window.began.is_none_or(is_over) {
            window.began = Some(now);
            window.admitted = 0;
        }
        if window.admitted < self.most {
            window.admitted += 1;
            return true;
        }
        window.left_out += 1;
        false
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, Window> {
        self.window.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_lines_a_period_are_written_and_the_others_counted() {
        const SECOND: Duration = Duration::from_secs(1);
        let (sampler, start) = (Sampler::new(3, SECOND), Instant::now());
        let written = |now| (0..10).filter(|_| sampler.admits_at(now)).count();
        assert_eq!(written(start), 3);
        assert_eq!(written(start + SECOND / 2), 0);
        assert_eq!(sampler.take_left_out(), 17);
        assert_eq!(written(start + SECOND), 3);
        assert_eq!(sampler.take_left_out(), 7);
        assert_eq!(sampler.take_left_out(), 0);
    }
}
