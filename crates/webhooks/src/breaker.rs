//! A circuit breaker for one endpoint. While it is open, one request at a time probes the endpoint and
//! all others wait.

use std::fmt::Display;

use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::sleep_until;
use tracing::{info, warn};

/// The number of consecutive failures, over all rooms, that opens the breaker.
const FAILURES: u32 = 5;
/// The longest pause before the first probe. It doubles with each failed probe. The pause is random, up
/// to this.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// One endpoint's breaker.
#[derive(Debug)]
pub(crate) struct Breaker {
    webhook: String,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    /// Failures since the last success.
    failures: u32,
    next_probe: Instant,
    pause: Duration,
    is_probing: bool,
}

/// Permission for one request. The caller reports its result with `succeed` or `fail`; a permission
/// that is dropped without a result changes nothing.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    breaker: &'a Breaker,
    is_probe: bool,
}

impl Breaker {
    pub(crate) fn new(webhook: &str) -> Self {
        Self {
            webhook: webhook.to_owned(),
            state: Mutex::new(State {
                failures: 0,
                next_probe: Instant::now(),
                pause: FIRST_PAUSE,
                is_probing: false,
            }),
            changed: Notify::new(),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.lock().failures >= FAILURES
    }

    /// Waits until a request may be made.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Enabled before the state is read, so that no change in between is missed.
            changed.as_mut().enable();
            let next_probe = {
                let mut state = self.lock();
                let is_probe = state.failures >= FAILURES;
                if !is_probe || (!state.is_probing && state.next_probe <= Instant::now()) {
                    state.is_probing |= is_probe;
                    return Turn {
                        breaker: self,
                        is_probe,
                    };
                }
                (!state.is_probing).then_some(state.next_probe)
            };
            match next_probe {
                None => changed.await,
                Some(at) => {
                    tokio::select! {
                        () = changed => {}
                        () = sleep_until(at.into()) => {}
                    }
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl Turn<'_> {
    pub(crate) fn succeed(self) {
        let mut state = self.breaker.lock();
        if state.failures >= FAILURES {
            info!(
                webhook = self.breaker.webhook,
                "webhook endpoint works again, breaker closed"
            );
        }
        state.failures = 0;
        state.pause = FIRST_PAUSE;
    }

    pub(crate) fn fail(self, why: impl Display) {
        let mut state = self.breaker.lock();
        state.failures = state.failures.saturating_add(1);
        if state.failures == FAILURES {
            warn!(
                webhook = self.breaker.webhook, %why,
                "webhook endpoint keeps failing, breaker open, only probes are sent"
            );
        }
        // Requests that were in flight when the breaker opened say nothing new.
        if self.is_probe || state.failures == FAILURES {
            state.next_probe = Instant::now() + state.pause.mul_f64(fastrand::f64());
            state.pause = (state.pause * 2).min(LAST_PAUSE);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.is_probe {
            self.breaker.lock().is_probing = false;
        }
        self.breaker.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    async fn open() -> Breaker {
        let breaker = Breaker::new("a");
        for _ in 0..FAILURES {
            breaker.turn().await.fail("no");
        }
        breaker
    }

    #[tokio::test]
    async fn an_open_breaker_lets_one_request_through_at_a_time() {
        let breaker = open().await;
        assert!(breaker.is_open());
        let probe = timeout(3 * FIRST_PAUSE, breaker.turn()).await.unwrap();
        assert!(timeout(2 * FIRST_PAUSE, breaker.turn()).await.is_err());
        drop(probe);
        // The first probe was dropped without a result.
        let probe = timeout(3 * FIRST_PAUSE, breaker.turn()).await.unwrap();
        probe.fail("no");
        assert!(breaker.is_open());
    }

    #[tokio::test]
    async fn one_success_closes_the_breaker_for_all_waiting_requests() {
        let breaker = open().await;
        let probe = breaker.turn().await;
        let others = async { tokio::join!(breaker.turn(), breaker.turn()) };
        let succeed = async { probe.succeed() };
        let all = async { tokio::join!(others, succeed) };
        timeout(Duration::from_secs(10), all).await.unwrap();
        assert!(!breaker.is_open());
    }
}
