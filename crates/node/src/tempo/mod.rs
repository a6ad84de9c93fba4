//! When sends wait some milliseconds for each other, so that one call, one packet and one write carry
//! several: those of one busy room ([`room`]), and those of many quiet ones on a node ([`gathering`]).
//! On a node with little to do none ever waits.

mod frequency;
mod gathering;
mod room;
mod timer;

use std::time::Duration;

pub(crate) use self::gathering::Gathering;
pub(crate) use self::room::{Beats, Tempo};

/// The longest that a send waits for others: with what Redis and the sockets take, hardly any of a
/// busy room is later than 6 ms.
const LONGEST: Duration = Duration::from_micros(4_800);
