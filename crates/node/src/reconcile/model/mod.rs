//! A model of everything that may lose events of a room: a Redis that is restored, replaced,
//! emptied or put back, an older archive, nodes that die, clients that come back. The stream, the
//! scripts and the archive are modelled; the rule is the real one ([`judge()`]).
//!
//! The model checks that in every history: no place is acked twice; every event that a healthy
//! Redis has acked is in the stream or in the archive, unless Redis itself lost it later; the
//! archive never receives an event for a taken place; and a client that is told that it has
//! recovered has missed nothing.

mod comparison;
mod parties;
mod world;

use proptest::prelude::*;

use self::world::{NODES, World};

/// One step of a history.
#[derive(Debug, Clone, Copy)]
enum Happening {
    /// A node stores this many events and acks them.
    Send {
        node: usize,
        count: u64,
    },
    /// A node reads the room from its stream, as after a message or a reconnect.
    Follow {
        node: usize,
    },
    /// The last connection to the room on this node ends.
    Close {
        node: usize,
    },
    /// Every node is killed and started again.
    Restart,
    /// The archive's owner reads the stream.
    Read,
    /// It commits the events that it has read.
    Commit,
    /// Redis is copied. The copy stands for a lagging replica or a backup.
    Copy,
    /// Redis comes back with the copy, as another process.
    Restore,
    /// The copy and Redis change places and keep running: a failover, or the way back from one.
    Swap,
    /// Redis is emptied.
    Empty,
    /// The archive is copied, or replaced by its older copy.
    CopyArchive,
    RestoreArchive,
    /// The client leaves and keeps its position, or comes back.
    Leave,
    Return,
}

/// The rules in force. Each of them is needed.
#[derive(Debug, Clone, Copy)]
struct Rules {
    /// A room is compared before the first event is stored in a run.
    first_ack: bool,
    /// An older epoch is never followed.
    order: bool,
    /// A position carries the ID of its event.
    ids: bool,
}

const ALL: Rules = Rules {
    first_ack: true,
    order: true,
    ids: true,
};

fn play(happenings: &[Happening], rules: Rules) -> Vec<String> {
    let mut world = World::new(rules);
    for happening in happenings {
        world.happen(*happening);
    }
    world.end()
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    prop_oneof![
        8 => (0..NODES, 1_u64..4).prop_map(|(node, count)| Send { node, count }),
        5 => (0..NODES).prop_map(|node| Follow { node }),
        1 => (0..NODES).prop_map(|node| Close { node }),
        1 => Just(Restart),
        3 => Just(Read),
        3 => Just(Commit),
        2 => Just(Copy),
        1 => Just(Restore),
        1 => Just(Swap),
        1 => Just(Empty),
        1 => Just(CopyArchive),
        1 => Just(RestoreArchive),
        2 => Just(Leave),
        2 => Just(Return),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_acked_is_destroyed_and_nobody_is_deceived(
        happenings in prop::collection::vec(happening(), 1..60)
    ) {
        prop_assert_eq!(play(&happenings, ALL), Vec::<String>::new());
    }
}

/// All nodes die, Redis comes back with less than the archive has, and sends go on at once.
const K1: &[Happening] = &[
    Happening::Send { node: 0, count: 3 },
    Happening::Copy,
    Happening::Send { node: 0, count: 3 },
    Happening::Read,
    Happening::Commit,
    Happening::Restart,
    Happening::Restore,
    Happening::Send { node: 1, count: 9 },
];

/// The same backup is restored twice, and a failover goes back to the first server.
const K2: &[Happening] = &[
    Happening::Follow { node: 0 },
    Happening::Send { node: 0, count: 3 },
    Happening::Follow { node: 0 },
    Happening::Copy,
    Happening::Send { node: 0, count: 3 },
    Happening::Follow { node: 0 },
    Happening::Restore,
    Happening::Follow { node: 0 },
    Happening::Send { node: 0, count: 2 },
    Happening::Follow { node: 0 },
    Happening::Restore,
    Happening::Follow { node: 0 },
    Happening::Send { node: 0, count: 9 },
    Happening::Swap,
    Happening::Send { node: 0, count: 9 },
];

/// A stream reuses places that a client has seen, and only the client remembers them.
const K6: &[Happening] = &[
    Happening::Follow { node: 0 },
    Happening::Follow { node: 0 },
    Happening::Send { node: 1, count: 2 },
    Happening::Copy,
    Happening::Send { node: 1, count: 3 },
    Happening::Follow { node: 0 },
    Happening::Leave,
    Happening::Restart,
    Happening::Restore,
    Happening::Send { node: 1, count: 6 },
    Happening::Return,
];

#[test]
fn each_rule_is_needed() {
    let without =
        |rules| -> [bool; 3] { [K1, K2, K6].map(|history| !play(history, rules).is_empty()) };
    assert_eq!(without(ALL), [false; 3]);
    let [k1, _, _] = without(Rules {
        first_ack: false,
        ..ALL
    });
    let [_, k2, _] = without(Rules {
        order: false,
        ..ALL
    });
    let [_, _, k6] = without(Rules { ids: false, ..ALL });
    assert_eq!(
        [k1, k2, k6],
        [true; 3],
        "without each rule, the model finds its fault"
    );
}
