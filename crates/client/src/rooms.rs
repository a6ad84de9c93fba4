//! The rooms that the application wants. The client joins them on every connection and resumes each
//! from its cursor.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hubbub_protocol::{Epoch, RoomId};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::client_event::ClientEvent;
use crate::config::Start;
use crate::cursor::{Cursor, Verdict};
use crate::error::{Refusal, RequestError};
use crate::event::Event;
use crate::frame::Answer;
use crate::outgoing::Outgoing;
use crate::reply::Joined;
use crate::requests::ReplySender;
use crate::seen::Seen;

const RETRY_BASE: Duration = Duration::from_millis(200);
const RETRY_CAP: Duration = Duration::from_secs(5);

/// A caller that waits for a join.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) deadline: Instant,
    pub(crate) reply: ReplySender,
    /// The permit is released with the reply, which bounds the waiters.
    pub(crate) permit: OwnedSemaphorePermit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Membership {
    /// The room is joined at this time at the earliest.
    Out(Option<Instant>),
    /// The join with this ID is written.
    Joining(u64),
    /// The room is joined on this connection.
    In,
}

#[derive(Debug)]
struct Room {
    start: Start,
    /// `None` until the first join has succeeded.
    cursor: Option<Cursor>,
    /// Recognises events that the server has numbered again.
    seen: Seen,
    state: Membership,
    backoff: Backoff,
    waiters: Vec<Waiter>,
}

/// The events to hand out.
pub(crate) type Ready = VecDeque<ClientEvent>;

/// All rooms that the application wants.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    rooms: BTreeMap<RoomId, Room>,
}

impl Rooms {
    /// Adds `room`. A room that is there already is resynced from its cursor.
    pub(crate) fn join(&mut self, id: RoomId, start: Start, waiter: Waiter) {
        let room = self.rooms.entry(id).or_insert_with(|| Room::new(start));
        room.waiters.push(waiter);
        if room.state == Membership::In {
            room.state = Membership::Out(None);
        }
    }

    /// Removes `room`. Returns whether the server must be told.
    pub(crate) fn leave(&mut self, id: &RoomId) -> bool {
        let Some(mut room) = self.rooms.remove(id) else {
            return true;
        };
        room.answer(&Err(RequestError::Refused(Refusal {
            code: "not_joined".to_owned(),
            message: "left before it was joined".to_owned(),
            retry_after: None,
        })));
        // On the server's side, a room that waits for a resync is still joined.
        room.state != Membership::Out(None) || room.cursor.is_some()
    }

    /// Whether sends to `room` may be written. They may if it is joined on this connection, or if the
    /// application never joined it, so that the server decides.
    pub(crate) fn may_send(&self, id: &RoomId) -> bool {
        self.rooms
            .get(id)
            .is_none_or(|room| room.state == Membership::In)
    }

    /// The joins to write now.
    pub(crate) fn take_due(&mut self, now: Instant, last_id: &mut u64) -> Vec<String> {
        let mut frames = Vec::new();
        for (name, room) in &mut self.rooms {
            let Membership::Out(until) = room.state else {
                continue;
            };
            if until.is_none_or(|until| until <= now) {
                *last_id += 1;
                room.state = Membership::Joining(*last_id);
                frames.push(room.join_frame(*last_id, name));
            }
        }
        frames
    }

    /// Handles the reply to a join. Returns the reply if no join has this ID.
    pub(crate) fn settle(
        &mut self,
        id: u64,
        answer: Answer,
        now: Instant,
        ready: &mut Ready,
    ) -> Option<Answer> {
        let mut rooms = self.rooms.iter_mut();
        let Some((name, room)) = rooms.find(|(_, room)| room.state == Membership::Joining(id))
        else {
            return Some(answer);
        };
        match answer {
            Answer::Joined(joined, events) => room.joined(joined, events, ready),
            Answer::Error(refusal) if refusal.is_passing() || refusal.retry_after.is_some() => {
                let delay = room.backoff.next_delay();
                let delay = delay.max(refusal.retry_after.unwrap_or_default());
                room.state = Membership::Out(Some(now + delay));
            }
            Answer::Error(refusal) => {
                let (room, error) = (name.clone(), RequestError::Refused(refusal));
                self.lose(&room, error, ready);
            }
            answer => return Some(answer),
        }
        None
    }

    fn lose(&mut self, id: &RoomId, error: RequestError, ready: &mut Ready) {
        let Some(mut room) = self.rooms.remove(id) else {
            return;
        };
        room.answer(&Err(error.clone()));
        if room.cursor.is_some() {
            let room = id.clone();
            ready.push_back(ClientEvent::RoomLost { room, error });
        }
    }

    /// Handles a durable event, live or from a further page of a resume.
    pub(crate) fn event(&mut self, event: Event, now: Instant, ready: &mut Ready) {
        let Some(room) = self.rooms.get_mut(&event.room) else {
            return;
        };
        let (Membership::In, Some(cursor)) = (room.state, &mut room.cursor) else {
            return;
        };
        match cursor.judge(&event) {
            Verdict::Duplicate => {}
            Verdict::Next => {
                cursor.advance(&event);
                room.hand_on(event, ready);
            }
            Verdict::Gap { expected } => {
                ready.push_back(ClientEvent::Gap {
                    room: event.room,
                    expected,
                    got: event.offset,
                });
                room.state = Membership::Out(Some(now + room.backoff.next_delay()));
            }
        }
    }

