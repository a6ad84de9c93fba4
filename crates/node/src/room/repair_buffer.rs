//! Live events that wait while a room is read from its stream.
//!
//! The buffer is bounded. When it is full, the oldest events are dropped, and the hole that they
//! leave makes the reader read once more.

use std::collections::VecDeque;

use hubbub_protocol::{Envelope, Epoch};

use super::log::{RoomLog, Step};

const BUFFER_EVENTS: usize = 1_000;
const BUFFER_BYTES: usize = 256 * 1024;

/// The live events that have come since the repair began.
#[derive(Debug, Default)]
pub(crate) struct RepairBuffer {
    waiting: VecDeque<Envelope>,
    bytes: usize,
    /// How many events have ever arrived, so that a reader knows which arrived before its read.
    arrived: u64,
    /// How often events may have been missed.
    maybe_missed: u64,
}

/// The result of merging.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merged {
    /// Nothing is left, so the repair is over.
    All,
    /// Something is left, or events may have been missed, so the stream has to be read once more.
    Part,
    /// An event that arrived before the read is above the end of the read stream: the stream fell
    /// back.
    Fork,
}

/// The buffer's state when a read of the stream began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    arrived: u64,
    maybe_missed: u64,
}

impl RepairBuffer {
    pub(crate) fn push(&mut self, event: Envelope) {
        self.bytes += event.frame.len();
        self.waiting.push_back(event);
        self.arrived += 1;
        while self.waiting.len() > BUFFER_EVENTS || self.bytes > BUFFER_BYTES {
            let Some(oldest) = self.waiting.pop_front() else {
                return;
            };
            self.bytes -= oldest.frame.len();
        }
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark {
            arrived: self.arrived,
            maybe_missed: self.maybe_missed,
        }
    }

    /// Notes that events may have been missed just now: a read that has already begun cannot show
    /// them.
    pub(crate) fn note_maybe_missed(&mut self) {
        self.maybe_missed += 1;
    }

    /// The highest waiting offset of this epoch. 0: none waits.
    pub(crate) fn highest(&self, epoch: &Epoch) -> u64 {
        let of_life = self.waiting.iter().map(|event| &event.position);
        of_life
            .filter(|position| position.epoch == *epoch)
            .map(|position| position.offset)
            .max()
            .unwrap_or(0)
    }

