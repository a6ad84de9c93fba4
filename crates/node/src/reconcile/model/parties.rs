//! The parties of the model, each with its memory of the room: stream, node, client.

use std::collections::BTreeSet;

use hubbub_broker::{Head, NewEpoch, Place, StreamState};
use hubbub_protocol::{Epoch, MessageId, Position};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) position: Position,
    pub(super) id: u64,
}

/// The room's stream in Redis.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    pub(super) epoch: Epoch,
    pub(super) base: u64,
    pub(super) top: u64,
    pub(super) events: Vec<Event>,
    /// The run in which it was reconciled, and its top at that time.
    pub(super) reconciled: Option<(u64, u64)>,
}

/// A server with its data. Runs are numbers; a later run has a higher one.
#[derive(Debug, Clone, Default)]
pub(super) struct Redis {
    pub(super) stream: Option<Stream>,
    pub(super) run: u64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    pub(super) seen: Option<Place>,
    /// `None`: the room is not open.
    pub(super) log: Option<Log>,
    /// The newest run that it knows.
    pub(super) newest_run: u64,
    /// Places that it remembers.
    pub(super) known: BTreeSet<(String, u64)>,
}

/// How far a node has followed the stream.
#[derive(Debug, Clone)]
pub(super) struct Log {
    pub(super) head: Position,
    pub(super) events: Vec<Event>,
}

impl Log {
    pub(super) fn place(&self) -> Place {
        let last = self.events.last().filter(|last| last.position == self.head);
        Place {
            position: self.head.clone(),
            message: last.map(|last| message(last.id)),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Client {
    /// The position from which its events count: its last reset.
    pub(super) since: Position,
    pub(super) given: Vec<Event>,
    pub(super) is_away: bool,
}

pub(super) fn message(id: u64) -> MessageId {
    MessageId::new(&format!("m{id}")).unwrap()
}

pub(super) fn key(position: &Position) -> (String, u64) {
    (position.epoch.to_string(), position.offset)
}

impl Stream {
    pub(super) fn state(&self, run: u64) -> StreamState {
        let reconciled = self.reconciled.filter(|(of_run, _)| *of_run == run);
        StreamState {
            head: Head {
                epoch: self.epoch.clone(),
                offset: self.top,
            },
            base: self.base,
            last: self.events.last().map(Event::place),
            archived: None,
            is_private: false,
            reconciled: reconciled.map(|(_, top)| top),
            lost: Vec::new(),
        }
    }

    pub(super) fn at(&self, position: &Position) -> Option<u64> {
        let event = self.events.iter().find(|event| event.position == *position);
        event.map(|event| event.id)
    }

    /// Does the same as `reconcile.lua`.
    pub(super) fn begin(before: Option<Self>, begin: &NewEpoch, clock: u64) -> Self {
        let mut events = before
            .as_ref()
            .map_or_else(Vec::new, |stream| stream.events.clone());
        let base = before.map_or(0, |stream| stream.top).max(begin.above);
        let epoch = Epoch::begin(clock, begin.floor);
        let first = begin.carry_from.unwrap_or(u64::MAX);
        let moving = events.partition_point(|event| event.position.offset < first);
        let moving = events.split_off(moving);
        let shift = moving
            .first()
            .map_or(0, |event| base + 1 - event.position.offset);
        events.extend(moving.into_iter().map(|event| Event {
            position: Position {
                epoch: epoch.clone(),
                offset: event.position.offset + shift,
            },
            ..event
        }));
        let top = events
            .last()
            .map_or(base, |last| last.position.offset.max(base));
        Self {
            epoch,
            base,
            top,
            events,
            reconciled: None,
        }
    }
}

impl Event {
    pub(super) fn place(&self) -> Place {
        Place {
            position: self.position.clone(),
            message: Some(message(self.id)),
        }
    }
}
