//! On a node where many quiet rooms together send a lot, what comes within some milliseconds goes to
//! the broker at the same moment: it, and each node that hears of it, wakes up once for several.
//!
//! That is worth a wait only if others come meanwhile. Who sends one by one, each after the answer to
//! the one before, would wait for nobody: so what came of the waits is counted too, and as long as
//! it is little nobody waits.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::LONGEST;
use super::frequency::Frequency;
use super::timer::Timer;
use crate::lock::lock;

/// Sends that are waited for, the first among them.
const WANTED: f32 = 4.0;
/// Sends that there must be in the longest wait, on average, besides the first.
const LEAST: f32 = 1.0;
/// Sends that a wait must have brought together, on average, to be worth it.
const WORTH: f32 = 1.5;
/// How much the last wait counts for in that average.
const WEIGHT: f32 = 1.0 / 16.0;
/// After waits that were not worth it, before the next.
const PAUSE: Duration = Duration::from_secs(1);
/// Sends count for about so long.
const MEMORY: Duration = Duration::from_millis(200);

/// What the quiet rooms of one node have to publish together.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    pace: Mutex<Pace>,
    timer: Timer,
}

#[derive(Debug, Default)]
struct Pace {
    sends: Frequency,
    /// When what waits now goes out, or what waited last did.
    due: Option<Instant>,
    /// Sends since that wait began.
    gathered: u16,
    /// What waits bring together, on average.
    average: f32,
    /// Not worth it before.
    pause: Option<Instant>,
}

impl Gathering {
    /// Waits until the others are there too, if any are to be expected. Cancel safe.
    pub(crate) async fn wait(&self) {
        let due = lock(&self.pace).due(Instant::now());
        if let Some(due) = due {
            self.timer.until(due).await;
        }
    }

    /// Counts sends that are published now, having waited or not.
    pub(crate) fn count(&self, sends: usize) {
        lock(&self.pace).count(sends, Instant::now());
    }
}

impl Pace {
    fn due(&mut self, now: Instant) -> Option<Instant> {
        if let Some(due) = self.due {
            if due > now {
                return Some(due);
            }
            self.due = None;
            self.judge(now);
        }
        let rate = self.sends.at(MEMORY, now);
        let is_quiet = rate * LONGEST.as_secs_f32() < LEAST;
        if is_quiet || self.pause.is_some_and(|pause| now < pause) {
            return None;
        }
        if self.average < WORTH {
            // Never tried, or not for some time: the benefit of the doubt.
            self.average = 1.0 + LEAST;
        }
        self.gathered = 0;
        let wait = LONGEST.min(Duration::from_secs_f32(WANTED / rate));
        self.due = Some(now + wait);
        self.due
    }

    /// A wait is over: was it worth it?
    fn judge(&mut self, now: Instant) {
        self.average += (f32::from(self.gathered) - self.average) * WEIGHT;
        if self.average < WORTH {
            self.pause = Some(now + PAUSE);
        }
    }

    fn count(&mut self, sends: usize, now: Instant) {
        self.sends.count(sends, MEMORY, now);
        let sends = u16::try_from(sends).unwrap_or(u16::MAX);
        self.gathered = self.gathered.saturating_add(sends);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends for so long, at the same distance from each other, of which each is published when its
    /// wait is over. Returns how many there were, how many waited and how often something was published.
    fn play(pace: &mut Pace, start: Instant, every: Duration, whole: Duration) -> [usize; 3] {
        let (mut sends, mut waited, mut publishes) = (0, 0, 0);
        let mut waiting: Option<(Instant, usize)> = None;
        let mut now = start;
        while now < start + whole {
            if let Some((due, number)) = waiting.take_if(|(due, _)| *due <= now) {
                pace.count(number, due);
                publishes += 1;
            }
            sends += 1;
            match pace.due(now) {
                Some(due) => {
                    assert!(due > now && due <= now + LONGEST);
                    waited += 1;
                    waiting.get_or_insert((due, 0)).1 += 1;
                }
                None => {
                    pace.count(1, now);
                    publishes += 1;
                }
            }
            now += every;
        }
        [sends, waited, publishes]
    }

    #[test]
    fn on_a_node_with_little_to_do_nothing_waits() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let [_, waited, _] = play(&mut pace, now, Duration::from_millis(6), PAUSE);
        assert_eq!(waited, 0);
    }

    #[test]
    fn what_comes_within_some_milliseconds_goes_out_together() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let [sends, _, publishes] = play(&mut pace, now, Duration::from_millis(1), 10 * PAUSE);
        let together = sends as f32 / publishes as f32;
        assert!((WANTED..WANTED + 1.5).contains(&together), "{together}");
    }

    #[test]
    fn the_more_there_is_the_shorter_is_the_wait() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let every = Duration::from_micros(100);
        play(&mut pace, now, every, PAUSE);
        let next = now + PAUSE + LONGEST;
        let due = pace.due(next).expect("busy");
        assert!(due <= next + every * 6, "{:?}", due - next);
    }

    #[test]
    fn silence_ends_it() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        play(&mut pace, now, Duration::from_millis(1), PAUSE);
        assert!(pace.due(now + PAUSE + LONGEST).is_some());
        assert_eq!(pace.due(now + 3 * PAUSE), None);
    }

    /// Its sends come the quicker the less they wait, so there seem to be many to wait for.
    #[test]
    fn who_waits_for_each_answer_is_hardly_held_up() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let (mut now, mut sends) = (start, 0);
        while now < start + 10 * PAUSE {
            now = pace.due(now).unwrap_or(now);
            pace.count(1, now);
            now += Duration::from_millis(1);
            sends += 1;
        }
        assert!(sends > 9_000, "{sends} of 10,000");
    }
}