    /// Moves the events that follow `log` without a hole into `ready`, in order. `log` is where the
    /// read at `mark` has left it.
    ///
    /// Events of another epoch that arrived before the read are dropped, because the read would
    /// have shown that epoch. Events that arrived later may be newer than the read, so they stay.
    /// The same applies to events of a fork.
    pub(crate) fn merge(
        &mut self,
        log: &mut RoomLog,
        mark: Mark,
        ready: &mut Vec<Envelope>,
    ) -> Merged {
        let read_head = log.head();
        let mut number = self.arrived - self.waiting.len() as u64;
        while let Some(event) = self.waiting.pop_front() {
            let is_foreign = event.position.epoch != *log.epoch();
            let is_older = number < mark.arrived;
            let step = log.step(&event);
            if is_older && !is_foreign && step != Step::Fork && event.position.offset > read_head {
                self.waiting.push_front(event);
                return Merged::Fork;
            }
            match step {
                Step::Old => {}
                Step::Gap if is_foreign && is_older => {}
                Step::Fork if is_older => {}
                Step::Next => {
                    log.append(event.clone());
                    ready.push(event.clone());
                }
                Step::Gap | Step::Fork => {
                    self.waiting.push_front(event);
                    return Merged::Part;
                }
            }
            self.bytes -= event.frame.len();
            number += 1;
        }
        if self.maybe_missed == mark.maybe_missed {
            Merged::All
        } else {
            Merged::Part
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::log::LogBudget;
    use super::super::log::tests::{empty_log, event, page};
    use super::*;

    #[test]
    fn foreign_events_wait_only_if_they_may_be_newer_than_the_read() {
        let room = hubbub_protocol::RoomId::new("r").unwrap();
        let mut log = RoomLog::new(room, page("new", 5, 5..=5), LogBudget::default());
        let mut buffer = RepairBuffer::default();
        buffer.push(event("old", 9));
        let mark = buffer.mark();
        buffer.push(event("newer", 6));
        let mut ready = Vec::new();
        assert_eq!(buffer.merge(&mut log, mark, &mut ready), Merged::Part);
        assert!(ready.is_empty());
        let mark = buffer.mark();
        assert_eq!(buffer.merge(&mut log, mark, &mut ready), Merged::All);
    }

    #[test]
    fn a_possible_miss_during_a_read_asks_for_another() {
        let mut log = empty_log(5);
        let mut buffer = RepairBuffer::default();
        let mark = buffer.mark();
        buffer.note_maybe_missed();
        let ready = &mut Vec::new();
        assert_eq!(buffer.merge(&mut log, mark, ready), Merged::Part);
        let mark = buffer.mark();
        assert_eq!(buffer.merge(&mut log, mark, ready), Merged::All);
    }

    /// A replica that was behind was promoted, and the node had already received the events that it
    /// lacks.
    #[test]
    fn what_came_before_the_read_and_is_beyond_it_is_a_fork() {
        for ahead in [6, 7] {
            let mut log = empty_log(5);
            let mut buffer = RepairBuffer::default();
            buffer.push(event("e", ahead));
            let mark = buffer.mark();
            let mut ready = Vec::new();
            assert_eq!(buffer.merge(&mut log, mark, &mut ready), Merged::Fork);
            assert_eq!(buffer.highest(log.epoch()), ahead);
            assert!(ready.is_empty());
        }
    }

    #[test]
    fn a_full_gate_forgets_the_oldest() {
        let mut log = empty_log(0);
        let mut buffer = RepairBuffer::default();
        for offset in 1..=BUFFER_EVENTS as u64 + 1 {
            buffer.push(event("e", offset));
        }
        let mut ready = Vec::new();
        let mark = RepairBuffer::default().mark();
        assert_eq!(buffer.merge(&mut log, mark, &mut ready), Merged::Part);
        assert!(ready.is_empty());
    }

    proptest! {
        /// In every order of pages and live events, members get each event once and in order.
        /// The live side may repeat events, miss any of them, and start anywhere.
        #[test]
        fn merging_is_dense(
            head in 0_u64..50,
            total in 50_u64..120,
            kept in prop::collection::vec(any::<bool>(), 120),
            page_size in 1_u64..40,
            arrivals in 0_u64..40,
        ) {
            let mut log = empty_log(head);
            let mut buffer = RepairBuffer::default();
            let mut given = Vec::new();
            let mut published = head;
            loop {
                // Some more events are published. The live side brings some of them, each of these
                // twice.
                let until = (published + arrivals).min(total);
                for offset in published + 1..=until {
                    if kept[usize::try_from(offset).unwrap() % kept.len()] {
                        buffer.push(event("e", offset));
                        buffer.push(event("e", offset));
                    }
                }
                published = until.max(published);
                let mark = buffer.mark();
                let from = log.head() + 1;
                for offset in from..=(from + page_size - 1).min(published) {
                    let next = event("e", offset);
                    prop_assert_eq!(log.step(&next), Step::Next);
                    log.append(next.clone());
                    given.push(next);
                }
                let opened = log.head() >= published
                    && buffer.merge(&mut log, mark, &mut given) == Merged::All;
                if opened && (published == total || arrivals == 0) {
                    break;
                }
            }
            let offsets: Vec<_> = given.iter().map(|event| event.position.offset).collect();
            let expected: Vec<_> = (head + 1..=published).collect();
            prop_assert_eq!(offsets, expected);
        }
    }
}
