//! A connection's one timer: pings, their pongs, and how long a write may stall.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::socket::Writer;

/// When the next ping, or the end of waiting for its pong, is due.
pub(super) struct Pulse {
    timer: Pin<Box<Sleep>>,
    due: Instant,
    interval: Duration,
    pong_timeout: Duration,
    /// A ping is out and its pong has not been seen.
    waiting: bool,
}

impl Pulse {
    pub(super) fn new(interval: Duration, pong_timeout: Duration) -> Self {
        // The first ping comes anywhere in the first interval, so that clients who came together
        // are not pinged together for ever.
        let due = Instant::now() + interval.mul_f64(fastrand::f64());
        let timer = Box::pin(sleep_until(due));
        Self {
            timer,
            due,
            interval,
            pong_timeout,
            waiting: false,
        }
    }

    /// Waits until [`Self::beat`] is due. Cancel safe.
    pub(super) async fn due(&mut self) {
        if self.timer.deadline() != self.due {
            self.timer.as_mut().reset(self.due);
        }
        self.timer.as_mut().await;
    }

    /// Queues a ping, or looks for the pong; `false`: there is none.
    pub(super) fn beat(&mut self, writer: &Writer<'_>, busy: &AtomicBool) -> bool {
        let next = if !self.waiting {
            writer.take_pong();
            writer.ping();
            self.waiting = true;
            self.pong_timeout
        } else if writer.take_pong() {
            self.waiting = false;
            let interval = self.interval.mul_f64(0.8 + 0.4 * fastrand::f64());
            interval.saturating_sub(self.pong_timeout)
        } else if busy.load(Ordering::Relaxed) {
            // The reading side is held up by a command: the pong may wait unread behind it.
            self.pong_timeout
        } else {
            return false;
        };
        self.due = Instant::now() + next;
        true
    }

    /// Waits for `timeout`, in place of [`Self::due`]. Cancel safe.
    pub(super) async fn stalled(&mut self, timeout: Duration) {
        self.timer.as_mut().reset(Instant::now() + timeout);
        self.timer.as_mut().await;
    }
}
