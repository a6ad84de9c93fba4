//! A room with members and no sockets: what micro-benches and the count of allocations look at. It is
//! no part of what the node offers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hubbub_broker::{Head, Page};
use hubbub_protocol::{ConnectionId, Envelope, Epoch, Frame, MessageId, Position, RoomId};

use crate::Limits;
use crate::outbox::{Line, Outbox, OutboxBudget};
use crate::room::Room;
use crate::room::log::LogBudget;
use crate::room::repair_buffer::Mark;

/// A socket that takes everything and counts the frames.
#[derive(Debug, Default)]
struct Wide(AtomicUsize);

impl Line for Wide {
    fn send(&self, frames: &mut VecDeque<Frame>) -> bool {
        self.0
            .fetch_add(frames.drain(..).count(), Ordering::Relaxed);
        false
    }
}

/// A room whose members all sleep.
#[derive(Debug)]
pub struct Trial {
    room: Arc<Room>,
    outboxes: Vec<Arc<Outbox>>,
    wide: Arc<Wide>,
    epoch: Epoch,
    /// The newest event's.
    offset: u64,
    frame: Frame,
}

impl Trial {
    /// A room with so many members, at offset 0.
    #[must_use]
    pub fn new(members: usize) -> Self {
        let limits = Limits::default();
        let budget = Arc::new(OutboxBudget::new(&limits));
        let id = RoomId::new("trial").expect("a valid id");
        let room = Arc::new(Room::new(id, &LogBudget::default(), &Arc::default()));
        let mut trial = Self {
            room,
            outboxes: Vec::new(),
            wide: Arc::default(),
            epoch: Epoch::new("trial").expect("a valid epoch"),
            offset: 0,
            frame: Frame::from_text(format!(
                r#"{{"type":"message","body":"{}"}}"#,
                "x".repeat(300)
            )),
        };
        trial.open_gate(Vec::new(), trial.room.mark());
        let mut state = trial.room.state.lock();
        for _ in 0..members {
            let (outbox, connection) = (Outbox::new(&limits, &budget), ConnectionId::generate());
            let outbox = Arc::new(outbox);
            state.members.admit(&trial.room, &connection, &outbox);
            let joined = Frame::from_text("{}".to_owned());
            state.members.start(&trial.room, &connection, joined, 0, 0);
            outbox.fall_asleep(&(Arc::clone(&trial.wide) as Arc<dyn Line>));
            outbox.flush();
            trial.outboxes.push(outbox);
        }
        drop(state);
        trial
    }

    fn next(&mut self) -> Envelope {
        self.offset += 1;
        let position = Position {
            epoch: self.epoch.clone(),
            offset: self.offset,
        };
        Envelope {
            position,
            message: MessageId::generate(),
            previous: None,
            frame: self.frame.clone(),
        }
    }

    /// The next events, made beforehand so that only their way is measured.
    pub fn events(&mut self, count: usize) -> Vec<Envelope> {
        (0..count).map(|_| self.next()).collect()
    }

    /// From the broker to the members' sockets.
    pub fn deliver(&self, events: Vec<Envelope>) {
        self.room.take_live(events).1.flush();
    }

    /// Frames that have reached sockets so far.
    #[must_use]
    pub fn delivered(&self) -> usize {
        self.wide.0.load(Ordering::Relaxed)
    }

    /// Puts a reply into the first member's outbox and takes it out again.
    pub fn push_and_drain(&self) {
        if let Some(outbox) = self.outboxes.first() {
            outbox.push(self.frame.clone());
            outbox.fall_asleep(&(Arc::clone(&self.wide) as Arc<dyn Line>));
            outbox.flush();
        }
    }

    /// Lets live events wait, then merges them with a page that has half of them.
    pub fn merge(&self, events: Vec<Envelope>) {
        self.room.begin_repair();
        let read = events[..events.len() / 2].to_vec();
        // A read has all events that came before it: this read began before any came.
        let mark = self.room.mark();
        self.room.take_live(events).1.flush();
        self.open_gate(read, mark);
    }

    fn open_gate(&self, events: Vec<Envelope>, mark: Option<(Option<Position>, Mark)>) {
        let offset = events
            .last()
            .map_or(self.offset, |last| last.position.offset);
        let page = Page {
            head: Head {
                epoch: self.epoch.clone(),
                offset,
            },
            events,
            base: 0,
            archived: None,
            is_private: false,
        };
        if let Some((_, mark)) = mark {
            self.room.take_page(page, mark);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Allocations of one delivery, when everything is warm.
    fn allocations(members: usize) -> u64 {
        let mut trial = Trial::new(members);
        for _ in 0..8 {
            let events = trial.events(1);
            trial.deliver(events);
        }
        let (before, events) = (trial.delivered(), trial.events(1));
        let count = allocation_counter::measure(|| trial.deliver(events));
        assert_eq!(trial.delivered() - before, members, "all were delivered");
        count.count_total
    }

    #[test]
    fn a_delivery_allocates_nothing_for_its_members() {
        let few = allocations(10);
        assert_eq!(allocations(1_000), few);
        assert!(few <= 8, "{few} for the event itself");
    }

    #[test]
    fn what_waited_is_merged_and_delivered() {
        let mut trial = Trial::new(3);
        let before = trial.delivered();
        let events = trial.events(10);
        trial.merge(events);
        assert_eq!(trial.delivered() - before, 30);
    }
}
