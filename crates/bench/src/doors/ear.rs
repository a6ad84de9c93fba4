//! What one listener has heard, whatever its door wraps around it.

use hdrhistogram::Histogram;

use crate::clock;
use crate::message;
use crate::plan::Load;
use crate::tally::histogram;

/// What stands before the number of a message of ours, in every door.
const MARK: &[u8] = br#""body":{"n":"#;
/// A mark and a number are not longer.
const TAIL: usize = 64;

/// Finds the messages of a load in bytes as they come, in parts of any size.
#[derive(Debug)]
pub(super) struct Ear {
    load: Load,
    /// What was looked through but may belong to a mark that is not whole yet.
    tail: Vec<u8>,
    next: u64,
    pub(super) heard: Heard,
}

/// Counts of one listener, or of all of a door.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) deliveries: u64,
    pub(super) missed: u64,
    /// Bytes of its connections, both ways, from the load's beginning on.
    pub(super) bytes: u64,
    pub(super) requests: u64,
    /// Microseconds from when it was due.
    pub(super) latency: Histogram<u64>,
}

impl Default for Heard {
    fn default() -> Self {
        Self {
            deliveries: 0,
            missed: 0,
            bytes: 0,
            requests: 0,
            latency: histogram(),
        }
    }
}

impl Heard {
    pub(super) fn add(&mut self, other: &Self) {
        self.deliveries += other.deliveries;
        self.missed += other.missed;
        self.bytes += other.bytes;
        self.requests += other.requests;
        self.latency
            .add(&other.latency)
            .expect("all have the same bounds");
    }
}

impl Ear {
    pub(super) fn new(load: Load) -> Self {
        Self {
            load,
            tail: Vec::new(),
            next: load.base,
            heard: Heard::default(),
        }
    }

    /// Looks through what has come.
    pub(super) fn hear(&mut self, bytes: &[u8]) {
        let now = clock::now();
        self.tail.extend_from_slice(bytes);
        let mut seen = 0;
        while let Some(at) = memchr::memmem::find(&self.tail[seen..], MARK) {
            let begin = seen + at + MARK.len();
            let digits = self.tail[begin..]
                .iter()
                .take_while(|byte| byte.is_ascii_digit());
            let end = begin + digits.count();
            if end == self.tail.len() {
                break;
            }
            let number = message::leading_number(&self.tail[begin..end]);
            seen = end;
            if let Some(number) = number {
                self.count(number, now);
            }
        }
        let keep = self.tail.len().saturating_sub(TAIL).max(seen);
        self.tail.drain(..keep);
    }

    /// Numbers come in order; what was passed over is missed, what came before is not counted again.
    fn count(&mut self, number: u64, now: u64) {
        if number < self.next || number >= self.load.end() {
            return;
        }
        self.heard.missed += number - self.next;
        self.next = number + 1;
        self.heard.deliveries += 1;
        let latency = now.saturating_sub(self.load.due(number)) / 1000;
        self.heard.latency.saturating_record(latency);
    }

    pub(super) fn is_complete(&self) -> bool {
        self.next == self.load.end()
    }

    /// The load is over: what did not come is missed.
    pub(super) fn finish(mut self) -> Heard {
        self.heard.missed += self.load.end() - self.next;
        self.heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_in_parts_of_any_size() {
        let load = Load {
            start: 0,
            rate: 1.0,
            base: 3,
            count: 4,
            payload: 0,
            senders: 1,
        };
        let text = br#"data: {"body":{"n":2,"p":""}} {"body":{"n":3,"p":""}} {"body":{"n":3}} {"body":{"n":5,"p":""}}"#;
        for size in [1, 7, 1000] {
            let mut ear = Ear::new(load);
            text.chunks(size).for_each(|part| ear.hear(part));
            let heard = ear.finish();
            assert_eq!((heard.deliveries, heard.missed), (2, 2), "parts of {size}");
        }
    }
}
