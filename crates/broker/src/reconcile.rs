//! Reconciliation of a room's stream: the state that a node reads before it relies on the stream, and
//! the decision that it makes.
//!
//! Redis may come back with less than it had, or with what it had long ago. So a stream is compared
//! with what nodes and the archive have seen before the first event is stored in it after such a
//! change. The comparison is the node's (`hubbub_node`); the broker says where the stream stands
//! ([`StreamState`]) and carries the decision out in one step ([`Reconciliation`]).

use std::sync::Arc;

use hubbub_protocol::{Epoch, MessageId, Position};

use crate::Head;

/// Names the time in which the broker keeps what it is given without a break. Another one begins when
/// Redis is restarted, replaced, emptied or put back, as far as nodes notice it.
pub type Run = Arc<str>;

/// A run's place in the order of runs, which is that of epochs; 0: it has none.
#[must_use]
pub fn run_order(run: &Run) -> u64 {
    let epoch = run.split_once('.').map(|(_, epoch)| Epoch::new(epoch));
    match epoch {
        Some(Ok(epoch)) => epoch.number(),
        Some(Err(_)) | None => 0,
    }
}

/// Where a room's stream stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamState {
    /// Its epoch, and the newest event's offset.
    pub head: Head,
    /// The offset above which the epoch began.
    pub base: u64,
    /// The last event that the stream holds; `None`: it holds none.
    pub last: Option<Place>,
    /// Up to here the archive has the room, as far as the broker was told.
    pub archived: Option<u64>,
    /// Only members may be in the room.
    pub is_private: bool,
    /// The offset of the newest event when the room was reconciled in this run; `None`: it was not.
    pub reconciled: Option<u64>,
    /// Events that earlier epochs are known to have lost, newest first.
    pub lost: Vec<Lost>,
}

/// A place in a room, and the event there where it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where.
    pub position: Position,
    /// Which event.
    pub message: Option<MessageId>,
}

/// Events that Redis no longer had when an epoch ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The epoch in which they were numbered.
    pub epoch: Epoch,
    /// The first offset that is lost.
    pub first: u64,
    /// The last offset that is lost.
    pub last: u64,
}

impl Lost {
    /// How many events are lost.
    #[must_use]
    pub fn count(&self) -> u64 {
        (self.last + 1).saturating_sub(self.first)
    }
}

/// A node's decision about a room's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciliation {
    /// The run in which the node looked.
    pub run: Run,
    /// The epoch that it found; `None`: the room had none.
    pub found: Option<Epoch>,
    /// The room counts as reconciled in this run from now on.
    pub is_final: bool,
    /// Only members may be in the room; `false` changes nothing.
    pub is_private: bool,
    /// The outcome for the stream.
    pub outcome: Outcome,
}

/// The outcome of a reconciliation for a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is reliable as it is, once its end is known.
    Keep {
        /// The stream ends above what is noted of it: the note is brought up to it.
        mend_top: bool,
    },
    /// A new epoch begins.
    Begin(NewEpoch),
}

/// How an epoch begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEpoch {
    /// The highest offset that anybody knows: the new epoch begins above it.
    pub above: u64,
    /// The number of the newest epoch that anybody knows.
    pub floor: u64,
    /// The first offset of the events that move into the new epoch, since their places belong to
    /// others. What stands before stays in the stream, in its own epoch.
    pub carry_from: Option<u64>,
    /// The events that are lost.
    pub lost: Option<Lost>,
    /// The epoch that goes on instead, as the embedded broker has committed all of it.
    pub resume: Option<Epoch>,
}

impl NewEpoch {
    /// The first epoch of a room in which nothing has happened.
    #[must_use]
    pub fn first() -> Self {
        Self {
            above: 0,
            floor: 0,
            carry_from: None,
            lost: None,
            resume: None,
        }
    }
}
