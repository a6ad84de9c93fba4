//! Reads: `history`, `members` and `rooms`. Each is answered by a task of its own, so that a broker
//! that is slow to answer holds up nothing that was asked later.

use std::sync::Arc;

use hubbub_protocol::command::{HistorySpan, RequestId};
use hubbub_protocol::frame::ServerFrame;
use hubbub_protocol::{Frame, RoomId};

use super::{ReplyId, Session};
use crate::error::CommandError;
use crate::node::Node;
use crate::reservation::{Amount, Reservation};
use crate::{Identity, Payer};

/// A question.
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
    /// Waits while the client has too much under way. The answer is given up when the client goes.
    pub(super) async fn ask(
        &mut self,
        id: Option<RequestId>,
        query: Query,
    ) -> Result<(), CommandError> {
        let cost = query.cost(&self.node);
        let mut reservation = self.node.reserve(&self.payer(), cost).await?;
        let (node, outbox) = (Arc::clone(&self.node), Arc::clone(&self.outbox));
        let identity = self.identity.clone();
        self.node.spawn(async move {
            let answering = async {
                let found = node.find(id.as_ref(), &identity, query, &reservation).await;
                let answer = found.unwrap_or_else(|error| error.to_wire(id.as_ref()));
                reservation.settle(answer.len());
                if outbox.has_room().await {
                    outbox.push(answer);
                }
            };
            tokio::select! {
                biased;
                () = outbox.ended() => {}
                () = answering => {}
            }
        });
        Ok(())
    }

    pub(crate) fn payer(&self) -> Payer {
        Payer {
            connection: Some(self.connection.clone()),
            user: Some(self.identity.user.id.clone()),
            address: self.address,
        }
    }
}

impl Query {
    fn cost(&self, node: &Node) -> Amount {
        match self {
            Self::History { limit, .. } => node.cost_of_page(*limit),
            Self::Members(_) | Self::Rooms => node.cost_of_list(),
        }
    }
}

impl Node {
    async fn find(
        &self,
        id: ReplyId<'_>,
        identity: &Identity,
        query: Query,
        reservation: &Reservation,
    ) -> Result<Frame, CommandError> {
        match query {
            Query::History { room, span, limit } => {
                let page = self.history(identity, &room, span, limit).await?;
                reservation.charge_read(page.read_beside());
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
                let rooms = &self.rooms(identity, reservation).await?;
                Ok(Frame::encode(&ServerFrame::Rooms { id, rooms }))
            }
        }
    }
}
