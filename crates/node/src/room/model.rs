//! A model of failover: a primary whose replica lags, a node that misses live events now and
//! then, and a member that believes what it was given. Whatever happens, the member's events
//! since its last `reset` are the stream's own.

use hubbub_broker::{Head, Page};
use hubbub_protocol::{Envelope, Epoch, Frame, MessageId, Position};
use proptest::prelude::*;

use super::log::{LogBudget, RoomLog, Step};
use super::{Taken, follow};

/// One thing that happens.
#[derive(Debug, Clone)]
enum Happening {
    /// The primary stores so many events; the node hears of them live, or not.
    Publish { count: u64, is_heard: bool },
    /// The replica is promoted: it lacks the newest so many events.
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

/// What Redis holds.
struct Stream {
    epoch: u32,
    top: u64,
    events: Vec<Envelope>,
    published: u64,
}

fn epoch(number: u32) -> Epoch {
    Epoch::new(&format!("e{number}")).unwrap()
}

impl Stream {
    fn publish(&mut self) -> Envelope {
        self.top += 1;
        self.published += 1;
        let event = Envelope {
            position: Position {
                epoch: epoch(self.epoch),
                offset: self.top,
            },
            message: MessageId::new(&format!("m{}", self.published)).unwrap(),
            previous: self.events.last().map(|last| last.message.clone()),
            frame: Frame::from_json("{}".into()).unwrap(),
        };
        self.events.push(event.clone());
        event
    }

    fn lose(&mut self, lost: u64) {
        let kept = self
            .events
            .len()
            .saturating_sub(usize::try_from(lost).unwrap());
        self.top -= (self.events.len() - kept) as u64;
        self.events.truncate(kept);
    }

    /// As the fork script does.
    fn begin_again(&mut self, seen: u64) {
        self.epoch += 1;
        self.top = self.top.max(seen);
        self.events.clear();
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
        }
    }
}

/// A node with one member.
struct Follower {
    log: RoomLog,
    /// What the member was given since its last reset.
    given: Vec<Envelope>,
    /// Looks at the chain of ids, and reads one event back as proof that the stream is the same.
    checks_ids: bool,
}

impl Follower {
    /// A gap, or an event that we know as another one, is repaired at once.
    fn hear(&mut self, event: Envelope, stream: &mut Stream) {
        let previous = event.previous.clone().filter(|_| self.checks_ids);
        let event = Envelope { previous, ..event };
        match self.log.step(&event) {
            Step::Next => {
                self.log.append(event.clone());
                self.given.push(event);
            }
            Step::Old => {}
            Step::Fork if !self.checks_ids => {}
            Step::Gap | Step::Fork => self.repair(stream),
        }
    }

    fn repair(&mut self, stream: &mut Stream) {
        loop {
            let head = self.log.head();
            let after = if self.checks_ids {
                head.saturating_sub(1)
            } else {
                head
            };
            let mut page = stream.page_after(after);
            if page.head.epoch != *self.log.epoch() {
                page = stream.page_after(0);
            }
            match follow(&mut self.log, page, &mut self.given) {
                Taken::Live => return,
                Taken::More => {}
                Taken::Reset => self.given.clear(),
                Taken::Fork => stream.begin_again(head),
            }
        }
    }
}

/// Plays a history, repairs at its end, and says whether the member was told the truth.
fn is_true(happenings: &[Happening], checks_ids: bool) -> bool {
    let mut stream = Stream {
        epoch: 0,
        top: 0,
        events: Vec::new(),
        published: 0,
    };
    let log = RoomLog::new(stream.page_after(0), LogBudget::default());
    let mut follower = Follower {
        log,
        given: Vec::new(),
        checks_ids,
    };
    for happening in happenings {
        match happening {
            Happening::Publish { count, is_heard } => {
                for _ in 0..*count {
                    let event = stream.publish();
                    if *is_heard {
                        follower.hear(event, &mut stream);
                    }
                }
            }
            Happening::Failover { lost } => stream.lose(*lost),
            Happening::Repair => follower.repair(&mut stream),
        }
    }
    follower.repair(&mut stream);
    let ids = |events: &[Envelope]| -> Vec<MessageId> {
        events.iter().map(|event| event.message.clone()).collect()
    };
    ids(&stream.events).ends_with(&ids(&follower.given)) && follower.log.head() == stream.top
}

proptest! {
    #[test]
    fn a_member_is_never_left_with_what_the_stream_lost(
        happenings in prop::collection::vec(happening(), 1..40)
    ) {
        prop_assert!(is_true(&happenings, true));
    }
}

/// The trap: acked up to 5, a replica with 3 is promoted and goes on to 6 before anyone looks.
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
