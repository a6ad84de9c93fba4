//! A model of failover: a primary with a lagging replica, a node that sometimes misses live events,
//! and a member that trusts what it was given. In every history, the member's events since its last
//! `reset` are the stream's own.

use std::sync::Arc;

use hubbub_broker::{Head, Page};
use hubbub_protocol::{ConnectionId, Envelope, Epoch, Frame, MessageId, Position, RoomId};
use proptest::prelude::*;

use super::log::LogBudget;
use super::{PageOutcome, Room};
use crate::Limits;
use crate::outbox::{Outbox, OutboxBudget};

/// More reads than the repair of the longest history needs, at four events each.
const ROUNDS: usize = 200;

/// One step of a history.
#[derive(Debug, Clone)]
enum Happening {
    /// The primary stores this many events. The node receives them live, or misses them.
    Publish { count: u64, is_heard: bool },
    /// The replica is promoted. It lacks this many of the newest events.
    Failover { lost: u64 },
    /// The node reads the stream, as after a reconnect.
    Repair,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (1_u64..6, any::<bool>())
            .prop_map(|(count, is_heard)| Happening::Publish { count, is_heard }),
        1 => (0_u64..8).prop_map(|lost| Happening::Failover { lost }),
        2 => Just(Happening::Repair),
    ]
}

/// The room's stream in Redis.
struct Stream {
    epoch: u32,
    top: u64,
    /// Includes the events of older epochs.
    events: Vec<Envelope>,
    /// The offset above which the epoch began.
    base: u64,
    published: u64,
    /// Whether events carry their IDs. Without them, only offsets can be compared.
    has_ids: bool,
}

fn epoch(number: u32) -> Epoch {
    Epoch::new(&format!("{number:09}-aaaa")).unwrap()
}

impl Stream {
    fn publish(&mut self) -> Envelope {
        self.top += 1;
        self.published += 1;
        let id = if self.has_ids {
            format!("m{}", self.published)
        } else {
            "any".to_owned()
        };
        let event = Envelope {
            position: Position {
                epoch: epoch(self.epoch),
                offset: self.top,
            },
            message: MessageId::new(&id).unwrap(),
            previous: self
                .events
                .last()
                .filter(|last| self.has_ids && last.position.offset > self.base)
                .map(|last| last.message.clone()),
            frame: Frame::from_json(format!("{{\"number\":{}}}", self.published).into()).unwrap(),
        };
        self.events.push(event.clone());
        event
    }

    /// Loses the newest events of its epoch, at most all of them.
    fn lose(&mut self, lost: u64) {
        let lost = lost.min(self.top - self.base);
        self.top -= lost;
        let kept = self.events.len() - usize::try_from(lost).unwrap();
        self.events.truncate(kept);
    }

    /// Does the same as `reconcile.lua` when it begins an epoch.
    fn begin_again(&mut self, seen: u64) {
        self.epoch += 1;
        self.top = self.top.max(seen);
        self.base = self.top;
    }

    fn page_after(&self, offset: u64) -> Page {
        let events = self
            .events
            .iter()
            .filter(|event| event.position.offset > offset);
        Page {
            head: Head {
                epoch: epoch(self.epoch),
                offset: self.top,
            },
            events: events
                .take(4)
                .cloned()
                .map(|event| Envelope {
                    previous: None,
                    ..event
                })
                .collect(),
            base: self.base,
            archived: None,
            is_private: false,
        }
    }
}

/// A node with one member.
struct Follower {
    room: Arc<Room>,
    outbox: Arc<Outbox>,
    /// The events that the member was given since its last reset.
    given: Vec<String>,
}

impl Follower {
    fn new(stream: &Stream) -> Self {
        let limits = Limits::default();
        let budget = Arc::new(OutboxBudget::new(&limits));
        let follower = Self {
            room: Arc::new(Room::new(
                RoomId::new("model").unwrap(),
                &LogBudget::default(),
                &Arc::default(),
            )),
            outbox: Arc::new(Outbox::new(&limits, &budget)),
            given: Vec::new(),
        };
        let (_, mark) = follower.room.mark().unwrap();
        follower.room.take_page(stream.page_after(0), mark);
        let connection = ConnectionId::generate();
        let joined = Frame::from_json("{}".into()).unwrap();
        let mut state = follower.room.state.lock();
        let members = &mut state.members;
        members.admit(&follower.room, &connection, &follower.outbox);
        members.start(&follower.room, &connection, joined, 0, 0);
        drop(state);
        follower.outbox.take_texts();
        follower
    }

    /// Receives an event live. An event that does not follow waits in the repair buffer for the next repair.
    fn hear(&mut self, event: Envelope) {
        self.room.take_live(vec![event]).1.flush();
        self.read();
    }

    /// Does the same as [`crate::node::Node::catch_up`].
    fn repair(&mut self, stream: &mut Stream) {
        self.room.begin_repair();
        for _ in 0..ROUNDS {
            let Some((known, mark)) = self.room.mark() else {
                return self.read();
            };
            let known = known.expect("the room is open");
            let mut page = stream.page_after(known.offset.saturating_sub(1));
            if page.head.epoch != known.epoch {
                page = stream.page_after(page.base);
            }
            if self.room.take_page(page, mark) == PageOutcome::Fork {
                let places = self.room.places().into_iter();
                let newest = places.map(|place| place.position.offset).max();
                stream.begin_again(newest.expect("the room is open"));
            }
        }
        panic!("the repair does not end");
    }

    fn read(&mut self) {
        for text in self.outbox.take_texts() {
            if text.contains("reset") {
                self.given.clear();
            } else {
                self.given.push(text);
            }
        }
    }
}

/// Plays a history and repairs at its end. Returns whether the member's events are the stream's
/// own.
fn is_true(happenings: &[Happening], has_ids: bool) -> bool {
    let mut stream = Stream {
        epoch: 0,
        top: 0,
        base: 0,
        events: Vec::new(),
        published: 0,
        has_ids,
    };
    let mut follower = Follower::new(&stream);
    for happening in happenings {
        match happening {
            Happening::Publish { count, is_heard } => {
                for _ in 0..*count {
                    let event = stream.publish();
                    if *is_heard {
                        follower.hear(event);
                    }
                }
            }
            Happening::Failover { lost } => stream.lose(*lost),
            Happening::Repair => follower.repair(&mut stream),
        }
    }
    follower.repair(&mut stream);
    let texts = |event: &Envelope| event.frame.as_str().to_owned();
    let stored: Vec<_> = stream.events.iter().map(texts).collect();
    stored.ends_with(&follower.given) && follower.room.head() == stream.top
}

proptest! {
    #[test]
    fn a_member_is_never_left_with_what_the_stream_lost(
        happenings in prop::collection::vec(happening(), 1..40)
    ) {
        prop_assert!(is_true(&happenings, true));
    }
}

/// The trap: events up to 5 are acked, a replica with 3 is promoted, and stores up to 6 before the
/// node reads again.
#[test]
fn without_the_id_the_model_finds_the_trap() {
    use Happening::{Failover, Publish, Repair};
    let trap = [
        Publish {
            count: 5,
            is_heard: true,
        },
        Failover { lost: 2 },
        Publish {
            count: 3,
            is_heard: false,
        },
        Repair,
    ];
    assert!(is_true(&trap, true));
    assert!(!is_true(&trap, false));
}
