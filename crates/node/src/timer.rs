//! Waits of a few milliseconds to within a fraction of one. The runtime's own timers round up to
//! whole milliseconds, twice, which is half of such a wait.

use std::io;
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use self::linux::Kernel as Clock;
#[cfg(not(target_os = "linux"))]
use self::other::Runtime as Clock;

/// Where several wait at once they should wait for the same moment: whoever asks last sets the
/// clock, and the others look again when it goes off.
#[derive(Debug, Default)]
pub(crate) struct Timer(std::sync::OnceLock<Option<Clock>>);

impl Timer {
    /// Waits until then. Cancel safe.
    pub(crate) async fn until(&self, due: Instant) {
        let clock = self.0.get_or_init(|| {
            Clock::new()
                .inspect_err(|error| tracing::warn!(%error, "no precise timer: waits are longer"))
                .ok()
        });
        while let Some(wait) = remaining(due) {
            let rung = match clock {
                Some(clock) => clock.ring_after(wait).await,
                None => Err(io::ErrorKind::Unsupported.into()),
            };
            if rung.is_err() {
                tokio::time::sleep_until(due.into()).await;
            }
        }
    }
}

fn remaining(due: Instant) -> Option<Duration> {
    due.checked_duration_since(Instant::now())
        .filter(|wait| !wait.is_zero())
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::time::Duration;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::net::unix::pipe::Receiver;

    /// A timer of the kernel's, which is read from like a pipe.
    #[derive(Debug)]
    pub(super) struct Kernel(Receiver);

    impl Kernel {
        pub(super) fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            Receiver::from_owned_fd_unchecked(timer).map(Self)
        }

        /// Sets it, and waits until it goes off, set by whomever.
        pub(super) async fn ring_after(&self, wait: Duration) -> io::Result<()> {
            let nothing = Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            let once = Itimerspec {
                it_interval: nothing,
                it_value: Timespec::try_from(wait).unwrap_or(nothing),
            };
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
            self.0.readable().await?;
            // Until there is nothing, so that the next wait does not find what is over. Whoever else
            // waited may have read it first.
            loop {
                match self.0.try_read(&mut [0_u8; 8]) {
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use std::io;
    use std::time::Duration;

    /// The runtime's timers.
    #[derive(Debug)]
    pub(super) struct Runtime;

    impl Runtime {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self)
        }

        pub(super) async fn ring_after(&self, wait: Duration) -> io::Result<()> {
            tokio::time::sleep(wait).await;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
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
}