    /// The room's stream has a new epoch.
    pub(crate) fn reset(&mut self, id: &RoomId, epoch: &Epoch, offset: u64) {
        if let Some(room) = self.rooms.get_mut(id)
            && room.state == Membership::In
        {
            room.cursor = Some(Cursor::at(epoch, offset));
            room.seen.reset();
        }
    }

    /// The server removed this user. The room is joined again, and the reply tells the reason.
    pub(crate) fn remove(&mut self, id: &RoomId) {
        if let Some(room) = self.rooms.get_mut(id)
            && room.state == Membership::In
        {
            room.state = Membership::Out(None);
        }
    }

    /// The connection is lost. Every room is joined again.
    pub(crate) fn disconnected(&mut self) {
        for room in self.rooms.values_mut() {
            room.state = Membership::Out(None);
        }
    }

    /// Ends the joins that have timed out. A room that was never joined is then given up.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.rooms.retain(|_, room| {
            for waiter in room.waiters.extract_if(.., |waiter| waiter.deadline <= now) {
                waiter.answer(Err(RequestError::TimedOut));
            }
            room.cursor.is_some() || !room.waiters.is_empty()
        });
    }

    /// Whether the reply to a join is awaited.
    pub(crate) fn is_open(&self) -> bool {
        let mut rooms = self.rooms.values();
        rooms.any(|room| matches!(room.state, Membership::Joining(_)))
    }

    /// The time at which `take_due` or `expire` must run.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        let retries = self.rooms.values().filter_map(|room| match room.state {
            Membership::Out(until) => until,
            Membership::Joining(_) | Membership::In => None,
        });
        let waiters = self.rooms.values().flat_map(|room| &room.waiters);
        retries.chain(waiters.map(|waiter| waiter.deadline)).min()
    }

    /// Ends all joins, because the client is closed.
    pub(crate) fn close(&mut self) {
        while let Some((_, mut room)) = self.rooms.pop_first() {
            room.answer(&Err(RequestError::Closed));
        }
    }
}

impl Room {
    fn new(start: Start) -> Self {
        let cursor = match &start {
            Start::Since(since) => Some(Cursor::from(since.clone())),
            Start::Now | Start::Recent(_) => None,
        };
        Self {
            start,
            cursor,
            seen: Seen::default(),
            state: Membership::Out(None),
            backoff: Backoff::new(RETRY_BASE, RETRY_CAP),
            waiters: Vec::new(),
        }
    }

    fn join_frame(&self, id: u64, room: &RoomId) -> String {
        let recent = match self.start {
            Start::Recent(count) if self.cursor.is_none() => Some(count),
            _ => None,
        };
        let since = self.cursor.as_ref().map(Cursor::since);
        Outgoing::Join {
            id,
            room,
            since,
            recent,
        }
        .encode()
    }

    fn joined(&mut self, joined: Joined, events: Vec<Event>, ready: &mut Ready) {
        if !joined.recovered {
            self.seen.reset();
        }
        let resumed = self.cursor.take().filter(|_| joined.recovered);
        let mut cursor = resumed.unwrap_or_else(|| match events.first() {
            Some(first) => Cursor::at(&joined.epoch, first.offset.saturating_sub(1)),
            None => Cursor::at(&joined.epoch, joined.offset),
        });
        ready.push_back(ClientEvent::Joined(joined.clone()));
        for event in events {
            match cursor.judge(&event) {
                Verdict::Duplicate => continue,
                Verdict::Next => {}
                // Another request would return the same page, so the gap is reported and passed.
                Verdict::Gap { expected } => ready.push_back(ClientEvent::Gap {
                    room: event.room.clone(),
                    expected,
                    got: event.offset,
                }),
            }
            cursor.advance(&event);
            self.hand_on(event, ready);
        }
        self.cursor = Some(cursor);
        self.state = Membership::In;
        self.backoff.reset();
        self.answer(&Ok(joined));
    }

    /// Hands out the next event, as new or as repeated.
    fn hand_on(&mut self, event: Event, ready: &mut Ready) {
        ready.push_back(match self.seen.see(&event) {
            None => ClientEvent::Event(event),
            Some(before) => ClientEvent::Repeated { event, before },
        });
    }

    fn answer(&mut self, result: &Result<Joined, RequestError>) {
        for waiter in self.waiters.drain(..) {
            let answer = result
                .clone()
                .map(|joined| Answer::Joined(joined, Vec::new()));
            waiter.answer(answer);
        }
    }
}

impl Waiter {
    fn answer(self, result: Result<Answer, RequestError>) {
        drop(self.permit);
        // A caller that no longer waits has dropped its receiver.
        let _ = self.reply.send(result);
    }
}

#[cfg(test)]
mod tests;
