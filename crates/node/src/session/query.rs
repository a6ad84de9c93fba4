//! Reads: `history`, `members` and `rooms`. Each is answered by a task of its own, so that a broker
//! that is slow to answer holds up nothing that was asked later.

use std::sync::Arc;

use hubbub_protocol::command::{HistorySpan, RequestId};
use hubbub_protocol::frame::ServerFrame;
use hubbub_protocol::{Frame, RoomId};

use super::{ReplyId, Session};
use crate::Identity;
use crate::error::CommandError;
use crate::history::HistoryPage;
use crate::node::Node;

/// The most rooms that one `rooms` reply lists.
const LISTED_ROOMS: usize = 1_000;

/// What is asked.
#[derive(Debug)]
pub(super) enum Query {
    /// A page of messages, newest last.
    History {
        room: RoomId,
        span: HistorySpan,
        limit: usize,
    },
    Members(RoomId),
    /// The rooms that this user may read, most recently active first.
    Rooms(Identity),
}

impl Session {
    /// Waits only while too many reads are being answered: until the client has taken their answers.
    pub(super) async fn ask(
        &mut self,
        id: Option<RequestId>,
        query: Query,
    ) -> Result<(), CommandError> {
        if let Query::History { room, .. } | Query::Members(room) = &query {
            self.may_read(room)?;
        }
        let permit = Arc::clone(&self.reads_in_flight).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let (node, outbox) = (Arc::clone(&self.node), Arc::clone(&self.outbox));
        self.node.spawn(async move {
            let found = {
                let _turn = node.reads.acquire().await;
                node.find(id.as_ref(), query).await
            };
            let answer = found.unwrap_or_else(|error| error.to_wire(id.as_ref()));
            if outbox.has_room().await {
                outbox.push(answer);
            }
            drop(permit);
        });
        Ok(())
    }
}

impl Node {
    async fn find(&self, id: ReplyId<'_>, query: Query) -> Result<Frame, CommandError> {
        match query {
            Query::History { room, span, limit } => {
                self.find_history(id, &room, span, limit).await
            }
            Query::Members(room) => self.find_members(id, &room).await,
            Query::Rooms(identity) => self.find_rooms(id, &identity).await,
        }
    }

    async fn find_history(
        &self,
        id: ReplyId<'_>,
        room: &RoomId,
        span: HistorySpan,
        limit: usize,
    ) -> Result<Frame, CommandError> {
        let HistoryPage { events, more } = self.history(room, span, limit).await?;
        let history = ServerFrame::History { id, room, more };
        Ok(Frame::encode_with_events(&history, &events))
    }

    async fn find_members(&self, id: ReplyId<'_>, room: &RoomId) -> Result<Frame, CommandError> {
        let limit = self.config.limits.presence_list;
        let presence = self.broker.presence(room, limit).await;
        let presence = presence.map_err(CommandError::of_read)?;
        let (count, members) = (presence.count, &presence.members[..]);
        Ok(Frame::encode(&ServerFrame::Members {
            id,
            room,
            count,
            members,
        }))
    }

    async fn find_rooms(
        &self,
        id: ReplyId<'_>,
        identity: &Identity,
    ) -> Result<Frame, CommandError> {
        let rooms = self.broker.rooms(LISTED_ROOMS).await;
        let mut rooms = rooms.map_err(CommandError::of_read)?;
        rooms.retain(|summary| identity.rights(&summary.room).read);
        Ok(Frame::encode(&ServerFrame::Rooms { id, rooms: &rooms }))
    }
}
