//! Waits of some milliseconds that gather sends, so that one call, one packet and one write carry
//! several: the sends of one busy room ([`room`]), and those of many quiet rooms on a node
//! ([`node`]). On a node with little to do no send waits.

mod frequency;
mod node;
mod room;
mod timer;

use std::time::Duration;

pub(crate) use self::node::NodeBatching;
pub(crate) use self::room::{BatchTick, RoomBatching};

/// The longest that a send waits for others. With the time of Redis and the sockets, hardly any
/// send of a busy room takes more than 6 ms.
const LONGEST: Duration = Duration::from_micros(4_800);
