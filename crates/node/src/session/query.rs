//! Reads: `history`, `members` and `rooms`.

use hubbub_protocol::Frame;
use hubbub_protocol::RoomId;
use hubbub_protocol::frame::ServerFrame;

use super::{ReplyId, Session};
use crate::error::CommandError;

/// The most rooms that one `rooms` reply lists.
const LISTED_ROOMS: usize = 1_000;

impl Session {
    /// A page of the stream, newest last.
    pub(super) async fn history(
        &mut self,
        id: ReplyId<'_>,
        room: &RoomId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<(), CommandError> {
        self.may_read(room)?;
        let limit = limit.clamp(1, self.node.config.limits.resume_page);
        let events = self.node.broker.history(room, before, limit + 1).await;
        let events = events.map_err(CommandError::of_read)?;
        let more = events.len() > limit;
        let page = &events[events.len().saturating_sub(limit)..];
        let history = ServerFrame::History { id, room, more };
        self.outbox.push(Frame::encode_with_events(&history, page));
        Ok(())
    }

    pub(super) async fn members(
        &mut self,
        id: ReplyId<'_>,
        room: &RoomId,
    ) -> Result<(), CommandError> {
        self.may_read(room)?;
        let limit = self.node.config.limits.presence_list;
        let presence = self.node.broker.presence(room, limit).await;
        let presence = presence.map_err(CommandError::of_read)?;
        let (count, members) = (presence.count, &presence.members[..]);
        self.reply(&ServerFrame::Members {
            id,
            room,
            count,
            members,
        });
        Ok(())
    }

    /// The rooms that this user may read, most recently active first.
    pub(super) async fn list_rooms(&mut self, id: ReplyId<'_>) -> Result<(), CommandError> {
        let rooms = self.node.broker.rooms(LISTED_ROOMS).await;
        let mut rooms = rooms.map_err(CommandError::of_read)?;
        rooms.retain(|summary| self.identity.rights(&summary.room).read);
        self.reply(&ServerFrame::Rooms { id, rooms: &rooms });
        Ok(())
    }
}
