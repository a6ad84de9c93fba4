//! Rooms come and go with their members: a room is open while it is subscribed to and followed.

use std::net::IpAddr;
use std::sync::Arc;

use hubbub_broker::{BrokerError, Span};
use hubbub_protocol::{ConnectionId, RoomId};
use tracing::debug;

use crate::Identity;
use crate::error::CommandError;
use crate::node::Node;
use crate::outbox::Outbox;
use crate::room::{Room, Stage};

/// A connection may end, or fail, while it opens a room: then somebody else has to close it.
struct CloseOnDrop<'a> {
    node: &'a Arc<Node>,
    room: &'a Arc<Room>,
}

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        let (node, room) = (Arc::clone(self.node), Arc::clone(self.room));
        self.node
            .spawn(async move { node.close_if_idle(&room).await });
    }
}

impl Node {
    /// The room, open, with the connection as a member that gets nothing yet.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        id: &RoomId,
        connection: &ConnectionId,
        outbox: &Arc<Outbox>,
    ) -> Result<Arc<Room>, BrokerError> {
        loop {
            let room = self.hub.room_or_new(id);
            let unless_cancelled = CloseOnDrop {
                node: self,
                room: &room,
            };
            let mut stage = room.stage.lock().await;
            match *stage {
                Stage::Closed => continue,
                Stage::Open => {}
                // Fails, or is cut short: whoever drops the guard closes the room.
                Stage::New => {
                    self.open(&room).await?;
                    *stage = Stage::Open;
                }
            }
            room.state.lock().members.admit(&room, connection, outbox);
            std::mem::forget(unless_cancelled);
            drop(stage);
            return Ok(room);
        }
    }

    /// Counts a room that the user begins; one that is known costs nothing.
    pub(crate) async fn may_begin(
        &self,
        identity: &Identity,
        address: Option<IpAddr>,
        id: &RoomId,
    ) -> Result<(), CommandError> {
        if self.is_new(id).await {
            self.allow_new_room(&identity.user.id, address).await
        } else {
            Ok(())
        }
    }

    /// Whether nobody has ever been in the room, as far as that is known. A room that is open here is
    /// not new; what cannot be asked now fails soon after.
    pub(crate) async fn is_new(&self, id: &RoomId) -> bool {
        if self.config.limits.user_new_rooms_per_minute == 0 || self.hub.room(id).is_some() {
            return false;
        }
        let page = self.broker.peek(id, Span::Newest, 0).await;
        if !matches!(page, Ok(None)) {
            return false;
        }
        match &self.archive {
            None => true,
            Some(archive) => matches!(archive.incarnation(id).await, Ok(None)),
        }
    }

    /// Subscribes first, so that nothing falls between the stream and the live events.
    async fn open(&self, room: &Arc<Room>) -> Result<(), BrokerError> {
        self.broker.subscribe(&room.id).await?;
        room.hear_from_now();
        // An earlier try that was cut short may have opened it, without a subscription since.
        room.begin_repair();
        self.catch_up(room).await?;
        self.prove(room).await?;
        self.open_presence(room).await?;
        self.count_rooms();
        debug!(room = %room.id, "room opened");
        Ok(())
    }

    /// Notes that the room's stream was reconciled already, for the time when the archive cannot tell.
    async fn prove(&self, room: &Arc<Room>) -> Result<(), BrokerError> {
        let number = self.broker.run_number();
        let is_asked = self.archive.is_some() && !self.broker.is_archived();
        if is_asked
            && let Some(state) = self.broker.state(&room.id).await?
            && state.reconciled.is_some()
        {
            room.prove_in(|| number);
        }
        Ok(())
    }

    /// Gives the room up if nobody needs it.
    pub(crate) async fn close_if_idle(&self, room: &Arc<Room>) {
        let mut stage = room.stage.lock().await;
        if *stage != Stage::Closed && room.is_idle() {
            // First of all: a room that takes its place subscribes after this.
            self.broker.unsubscribe(&room.id).await;
            *stage = Stage::Closed;
            self.hub.remove_room(room);
            self.count_rooms();
            debug!(room = %room.id, "room closed");
        }
    }

    fn count_rooms(&self) {
        self.metrics
            .rooms
            .set(i64::try_from(self.hub.room_count()).unwrap_or(i64::MAX));
    }
}
