//! Publishes of many quiet rooms on one node, gathered for some milliseconds. They go to the broker
//! at the same moment, so the broker, and each receiving node, wakes up once for several.
//!
//! A wait is worth it only if other sends come meanwhile. A client that sends one message after the
//! answer to the one before would wait for nothing. So the sends that come during waits are counted
//! too, and while they are few, no send waits.

use std::time::{Duration, Instant};

use super::LONGEST;
use super::frequency::Frequency;
use super::timer::Timer;
use parking_lot::Mutex;

/// Sends to wait for, including the first.
const WANTED: f32 = 4.0;
/// Sends that the longest wait must be expected to bring, on average, besides the first.
const LEAST: f32 = 1.0;
/// Sends that a wait must have gathered, on average, to be worth it.
const WORTH: f32 = 1.5;
/// The weight of the last wait in that average.
const WEIGHT: f32 = 1.0 / 16.0;
/// The pause after waits that were not worth it.
const PAUSE: Duration = Duration::from_secs(1);
/// About how long a send counts in the rate.
const MEMORY: Duration = Duration::from_millis(200);

/// Gathers the publishes of a node's quiet rooms.
#[derive(Debug, Default)]
pub(crate) struct NodeBatching {
    pace: Mutex<Pace>,
    timer: Timer,
}

#[derive(Debug, Default)]
struct Pace {
    sends: Frequency,
    /// When the present wait ends, or the last one ended.
    due: Option<Instant>,
    /// Sends since that wait began.
    gathered: u16,
    /// How many sends a wait gathers, on average.
    average: f32,
    /// No send waits until then, because the waits were not worth it.
    pause: Option<Instant>,
}

impl NodeBatching {
    /// Waits for the other sends, if any are to be expected. Cancel safe.
    pub(crate) async fn wait(&self) {
        let due = self.pace.lock().due(Instant::now());
        if let Some(due) = due {
            self.timer.until(due).await;
        }
    }

    /// Counts sends that are published now, whether they waited or not.
    pub(crate) fn count(&self, sends: usize) {
        self.pace.lock().count(sends, Instant::now());
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
            // Waits were not tried yet, or not for some time: assume that they are worth it.
            self.average = 1.0 + LEAST;
        }
        self.gathered = 0;
        let wait = LONGEST.min(Duration::from_secs_f32(WANTED / rate));
        self.due = Some(now + wait);
        self.due
    }

    /// Updates the average after a wait, and pauses if waits are not worth it.
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

    /// Sends for so long, at even intervals. Each send is published when its wait is over. Returns
    /// the numbers of sends, of sends that waited, and of publishes.
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

    /// The less its sends wait, the quicker they come, so it looks as if there were many to wait
    /// for.
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
