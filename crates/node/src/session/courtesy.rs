//! What a session tells the others of a room in passing, such as typing: not stored, and at most once
//! in [`INTERVAL`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use hubbub_protocol::frame::ServerFrame;
use hubbub_protocol::{ConnectionId, Frame, RoomId, User};

use super::Session;
use crate::node::Node;

/// Between two signals of a connection in a room.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// When something is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// At once.
    Tell,
    /// What is wanted then.
    Wait(Instant),
    /// Not at all, or by somebody who waits already.
    Nothing,
}

/// One session's voice in one room.
pub(super) struct Voice {
    node: Arc<Node>,
    connection: ConnectionId,
    pub(super) room: RoomId,
    pub(super) user: User,
}

impl Session {
    pub(super) fn voice(&self, room: &RoomId) -> Voice {
        Voice {
            node: Arc::clone(&self.node),
            connection: self.connection.clone(),
            room: room.clone(),
            user: self.identity.user.clone(),
        }
    }
}

impl Voice {
    /// Best effort: nobody learns that it was missed.
    pub(super) async fn tell(&self, frame: &ServerFrame<'_>) {
        let (room, frame) = (&self.room, Frame::encode(frame));
        let told = self
            .node
            .broker
            .signal(room, &self.connection, &frame)
            .await;
        if let Err(error) = told {
            tracing::debug!(%room, %error, "a signal is not passed on");
        }
    }
}
