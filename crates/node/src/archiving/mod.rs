//! Bringing events into the archive: in a cluster from the rooms' streams, behind the chat; embedded
//! before anybody gets them.

mod blocked;
mod journal;
mod progress;
mod queue;

pub use self::journal::keep_journal;
