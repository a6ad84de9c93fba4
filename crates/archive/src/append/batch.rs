//! [`RoomBatch`]: the events of one room that are appended together.

use hubbub_protocol::{Envelope, Epoch, RoomId};

/// The events that are appended to one room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomBatch {
    /// The room.
    pub room: RoomId,
    /// The offset above which the life of the last of `events` began to number, where that is known.
    pub base: Option<u64>,
    /// In the order of their offsets; of several lives where one has ended.
    pub events: Vec<Envelope>,
    /// Events that are known to be lost.
    pub holes: Vec<Hole>,
    /// The run in which the events were read from the room's stream; `None`: they come from no
    /// stream that can be another one.
    pub run: Option<String>,
}

/// Events that were lost on their way to the archive, and are known to be lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hole {
    /// The life they were numbered in.
    pub epoch: Epoch,
    /// The first offset that is lost.
    pub first: u64,
    /// The last offset that is lost.
    pub last: u64,
    /// The reason, for an operator.
    pub reason: String,
}
