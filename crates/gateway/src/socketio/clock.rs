//! A connection's one timer: pings, their pongs, and how long a client may stay outside every
//! namespace.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::engine::EngineOptions;

/// Signals from the reading side to the writing side of one task.
#[derive(Debug, Default)]
pub(super) struct Signs {
    /// A pong has come.
    pub(super) pong: AtomicBool,
    /// A message is being dealt with: what came after it waits unread.
    pub(super) busy: AtomicBool,
}

/// The action that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tick {
    Nothing,
    Ping,
    /// The client is silent: it has gone.
    NoPong,
    /// The client is in no namespace, and was in none for too long.
    NoConnect,
}

#[derive(Debug)]
pub(super) struct Clock {
    timer: Pin<Box<Sleep>>,
    /// When the next ping, or the end of waiting for its pong, is due.
    next: Instant,
    /// When the ping went out whose pong has not been seen.
    asked: Option<Instant>,
    /// When the client has to be in a namespace; `None`: it is.
    connect_by: Option<Instant>,
    connect_timeout: Option<Duration>,
    interval: Duration,
    timeout: Duration,
}

impl Clock {
    /// Begins with the handshake, before it is answered.
    pub(super) fn new(began: Instant, options: &EngineOptions) -> Self {
        let next = began + options.ping_interval;
        Self {
            timer: Box::pin(sleep_until(next)),
            next,
            asked: None,
            connect_by: options.connect_timeout.map(|timeout| began + timeout),
            connect_timeout: options.connect_timeout,
            interval: options.ping_interval,
            timeout: options.ping_timeout,
        }
    }

    /// Waits until [`Self::tick`] is due. Cancel safe.
    pub(super) async fn due(&mut self) {
        let due = self.connect_by.map_or(self.next, |by| by.min(self.next));
        if self.timer.deadline() != due {
            self.timer.as_mut().reset(due);
        }
        self.timer.as_mut().await;
    }

    pub(super) fn tick(&mut self, signs: &Signs, has_joined: bool) -> Tick {
        let now = Instant::now();
        if self.connect_by.is_some_and(|by| by <= now) {
            self.connect_by = None;
            if !has_joined {
                return Tick::NoConnect;
            }
        }
        if self.next > now {
            return Tick::Nothing;
        }
        if !has_joined && self.connect_by.is_none() {
            // It has left its last namespace, and is nobody until it comes into another one.
            self.connect_by = self.connect_timeout.map(|timeout| now + timeout);
        }
        let Some(asked) = self.asked else {
            signs.pong.store(false, Ordering::Relaxed);
            // The time that it was due at counts, unless this node comes very late with it.
            let is_late = now - self.next > self.timeout / 2;
            let asked = if is_late { now } else { self.next };
            self.asked = Some(asked);
            self.next = asked + self.timeout;
            return Tick::Ping;
        };
        if signs.pong.swap(false, Ordering::Relaxed) {
            self.asked = None;
            self.next = now.max(asked + self.interval);
            Tick::Nothing
        } else if signs.busy.load(Ordering::Relaxed) {
            self.next = now + self.timeout;
            Tick::Nothing
        } else {
            Tick::NoPong
        }
    }

    /// Whether the client has been silent for too long already: a timer may be some milliseconds
    /// late.
    pub(super) fn is_over(&self, signs: &Signs) -> bool {
        let is_silent = !signs.pong.load(Ordering::Relaxed) && !signs.busy.load(Ordering::Relaxed);
        self.asked.is_some() && is_silent && self.next <= Instant::now()
    }

    /// Waits for `timeout`, in place of [`Self::due`]. Cancel safe.
    pub(super) async fn stalled(&mut self, timeout: Duration) {
        self.timer.as_mut().reset(Instant::now() + timeout);
        self.timer.as_mut().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> Clock {
        let options = EngineOptions {
            ping_interval: Duration::from_secs(3),
            ping_timeout: Duration::from_secs(2),
            connect_timeout: Some(Duration::from_secs(4)),
            ..EngineOptions::default()
        };
        Clock::new(Instant::now(), &options)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_may_not_stay_outside_every_namespace() {
        let (mut clock, signs) = (clock(), Signs::default());
        let pong = |signs: &Signs| signs.pong.store(true, Ordering::Relaxed);
        assert_eq!(ticks(&mut clock, &signs, true).await.1, Tick::Ping);
        pong(&signs);
        // It leaves its last namespace, and goes on answering pings.
        let mut last = Tick::Nothing;
        for _ in 0..5 {
            last = ticks(&mut clock, &signs, false).await.1;
            if last != Tick::Ping {
                break;
            }
            pong(&signs);
        }
        assert_eq!(last, Tick::NoConnect);
    }

    async fn ticks(clock: &mut Clock, signs: &Signs, has_joined: bool) -> (u128, Tick) {
        let began = Instant::now();
        loop {
            clock.due().await;
            let tick = clock.tick(signs, has_joined);
            if tick != Tick::Nothing {
                return (began.elapsed().as_secs().into(), tick);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_ping_comes_after_one_interval_and_silence_ends_it() {
        let (mut clock, signs) = (clock(), Signs::default());
        signs.pong.store(true, Ordering::Relaxed);
        assert_eq!(ticks(&mut clock, &signs, true).await, (3, Tick::Ping));
        signs.pong.store(true, Ordering::Relaxed);
        assert_eq!(ticks(&mut clock, &signs, true).await, (3, Tick::Ping));
        assert_eq!(ticks(&mut clock, &signs, true).await, (2, Tick::NoPong));
    }

    #[tokio::test(start_paused = true)]
    async fn a_ping_that_is_a_little_late_gives_no_more_time() {
        let (mut clock, signs) = (clock(), Signs::default());
        tokio::time::sleep(Duration::from_millis(3_400)).await;
        assert_eq!(clock.tick(&signs, true), Tick::Ping);
        tokio::time::sleep(Duration::from_millis(1_599)).await;
        assert!(!clock.is_over(&signs));
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(clock.is_over(&signs));
        signs.pong.store(true, Ordering::Relaxed);
        assert!(!clock.is_over(&signs));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_pinged_very_late_has_its_whole_time() {
        let (mut clock, signs) = (clock(), Signs::default());
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(clock.tick(&signs, true), Tick::Ping);
        assert_eq!(ticks(&mut clock, &signs, true).await, (2, Tick::NoPong));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_behind_a_message_of_its_own_is_not_silent() {
        let (mut clock, signs) = (clock(), Signs::default());
        signs.busy.store(true, Ordering::Relaxed);
        assert_eq!(ticks(&mut clock, &signs, true).await, (3, Tick::Ping));
        tokio::time::sleep(Duration::from_secs(2)).await;
        clock.due().await;
        assert_eq!(clock.tick(&signs, true), Tick::Nothing);
        signs.busy.store(false, Ordering::Relaxed);
        assert_eq!(ticks(&mut clock, &signs, true).await, (2, Tick::NoPong));
    }

    #[tokio::test(start_paused = true)]
    async fn who_joins_nothing_has_to_go() {
        let (mut clock, signs) = (clock(), Signs::default());
        assert_eq!(ticks(&mut clock, &signs, false).await, (3, Tick::Ping));
        assert_eq!(ticks(&mut clock, &signs, false).await, (1, Tick::NoConnect));
    }
}
