//! Bringing events into the archive: in a cluster from the rooms' streams, behind the chat; embedded
//! before anybody hears of them.

mod blocked;
mod journal;
mod progress;
mod queue;

pub use self::journal::keep_journal;
