//! The counts of the members of a process: order, duplicates, latency.

use hdrhistogram::Histogram;

use crate::plan::{Counts, Load, LoadCounts};

/// The longest latency that is recorded, one minute in microseconds.
const LONGEST: u64 = 60_000_000;

/// An empty histogram of microseconds, exact to two digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LONGEST, 2).expect("the bounds are valid")
}

/// The histogram's content, to be sent to another process.
pub(crate) fn counts(histogram: &Histogram<u64>) -> Counts {
    let recorded = histogram.iter_recorded();
    recorded
        .map(|step| (step.value_iterated_to(), step.count_at_value()))
        .collect()
}

/// Adds the counts of another process to `histogram`.
pub(crate) fn merge(histogram: &mut Histogram<u64>, counts: &Counts) {
    for (&value, &count) in counts {
        histogram.saturating_record_n(value, count);
    }
}

/// A member's node, and the last message it received.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    node: usize,
    pub(crate) offset: u64,
    /// The last number from each sender, plus one.
    by_sender: Vec<u64>,
}

impl Progress {
    pub(crate) fn new(node: usize) -> Self {
        Self {
            node,
            ..Self::default()
        }
    }
}

/// Counts over all members of a process, for one load.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) load: Load,
    pub(crate) rooms: usize,
    pub(crate) nodes: usize,
    pub(crate) seen: LoadCounts,
    same: Histogram<u64>,
    cross: Histogram<u64>,
    acks: Histogram<u64>,
}

impl Tally {
    pub(crate) fn new(load: Load, rooms: usize, nodes: usize) -> Self {
        Self {
            load,
            rooms,
            nodes,
            seen: LoadCounts::default(),
            same: histogram(),
            cross: histogram(),
            acks: histogram(),
        }
    }

    /// Counts a message received at `now`. Without an offset, a duplicate is counted as out of
    /// order.
    pub(crate) fn receive(
        &mut self,
        progress: &mut Progress,
        number: u64,
        offset: Option<u64>,
        now: u64,
    ) {
        let load = self.load;
        let offset = offset.unwrap_or(progress.offset + 1);
        if !(load.base..load.end()).contains(&number) {
            progress.offset = offset;
            return;
        }
        if progress.offset != 0 && offset <= progress.offset {
            self.seen.duplicates += 1;
            return;
        }
        let sender = load.sender(number, self.rooms);
        if progress.by_sender.len() <= sender {
            progress.by_sender.resize(sender + 1, 0);
        }
        let follows = progress.offset == 0 || offset == progress.offset + 1;
        if !follows || progress.by_sender[sender] > number {
            self.seen.disordered += 1;
        }
        progress.by_sender[sender] = number + 1;
        progress.offset = offset;
        self.seen.deliveries += 1;
        let is_same = load.senders == 0 || sender % self.nodes == progress.node;
        let latency = if is_same {
            &mut self.same
        } else {
            &mut self.cross
        };
        latency.saturating_record(now.saturating_sub(load.due(number)) / 1000);
    }

    /// Counts the answer to a send.
    pub(crate) fn ack(&mut self, number: u64, now: u64) {
        if (self.load.base..self.load.end()).contains(&number) {
            self.seen.acked += 1;
            let latency = now.saturating_sub(self.load.due(number)) / 1000;
            self.acks.saturating_record(latency);
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.seen.deliveries >= self.seen.expected
            && self.seen.acked + self.seen.refused >= self.seen.sent
    }

    pub(crate) fn finish(mut self) -> LoadCounts {
        self.seen.same = counts(&self.same);
        self.seen.cross = counts(&self.cross);
        self.seen.acks = counts(&self.acks);
        self.seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally() -> Tally {
        let load = Load {
            start: 0,
            rate: 1000.0,
            base: 10,
            count: 100,
            payload: 1,
            senders: 2,
        };
        Tally::new(load, 1, 2)
    }

    #[test]
    fn duplicates_and_holes_are_counted() {
        let (mut tally, mut progress) = (tally(), Progress::default());
        for (number, offset) in [(9, 4), (10, 5), (11, 6), (11, 6), (13, 8), (12, 7), (14, 9)] {
            tally.receive(&mut progress, number, Some(offset), 10_000_000);
        }
        let LoadCounts {
            deliveries,
            duplicates,
            disordered,
            ..
        } = tally.seen;
        assert_eq!((deliveries, duplicates, disordered), (4, 2, 1));
    }

    #[test]
    fn the_order_of_one_sender_is_checked_independently_of_offsets() {
        let (mut tally, mut progress) = (tally(), Progress::default());
        for (number, offset) in [(12, 1), (11, 2), (10, 3)] {
            tally.receive(&mut progress, number, Some(offset), 0);
        }
        assert_eq!((tally.seen.deliveries, tally.seen.disordered), (3, 1));
    }

    #[test]
    fn latencies_are_split_by_node_and_survive_the_pipe() {
        let (mut tally, mut progress) = (tally(), Progress::default());
        tally.receive(&mut progress, 10, Some(1), 5_000_000);
        tally.receive(&mut progress, 11, Some(2), 9_000_000);
        let seen = tally.finish();
        let mut merged = histogram();
        merge(&mut merged, &seen.same);
        assert!((5_000..5_100).contains(&merged.max()), "{}", merged.max());
        merge(&mut merged, &seen.cross);
        assert_eq!((merged.len(), seen.same.len()), (2, 1));
    }
}
