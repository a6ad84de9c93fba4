//! `join` and `leave`.

use std::sync::Arc;
use std::time::Duration;

use hubbub_broker::Presence;
use hubbub_protocol::command::JoinFrom;
use hubbub_protocol::frame::ServerFrame;
use hubbub_protocol::{Frame, RoomId};

use tokio::time::timeout;

use super::{Membership, ReplyId, Session};
use crate::access::Known;
use crate::error::CommandError;
use crate::presence::Departure;
use crate::recovery::Start;
use crate::room::RoomState;

/// The time for a join while the broker is away.
const PATIENCE_IN_TROUBLE: Duration = Duration::from_millis(300);
/// How often a room may start over while somebody joins it, before the join is given up.
const ATTEMPTS: usize = 3;

impl Session {
    /// A second join of the same room is a resync: it starts anew from what it asks for.
    pub(super) async fn join(
        &mut self,
        id: ReplyId<'_>,
        room: &RoomId,
        from: &JoinFrom,
    ) -> Result<(), CommandError> {
        let rights = timeout(self.patience(), self.node.rights(&self.identity, room));
        let rights = rights.await.unwrap_or(Err(CommandError::Unavailable))?;
        if !rights.read {
            return Err(CommandError::Forbidden);
        }
        let limit = self.node.config.limits.rooms_per_connection;
        let is_in = self
            .rooms
            .iter()
            .any(|membership| membership.room.id == *room);
        if !is_in && limit > 0 && self.rooms.len() >= limit as usize {
            return Err(CommandError::TooManyRooms { limit });
        }
        let patience = self.patience();
        if !is_in && timeout(patience, self.node.is_new(room)).await == Ok(true) {
            let user = &self.identity.user.id;
            self.node.allow_new_room(user, self.address).await?;
        }
        let entered = self.node.enter(room, &self.connection, &self.outbox);
        let entered = match timeout(patience, entered).await {
            Ok(entered) => entered.map_err(CommandError::of_read)?,
            Err(_) => return Err(CommandError::Unavailable),
        };
        if !is_in {
            // Before anything is awaited: should the connection end meanwhile, it is given up.
            self.rooms.push(Membership {
                room: Arc::clone(&entered),
                rights,
                is_joined: false,
                is_present: false,
                typing: None,
                reading: None,
            });
        }
        // The first look may have been at an answer that was remembered from before a change of which only
        // subscribed nodes are told; from now on this node is one.
        let known = Known::Since(entered.hears_since());
        let look = self.node.rights_by(&self.identity, room, known);
        let again = timeout(patience, look).await;
        let joined = match again.unwrap_or(Err(CommandError::Unavailable)) {
            Ok(_) => timeout(patience, self.start(id, room, from))
                .await
                .unwrap_or(Err(CommandError::Unavailable)),
            Err(error) => Err(error),
        };
        if joined.is_err()
            && let Some(index) = self.rooms.iter().position(|m| m.room.id == *room)
        {
            let membership = self.rooms.swap_remove(index);
            // A user who was never told that the join succeeded was not there.
            let departure = if membership.is_joined {
                Departure::Cut
            } else {
                Departure::Said
            };
            self.give_up(membership, departure);
        }
        joined
    }

    /// How long the broker may take for each step of a join. While it is known to be away, that is
    /// short: what the client asks next waits behind it.
    fn patience(&self) -> Duration {
        if self.node.broker.is_up() {
            self.node.config.limits.send_timeout
        } else {
            PATIENCE_IN_TROUBLE
        }
    }

    async fn start(
        &mut self,
        id: ReplyId<'_>,
        room: &RoomId,
        from: &JoinFrom,
    ) -> Result<(), CommandError> {
        let (node, payer) = (self.node.clone(), self.payer());
        let membership = self.rooms.iter_mut().find(|m| m.room.id == *room);
        let membership = membership.ok_or(CommandError::Internal)?;
        let room = membership.room.clone();
        let mut arrival = Presence::default();
        if !membership.is_present {
            membership.is_present = true;
            arrival = node
                .arrive(&room, &self.identity.user)
                .await
                .map_err(CommandError::of_read)?;
        }
        let mut paid = match node.cost_of_start(&room, from) {
            Some(cost) => Some(node.reserve(&payer, cost).await?),
            None => None,
        };
        for _ in 0..ATTEMPTS {
            let start = node
                .start_of(&room, from)
                .await
                .map_err(CommandError::of_read)?;
            let mut state = room.state.lock();
            let RoomState {
                log: Some(log),
                members,
                presence,
                ..
            } = &mut *state
            else {
                break;
            };
            if start.epoch != *log.epoch() {
                continue;
            }
            let Start {
                recovered,
                events,
                epoch,
                given,
            } = start;
            let joined = ServerFrame::Joined {
                id,
                room: &room.id,
                epoch: &epoch,
                offset: log.head(),
                recovered,
                members: presence.count_with(&arrival),
                rights: membership.rights.as_str(),
            };
            let frame = Frame::encode_with_events(&joined, &events);
            if let Some(paid) = &mut paid {
                paid.settle(frame.len());
            }
            let given = given.unwrap_or(log.head());
            members.start(&room, &self.connection, frame, given, log.head());
            membership.is_joined = true;
            node.note_read(&self.identity.user.id, &room.id, log.head(), true);
            return Ok(());
        }
        Err(CommandError::Unavailable)
    }

    pub(super) fn leave(&mut self, id: ReplyId<'_>, room: &RoomId) -> Result<(), CommandError> {
        let index = self
            .rooms
            .iter()
            .position(|membership| membership.room.id == *room);
        let membership = self
            .rooms
            .swap_remove(index.ok_or(CommandError::NotJoined)?);
        self.give_up(membership, Departure::Said);
        self.reply(&ServerFrame::Left { id, room });
        Ok(())
    }

    /// Leaves a room, however far the join had come.
    pub(super) fn give_up(&self, membership: Membership, departure: Departure) {
        let Membership {
            room, is_present, ..
        } = membership;
        room.state.lock().members.remove(&room, &self.connection);
        let user = &self.identity.user;
        if let Some(typing) = self.node.signals.typing.known(&user.id, &room.id) {
            typing.leave(self.node.voice(&self.connection, user, &room.id));
        }
        if is_present {
            self.node.depart(&room, &self.identity.user.id, departure);
        } else {
            let node = self.node.clone();
            self.node
                .spawn(async move { node.close_if_idle(&room).await });
        }
    }
}
