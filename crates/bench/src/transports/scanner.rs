//! Finds the messages that one listener has received, independent of its transport.

use hdrhistogram::Histogram;

use crate::clock;
use crate::message;
use crate::plan::Load;
use crate::tally::histogram;

/// The bytes before the number of a load message, on every transport.
const MARK: &[u8] = br#""body":{"n":"#;
/// The upper bound for the length of a mark and its number.
const TAIL: usize = 64;

/// Finds the messages of a load in a byte stream that comes in parts of any size.
#[derive(Debug)]
pub(super) struct MessageScanner {
    load: Load,
    /// Bytes already searched that may be the beginning of an incomplete mark.
    tail: Vec<u8>,
    next: u64,
    pub(super) counts: TransportCounts,
}

/// Counts of one listener, or of all listeners of a transport.
#[derive(Debug)]
pub(super) struct TransportCounts {
    pub(super) deliveries: u64,
    pub(super) missed: u64,
    /// Bytes of the connections, both ways, since the load began.
    pub(super) bytes: u64,
    pub(super) requests: u64,
    /// Microseconds from when a message was due.
    pub(super) latency: Histogram<u64>,
}

impl Default for TransportCounts {
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

impl TransportCounts {
    pub(super) fn add(&mut self, other: &Self) {
        self.deliveries += other.deliveries;
        self.missed += other.missed;
        self.bytes += other.bytes;
        self.requests += other.requests;
        self.latency
            .add(&other.latency)
            .expect("all histograms have the same bounds");
    }
}

impl MessageScanner {
    pub(super) fn new(load: Load) -> Self {
        Self {
            load,
            tail: Vec::new(),
            next: load.base,
            counts: TransportCounts::default(),
        }
    }

    /// Searches the bytes that have come.
    pub(super) fn scan(&mut self, bytes: &[u8]) {
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

    /// Counts a message. Numbers come in order: a skipped number is missed, an earlier one is not
    /// counted again.
    fn count(&mut self, number: u64, now: u64) {
        if number < self.next || number >= self.load.end() {
            return;
        }
        self.counts.missed += number - self.next;
        self.next = number + 1;
        self.counts.deliveries += 1;
        let latency = now.saturating_sub(self.load.due(number)) / 1000;
        self.counts.latency.saturating_record(latency);
    }

    pub(super) fn is_complete(&self) -> bool {
        self.next == self.load.end()
    }

    /// Ends the count. Messages that did not come are missed.
    pub(super) fn finish(mut self) -> TransportCounts {
        self.counts.missed += self.load.end() - self.next;
        self.counts
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
            let mut scanner = MessageScanner::new(load);
            text.chunks(size).for_each(|part| scanner.scan(part));
            let counts = scanner.finish();
            assert_eq!(
                (counts.deliveries, counts.missed),
                (2, 2),
                "parts of {size}"
            );
        }
    }
}
