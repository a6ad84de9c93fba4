//! Waits for a condition with a deadline, and measures how long it took.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// The time between two checks of a condition.
const LOOK: Duration = Duration::from_millis(5);

/// Repeats `check` until it returns a value. Returns the value and how long that took.
///
/// # Panics
/// Panics with `what` if the deadline passes.
pub async fn eventually<T>(
    what: &str,
    deadline: Duration,
    mut check: impl AsyncFnMut() -> Option<T>,
) -> (T, Duration) {
    let start = Instant::now();
    let look = async {
        loop {
            if let Some(value) = check().await {
                return value;
            }
            sleep(LOOK).await;
        }
    };
    match timeout(deadline, look).await {
        Ok(value) => (value, start.elapsed()),
        Err(_) => panic!("not within {deadline:?}: {what}"),
    }
}

/// Waits for `future` until the deadline.
///
/// # Panics
/// Panics with `what` if the deadline passes.
pub async fn within<F: Future>(what: &str, deadline: Duration, future: F) -> F::Output {
    match timeout(deadline, future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {deadline:?}: {what}"),
    }
}
