//! The times of calls, in microseconds.

use hdrhistogram::Histogram;

/// The longest time that is recorded, one minute in microseconds. Longer calls count as this.
const LONGEST: u64 = 60_000_000;

/// The times of one repeated call, in microseconds.
pub(super) struct Timing {
    pub(super) name: &'static str,
    pub(super) times: Histogram<u64>,
}

/// An empty histogram of microseconds.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LONGEST, 3).expect("the bounds are valid")
}

/// Returns p50 and p99 in milliseconds.
pub(super) fn quantiles(times: &Histogram<u64>) -> (f64, f64) {
    let at = |quantile| times.value_at_quantile(quantile) as f64 / 1000.0;
    (at(0.5), at(0.99))
}
