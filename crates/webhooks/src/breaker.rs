//! A breaker for one endpoint: while it fails at everything, one request at a time finds out whether
//! it still does, and all else waits.

use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::sleep_until;
use tracing::{info, warn};

/// So many failures after one another, over all rooms, open the breaker.
const FAILURES: u32 = 5;
/// Until the first probe, times a random number up to 1; doubled with each that fails.
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
    /// Since the last success.
    failures: u32,
    next_probe: Instant,
    pause: Duration,
    is_probing: bool,
}

/// Leave for one request; say how it went. Dropped without a word, nothing is learnt.
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
            // From here on no change is missed.
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
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    pub(crate) fn succeed(self) {
        let mut state = self.breaker.lock();
        if state.failures >= FAILURES {
            info!(webhook = self.breaker.webhook, "the endpoint works again");
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
                "the endpoint fails at everything, asking it now and then"
            );
        }
        // Requests that were on their way when it opened say nothing new.
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
    async fn while_it_is_open_one_asks_at_a_time() {
        let breaker = open().await;
        assert!(breaker.is_open());
        let probe = timeout(3 * FIRST_PAUSE, breaker.turn()).await.unwrap();
        assert!(timeout(2 * FIRST_PAUSE, breaker.turn()).await.is_err());
        drop(probe);
        // It was given back without a word.
        let probe = timeout(3 * FIRST_PAUSE, breaker.turn()).await.unwrap();
        probe.fail("no");
        assert!(breaker.is_open());
    }

    #[tokio::test]
    async fn one_success_closes_it_for_all_that_wait() {
        let breaker = open().await;
        let probe = breaker.turn().await;
        let others = async { tokio::join!(breaker.turn(), breaker.turn()) };
        let succeed = async { probe.succeed() };
        let all = async { tokio::join!(others, succeed) };
        timeout(Duration::from_secs(10), all).await.unwrap();
        assert!(!breaker.is_open());
    }
}
