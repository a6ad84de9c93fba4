//! The reading end of an outbox, from which the connection's write loop takes frames.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use hubbub_protocol::{CloseCode, ConnectionId, Frame};

use super::{Line, Outbox};
use crate::Payer;
use crate::node::Node;
use crate::room::Room;

/// The reading end, held by the connection's write loop.
#[derive(Debug)]
pub struct OutboxReader {
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) connection: ConnectionId,
    /// Pays for the pages that the client has to be given again.
    pub(crate) payer: Payer,
    pub(crate) node: Arc<Node>,
}

impl Drop for OutboxReader {
    /// From now on only the transport writes to the socket.
    fn drop(&mut self) {
        self.outbox.state.lock().line = None;
    }
}

/// The next thing for the reader to do.
enum Found {
    Frames,
    Behind(Arc<Room>),
    Closed(CloseCode),
}

impl OutboxReader {
    /// Allows live events to go straight to the socket while [`Self::next`] waits. The transport's
    /// own writes must go through the same line.
    pub fn use_line(&self, line: Arc<dyn Line>) {
        self.outbox.state.lock().line = Some(line);
    }

    /// Waits for frames and appends all queued ones to `batch`. The next call says that the last
    /// batch has been written; until then its frames count against the bounds. Cancel safe.
    ///
    /// # Errors
    /// The close code, once everything queued before it has been handed out.
    pub async fn next(&mut self, batch: &mut Vec<Frame>) -> Result<(), CloseCode> {
        loop {
            match self.find(batch).await {
                Found::Frames => return Ok(()),
                Found::Closed(code) => return Err(code),
                Found::Behind(room) => {
                    // On the heap: every idle connection holds this future, and few ever need this
                    // part.
                    let (connection, payer) = (&self.connection, &self.payer);
                    Box::pin(self.node.fill_up(&room, connection, payer)).await;
                    self.outbox.next_behind(&room);
                }
            }
        }
    }

    /// Waits, while the socket takes nothing, until the connection has to end without writing the
    /// frames that it has taken. Cancel safe.
    pub async fn is_shed(&self) {
        poll_fn(|context| {
            let mut state = self.outbox.state.lock();
            if state.is_shed {
                return Poll::Ready(());
            }
            state.stalled = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Frames come first, then rooms to catch up in. A close comes after all frames.
    async fn find(&self, batch: &mut Vec<Frame>) -> Found {
        poll_fn(|context| {
            let mut state = self.outbox.state.lock();
            self.outbox.budget.give_back(state.settle());
            if !state.frames.is_empty() {
                state.take_all(batch);
                return Poll::Ready(Found::Frames);
            }
            if let (Some(code), 0) = (state.close, state.due_answers) {
                return Poll::Ready(Found::Closed(code));
            }
            if let Some(room) = state.behind.front() {
                return Poll::Ready(Found::Behind(Arc::clone(room)));
            }
            state.reader = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}
