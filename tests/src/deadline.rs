//! Waiting for a condition, with a deadline and a figure of how long it took.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Looks at `check` until it gives a value; how long that took stands beside it.
///
/// # Panics
/// With `what` when the deadline passes.
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

/// Waits for `future`.
///
/// # Panics
/// With `what` when the deadline passes.
pub async fn within<F: Future>(what: &str, deadline: Duration, future: F) -> F::Output {
    match timeout(deadline, future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {deadline:?}: {what}"),
    }
}
