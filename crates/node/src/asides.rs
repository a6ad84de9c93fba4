//! What somebody without a connection tells the others of a room in passing: how far they have read,
//! and that they type. What connections tell is in `session/read.rs` and `session/typing.rs`.

use hubbub_protocol::frame::ServerFrame;
use hubbub_protocol::{ConnectionId, Frame, RoomId};

use crate::Identity;
use crate::error::CommandError;
use crate::node::Node;

impl Node {
    /// The user has read the room up to `offset`. Marks only go forward.
    ///
    /// # Errors
    /// [`CommandError::Forbidden`], or what the broker cannot do now.
    pub async fn mark_read(
        &self,
        identity: &Identity,
        room: &RoomId,
        offset: u64,
    ) -> Result<(), CommandError> {
        self.may_read(identity, room).await?;
        let summaries = self.broker.summaries(vec![room.clone()]).await;
        let summaries = summaries.map_err(CommandError::of_read)?;
        let head = summaries.first().map_or(0, |summary| summary.offset);
        let (user, offset) = (&identity.user, offset.min(head));
        if offset > 0 {
            self.note_read(&user.id, room, offset, false);
            self.remark(room, &ServerFrame::Read { room, user, offset })
                .await;
        }
        Ok(())
    }

    /// The user types, or has stopped to.
    ///
    /// # Errors
    /// [`CommandError::Forbidden`], [`CommandError::Muted`], or what the archive cannot do now.
    pub async fn mark_typing(
        &self,
        identity: &Identity,
        room: &RoomId,
        on: bool,
    ) -> Result<(), CommandError> {
        if !self.rights(identity, room).await?.write {
            return Err(CommandError::Forbidden);
        }
        let user = &identity.user;
        self.check_mute(&user.id, room)?;
        self.remark(room, &ServerFrame::Typing { room, user, on })
            .await;
        Ok(())
    }

    /// Best effort: nobody learns that it was missed.
    async fn remark(&self, room: &RoomId, frame: &ServerFrame<'_>) {
        let (nobody, frame) = (ConnectionId::generate(), Frame::encode(frame));
        if let Err(error) = self.broker.signal(room, &nobody, &frame).await {
            tracing::debug!(%room, %error, "a signal is not passed on");
        }
    }
}
