//! What one member has heard: order, duplicates, latency.

use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::time::Instant;

/// When message `n` was to be sent: latency counts from here, so that a sender that was held up
/// does not hide it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    pub(crate) start: Instant,
    pub(crate) rate: u32,
}

impl Schedule {
    pub(crate) fn at(&self, number: u64) -> Instant {
        let nanos = u128::from(number) * 1_000_000_000 / u128::from(self.rate.max(1));
        self.start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// Counts of one member, or the sum over many.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) deliveries: u64,
    pub(crate) duplicates: u64,
    /// Deliveries whose offset is not the one after the one before.
    pub(crate) disordered: u64,
    /// Microseconds from the scheduled send to the delivery.
    pub(crate) latency: Histogram<u64>,
    last: u64,
}

/// Above a minute a latency is counted as a minute.
const LONGEST: u64 = 60_000_000;

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            deliveries: 0,
            duplicates: 0,
            disordered: 0,
            latency: Histogram::new_with_max(LONGEST, 2).expect("the bounds are good"),
            last: 0,
        }
    }

    /// Counts a frame; any that is no message is passed over.
    pub(crate) fn hear(&mut self, frame: &str, schedule: &Schedule, now: Instant) {
        let Some((number, offset)) = read(frame) else {
            return;
        };
        if self.last != 0 && offset <= self.last {
            self.duplicates += 1;
            return;
        }
        if self.last != 0 && offset != self.last + 1 {
            self.disordered += 1;
        }
        self.last = offset;
        self.deliveries += 1;
        let latency = now.saturating_duration_since(schedule.at(number));
        let micros = u64::try_from(latency.as_micros()).unwrap_or(LONGEST);
        self.latency.saturating_record(micros);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.deliveries += other.deliveries;
        self.duplicates += other.duplicates;
        self.disordered += other.disordered;
        self.latency
            .add(&other.latency)
            .expect("all have the same bounds");
    }
}

/// A body of `length` bytes that carries its number.
pub(crate) fn body(number: u64, length: usize) -> String {
    let bare = format!(r#"{{"n":{number},"p":""}}"#);
    let padding = "x".repeat(length.saturating_sub(bare.len()));
    format!(r#"{{"n":{number},"p":"{padding}"}}"#)
}

/// Number and offset of a message of ours, without parsing all of it.
fn read(frame: &str) -> Option<(u64, u64)> {
    if !frame.starts_with(r#"{"type":"message""#) {
        return None;
    }
    let (_, number) = frame.split_once(r#""body":{"n":"#)?;
    let (_, offset) = frame.rsplit_once(r#""offset":"#)?;
    Some((leading_number(number)?, leading_number(offset)?))
}

fn leading_number(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(number: u64, offset: u64) -> String {
        let body = body(number, 64);
        format!(
            r#"{{"type":"message","room":"r","message":"M","from":{{"id":"a","name":"A"}},"body":{body},"ts":1,"epoch":"e","offset":{offset}}}"#
        )
    }

    #[test]
    fn a_body_has_its_length_and_number() {
        for number in [0, 7, 123_456] {
            assert_eq!(body(number, 128).len(), 128);
            assert_eq!(read(&frame(number, 42)), Some((number, 42)));
        }
        assert_eq!(read(r#"{"type":"presence","room":"r","count":1}"#), None);
    }

    #[test]
    fn duplicates_and_holes_are_counted() {
        let now = Instant::now();
        let schedule = Schedule {
            start: now,
            rate: 1000,
        };
        let mut tally = Tally::new();
        for (number, offset) in [(0, 5), (1, 6), (1, 6), (3, 8), (2, 7), (4, 9)] {
            tally.hear(
                &frame(number, offset),
                &schedule,
                now + Duration::from_millis(10),
            );
        }
        assert_eq!(
            (tally.deliveries, tally.duplicates, tally.disordered),
            (4, 2, 1)
        );
        let longest = tally.latency.max();
        assert!((10_000..10_200).contains(&longest), "{longest}");
    }

    #[test]
    fn the_sum_keeps_everything() {
        let now = Instant::now();
        let schedule = Schedule {
            start: now,
            rate: 50,
        };
        let (mut a, mut b) = (Tally::new(), Tally::new());
        a.hear(&frame(0, 1), &schedule, now);
        b.hear(&frame(0, 1), &schedule, now);
        a.add(&b);
        assert_eq!((a.deliveries, a.latency.len()), (2, 2));
    }
}
