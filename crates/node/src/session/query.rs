//! Reads: `history`, `members` and `rooms`. Each is answered by a task of its own, so that a broker
//! that is slow to answer holds up nothing that was asked later.

use std::sync::Arc;

use hubbub_protocol::command::{HistorySpan, RequestId};
use hubbub_protocol::frame::ServerFrame;
use hubbub_protocol::{Frame, RoomId};

use super::{ReplyId, Session};
use crate::Identity;
use crate::error::CommandError;
use crate::node::Node;

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
    /// The public rooms, most recently active first, and the user's own.
    Rooms,
}

impl Session {
    /// Waits only while too many reads are being answered: until the client has taken their answers.
    pub(super) async fn ask(
        &mut self,
        id: Option<RequestId>,
        query: Query,
    ) -> Result<(), CommandError> {
        let permit = Arc::clone(&self.reads_in_flight).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let (node, outbox) = (Arc::clone(&self.node), Arc::clone(&self.outbox));
        let identity = self.identity.clone();
        self.node.spawn(async move {
            let found = {
                let _turn = node.reads.acquire().await;
                node.find(id.as_ref(), &identity, query).await
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
    async fn find(
        &self,
        id: ReplyId<'_>,
        identity: &Identity,
        query: Query,
    ) -> Result<Frame, CommandError> {
        match query {
            Query::History { room, span, limit } => {
                let page = self.history(identity, &room, span, limit).await?;
                let (room, more) = (&room, page.more);
                let history = ServerFrame::History { id, room, more };
                Ok(Frame::encode_with_events(&history, &page.events))
            }
            Query::Members(room) => {
                let presence = self.members(identity, &room).await?;
                Ok(Frame::encode(&ServerFrame::Members {
                    id,
                    room: &room,
                    count: presence.count,
                    members: &presence.members,
                }))
            }
            Query::Rooms => {
                let rooms = &self.rooms(identity).await?;
                Ok(Frame::encode(&ServerFrame::Rooms { id, rooms }))
            }
        }
    }
}
