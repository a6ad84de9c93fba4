//! [`Outage`] decides which of many repeated failures are logged, [`Sampler`] which of many similar lines.
//!
//! A loop that fails many times a second would fill the log with one line. With an [`Outage`] it logs
//! the first failure, one line a minute with a count while the failures go on, and one line when they
//! are over:
//!
//! ```
//! # use hubbub_outage::Outage;
//! # fn renew() -> Result<(), String> { Ok(()) }
//! static RENEWAL: Outage = Outage::new();
//! match renew() {
//!     Ok(()) => {
//!         if let Some(over) = RENEWAL.end() {
//!             println!("renewed again after {} failures in {:?}", over.failures, over.lasted);
//!         }
//!     }
//!     Err(error) => {
//!         if let Some(now) = RENEWAL.fail(&error) {
//!             println!("cannot renew: {error} ({} failures in {:?})", now.failures, now.lasted);
//!         }
//!     }
//! }
//! ```

mod sampler;

use std::fmt::Display;
use std::hash::{DefaultHasher, Hash, Hasher};

use std::time::{Duration, Instant};

use parking_lot::Mutex;
pub use sampler::Sampler;

/// Between two log lines about the same outage.
const INTERVAL: Duration = Duration::from_secs(60);
/// An outage ends after this time without a failure, even if nobody calls [`Outage::end`].
const FORGOTTEN: Duration = Duration::from_secs(120);
/// How many different error texts of one outage are logged at once. Further texts wait for the
/// minute.
const TEXTS: usize = 5;

/// Counts failures of one kind. Share it by reference; it may be a `static`.
#[derive(Debug, Default)]
pub struct Outage(Mutex<Option<Ongoing>>);

/// How long an outage has lasted, for its log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Failures since the outage began.
    pub failures: u64,
    /// Time since the first of them.
    pub lasted: Duration,
}

#[derive(Debug)]
struct Ongoing {
    began: Instant,
    failures: u64,
    failed: Instant,
    logged: Instant,
    /// Digests of the error texts that were logged.
    texts: Vec<u64>,
}

impl Outage {
    /// Makes an outage that has not begun.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Counts a failure and returns a report if it is to be logged now. The first failure, a new
    /// error text (up to five) and one failure a minute are logged.
    #[must_use]
    pub fn fail(&self, error: &(impl Display + ?Sized)) -> Option<Report> {
        self.fail_at(error, Instant::now())
    }

    /// Ends the outage. Returns a report to log, or `None` if there was no outage.
    #[must_use]
    pub fn end(&self) -> Option<Report> {
        let ongoing = self.lock().take()?;
        Some(ongoing.report(Instant::now()))
    }

    fn fail_at(&self, error: &(impl Display + ?Sized), now: Instant) -> Option<Report> {
        let mut state = self.lock();
        let is_old = |ongoing: &mut Ongoing| now.duration_since(ongoing.failed) > FORGOTTEN;
        state.take_if(is_old);
        let ongoing = state.get_or_insert_with(|| Ongoing::new(now));
        ongoing.failures += 1;
        ongoing.failed = now;
        let is_new = ongoing.learn(digest(error));
        if !is_new && now.duration_since(ongoing.logged) < INTERVAL {
            return None;
        }
        ongoing.logged = now;
        Some(ongoing.report(now))
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, Option<Ongoing>> {
        self.0.lock()
    }
}

impl Ongoing {
    fn new(now: Instant) -> Self {
        Self {
            began: now,
            failures: 0,
            failed: now,
            logged: now,
            texts: Vec::new(),
        }
    }

    /// Returns whether the text is new and there is room to log it at once.
    fn learn(&mut self, text: u64) -> bool {
        if self.texts.len() >= TEXTS || self.texts.contains(&text) {
            return false;
        }
        self.texts.push(text);
        true
    }

    fn report(&self, now: Instant) -> Report {
        Report {
            failures: self.failures,
            lasted: now.duration_since(self.began),
        }
    }
}

fn digest(error: &(impl Display + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    error.to_string().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_and_one_a_minute_are_logged() {
        let (outage, start) = (Outage::new(), Instant::now());
        let lines: Vec<u64> = (0..1_250)
            .filter_map(|tenth| {
                let now = start + Duration::from_millis(100 * tenth);
                outage.fail_at("away", now).map(|report| report.failures)
            })
            .collect();
        assert_eq!(lines, [1, 601, 1_201]);
        assert_eq!(outage.end().map(|report| report.failures), Some(1_250));
        assert_eq!(outage.end(), None);
        assert!(outage.fail("away").is_some(), "another outage");
    }

    #[test]
    fn a_few_other_texts_are_logged_at_once() {
        let (outage, now) = (Outage::new(), Instant::now());
        let logged = |text: &str| outage.fail_at(text, now).is_some();
        assert!(logged("refused") && logged("read-only"));
        assert!(!logged("refused") && !logged("read-only"));
        let more = (0..100).filter(|number| logged(&number.to_string()));
        assert_eq!(more.count(), TEXTS - 2);
    }

    #[test]
    fn a_long_silence_ends_an_outage() {
        let (outage, start) = (Outage::new(), Instant::now());
        assert!(outage.fail_at("away", start).is_some());
        assert_eq!(outage.fail_at("away", start + INTERVAL / 2), None);
        let later = start + INTERVAL + 2 * FORGOTTEN;
        let report = outage.fail_at("away", later).map(|report| report.failures);
        assert_eq!(report, Some(1));
    }
}
