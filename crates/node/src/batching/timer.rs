//! A timer for waits of a few milliseconds, precise to a fraction of one. The runtime's own timers
//! round up to whole milliseconds, twice, which is half of such a wait.

use std::io;
use std::time::Instant;

#[cfg(target_os = "linux")]
use self::linux::Kernel as Clock;
#[cfg(not(target_os = "linux"))]
use self::other::Runtime as Clock;

/// Several tasks may wait at once. The clock is set for the earliest, and when it fires the others
/// look again.
#[derive(Debug, Default)]
pub(crate) struct Timer(std::sync::OnceLock<Option<Clock>>);

impl Timer {
    /// Waits until `due`. Cancel safe.
    pub(crate) async fn until(&self, due: Instant) {
        let clock = self.0.get_or_init(|| {
            Clock::new()
                .inspect_err(|error| tracing::warn!(%error, "no precise timer, sends wait longer"))
                .ok()
        });
        while is_to_come(due) {
            let rung = match clock {
                Some(clock) => clock.ring(due).await,
                None => Err(io::ErrorKind::Unsupported.into()),
            };
            if rung.is_err() {
                tokio::time::sleep_until(due.into()).await;
            }
        }
    }
}

fn is_to_come(due: Instant) -> bool {
    due > Instant::now()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::time::{Duration, Instant};

    use parking_lot::Mutex;
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::net::unix::pipe::Receiver;

    /// A timer of the kernel, which is read like a pipe.
    #[derive(Debug)]
    pub(super) struct Kernel {
        timer: Receiver,
        /// The time for which it is set, until a task has read that it fired. Setting it again
        /// would discard that.
        set: Mutex<Option<Instant>>,
    }

    impl Kernel {
        pub(super) fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            Ok(Self {
                timer: Receiver::from_owned_fd_unchecked(timer)?,
                set: Mutex::default(),
            })
        }

        /// Waits until it fires, at `due` or before.
        pub(super) async fn ring(&self, due: Instant) -> io::Result<()> {
            self.set_for(due)?;
            self.timer.readable().await?;
            let mut set = self.set.lock();
            // Reads until nothing is left, so that the next wait does not find an old firing.
            // Another waiting task may have read it first.
            loop {
                match self.timer.try_read(&mut [0_u8; 8]) {
                    Ok(_) => *set = None,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
        }

        fn set_for(&self, due: Instant) -> io::Result<()> {
            let mut set = self.set.lock();
            if set.is_some_and(|set| set <= due) {
                return Ok(());
            }
            let nothing = Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            // A wait of zero would turn the timer off.
            let wait = due.saturating_duration_since(Instant::now());
            let wait = wait.max(Duration::from_nanos(1));
            let once = Itimerspec {
                it_interval: nothing,
                it_value: Timespec::try_from(wait).map_err(|_| io::ErrorKind::InvalidInput)?,
            };
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
            *set = Some(due);
            Ok(())
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use std::io;
    use std::time::Instant;

    /// The runtime's timers.
    #[derive(Debug)]
    pub(super) struct Runtime;

    impl Runtime {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self)
        }

        pub(super) async fn ring(&self, due: Instant) -> io::Result<()> {
            tokio::time::sleep_until(due.into()).await;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn waits_are_not_too_short_and_mostly_exact() {
        let timer = Timer::default();
        let mut late = Vec::new();
        for _ in 0..50 {
            let due = Instant::now() + Duration::from_micros(1_500);
            timer.until(due).await;
            let now = Instant::now();
            assert!(now >= due);
            late.push(now - due);
        }
        late.sort();
        println!("late by {:?} (median)", late[25]);
    }

    #[tokio::test]
    async fn those_who_wait_for_other_moments_are_not_forgotten() {
        let (timer, now) = (Timer::default(), Instant::now());
        let wait = async |millis| {
            let due = now + Duration::from_millis(millis);
            timer.until(due).await;
            assert!(Instant::now() >= due);
        };
        let all = async { tokio::join!(wait(20), wait(5), wait(12), wait(1)) };
        tokio::time::timeout(Duration::from_secs(5), all)
            .await
            .unwrap();
    }

    /// The timer has fired, and no task has read that yet, when another task begins to wait.
    #[tokio::test]
    async fn who_begins_to_wait_does_not_put_off_others() {
        let (timer, start) = (Timer::default(), Instant::now());
        let first = async {
            timer.until(start + Duration::from_millis(2)).await;
            start.elapsed()
        };
        let second = async {
            std::thread::sleep(Duration::from_millis(20));
            timer.until(start + Duration::from_secs(3)).await;
        };
        let (waited, ()) = tokio::join!(first, second);
        assert!(waited < Duration::from_secs(1), "{waited:?}");
    }
}
