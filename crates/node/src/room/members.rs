//! A room's members on this node, and how far each has been served.

use std::sync::Arc;
use std::time::Instant;

use hubbub_protocol::frame::ServerFrame;
use hubbub_protocol::{ConnectionId, Envelope, Frame};
use indexmap::IndexMap;

use super::Room;
use super::log::RoomLog;
use super::typists::{Typist, Typists};
use crate::outbox::{Due, Offered, Outbox};

/// A member's cursor in the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cursor {
    /// Its `joined` has not been sent yet, so it gets no events.
    Joining,
    /// It was given everything up to the log's head, and gets new events as they come.
    Live,
    /// It was given everything up to this offset. Its reader fetches the rest.
    Behind(u64),
}

/// How events arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Live,
    /// They were read from the stream.
    Repair,
}

/// One session in a room.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) cursor: Cursor,
}

/// A room's members on this node.
#[derive(Debug, Default)]
pub(crate) struct Members {
    /// In an order that is cheap to walk.
    by_connection: IndexMap<ConnectionId, Member>,
    /// The users of whom members were told that they type.
    pub(super) typists: Typists,
}

impl Members {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_connection.is_empty()
    }

    pub(crate) fn connections(&self) -> Vec<ConnectionId> {
        self.by_connection.keys().cloned().collect()
    }

    pub(crate) fn get(&self, connection: &ConnectionId) -> Option<&Member> {
        self.by_connection.get(connection)
    }

    /// Adds a member that gets no events yet. A present member is set back to this state.
    pub(crate) fn admit(
        &mut self,
        room: &Arc<Room>,
        connection: &ConnectionId,
        outbox: &Arc<Outbox>,
    ) {
        outbox.caught_up(room);
        let member = Member {
            outbox: Arc::clone(outbox),
            cursor: Cursor::Joining,
        };
        self.by_connection.insert(connection.clone(), member);
    }

    /// Sends a member its `joined`, which ends at `given`. From there on it gets events.
    pub(crate) fn start(
        &mut self,
        room: &Arc<Room>,
        connection: &ConnectionId,
        joined: Frame,
        given: u64,
        head: u64,
    ) {
        let Some(member) = self.by_connection.get_mut(connection) else {
            return;
        };
        member.outbox.push(joined);
        member.go_on(room, given, head);
    }

    pub(crate) fn remove(&mut self, room: &Arc<Room>, connection: &ConnectionId) {
        if let Some(member) = self.by_connection.swap_remove(connection) {
            member.outbox.caught_up(room);
        }
    }

    /// Delivers the next events to live members. A member without space for them falls behind. If
    /// they arrived live, the member reads too slowly, and is told so once; a repair may bring more
    /// at once than any outbox holds. `due` has to be flushed after the room's lock is released.
    pub(crate) fn deliver(
        &mut self,
        room: &Arc<Room>,
        events: &[Envelope],
        head: u64,
        source: Source,
        due: &mut Due,
    ) {
        if events.is_empty() {
            return;
        }
        let (mut delivered, most) = (0, self.by_connection.len());
        for member in self
            .by_connection
            .values_mut()
            .filter(|member| member.cursor == Cursor::Live)
        {
            let Offered {
                taken,
                is_full,
                is_due,
            } = member.outbox.offer(events.iter().map(|event| &event.frame));
            delivered += taken;
            if is_due {
                due.push(&member.outbox, most);
            }
            if let Some(first_missed) = events.get(taken) {
                let from = first_missed.position.offset;
                if source == Source::Live {
                    let lagged = ServerFrame::Lagged {
                        room: &room.id,
                        from,
                        to: head,
                    };
                    member.outbox.push(Frame::encode(&lagged));
                    if is_full {
                        member.outbox.strike(Instant::now());
                    }
                    room.metrics.lagged.inc();
                }
                member.go_on(room, from - 1, head);
            }
        }
        room.metrics.deliveries.inc_by(delivered as u64);
        let authors = self.typists.take_authors(events);
        self.tell_stopped(room, &authors);
    }

    /// Tells members that these users type no more.
    pub(super) fn tell_stopped(&self, room: &Room, typists: &[Typist]) {
        for Typist { user, origin, .. } in typists {
            let (room, on) = (&room.id, false);
            let frame = Frame::encode(&ServerFrame::Typing { room, user, on });
            self.push_to_all(&frame, Some(origin));
        }
    }

    /// Gives a member at `given` older events, as many as it accepts.
    pub(crate) fn fill(
        &mut self,
        room: &Arc<Room>,
        connection: &ConnectionId,
        given: u64,
        events: &[Envelope],
        head: u64,
    ) {
        let Some(member) = self.by_connection.get_mut(connection) else {
            return;
        };
        if member.cursor != Cursor::Behind(given) {
            return;
        }
        // The member's reader is running, and takes the due frames with the rest.
        let taken = member
            .outbox
            .offer(events.iter().map(|event| &event.frame))
            .taken;
        member.go_on(room, given + taken as u64, head);
        room.metrics.deliveries.inc_by(taken as u64);
    }

    /// Tells all members to start over at the log's head, and continues from there.
    pub(crate) fn reset(&mut self, room: &Arc<Room>, log: &RoomLog) {
        let frame = reset_frame(room, log);
        for member in self
            .by_connection
            .values_mut()
            .filter(|member| member.cursor != Cursor::Joining)
        {
            member.outbox.push(frame.clone());
            member.go_on(room, log.head(), log.head());
        }
    }

    /// Tells one member to start over, because its missed events are gone.
    pub(crate) fn reset_one(&mut self, room: &Arc<Room>, connection: &ConnectionId, log: &RoomLog) {
        let Some(member) = self.by_connection.get_mut(connection) else {
            return;
        };
        if matches!(member.cursor, Cursor::Behind(_)) {
            member.outbox.push(reset_frame(room, log));
            member.go_on(room, log.head(), log.head());
        }
    }

    pub(crate) fn push_to_all(&self, frame: &Frame, except: Option<&ConnectionId>) {
        for (connection, member) in &self.by_connection {
            if member.cursor != Cursor::Joining && Some(connection) != except {
                member.outbox.push(frame.clone());
            }
        }
    }
}

fn reset_frame(room: &Arc<Room>, log: &RoomLog) -> Frame {
    let (epoch, offset) = (log.epoch(), log.head());
    Frame::encode(&ServerFrame::Reset {
        room: &room.id,
        epoch,
        offset,
    })
}

impl Member {
    fn go_on(&mut self, room: &Arc<Room>, given: u64, head: u64) {
        if given >= head {
            self.cursor = Cursor::Live;
            self.outbox.caught_up(room);
        } else {
            self.cursor = Cursor::Behind(given);
            self.outbox.fall_behind(room);
        }
    }
}
