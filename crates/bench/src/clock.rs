//! One clock for all processes of a bench: nanoseconds since the machine started.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// The current time in nanoseconds.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let nanos = Duration::try_from(time).map_or(0, |time| time.as_nanos());
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

/// The time from now until `due`, zero if `due` has passed.
pub(crate) fn until(due: u64) -> Duration {
    Duration::from_nanos(due.saturating_sub(now()))
}

/// Converts a wait to the kernel's type.
pub(crate) fn timespec(wait: Duration) -> Timespec {
    Timespec::try_from(wait).unwrap_or(Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    })
}
