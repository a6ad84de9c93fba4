//! A WebSocket that a polling client tries out before it goes on with it.

use std::future::pending;
use std::time::Duration;

use hubbub_protocol::CloseCode;
use hubbub_protocol::socketio::{EnginePacket, Message, decode_packet};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use super::socket::on_wire;
use crate::ws::socket::{Data, End, Socket};

/// From the WebSocket to the client's last word about it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The one WebSocket that is being tried out, if there is one.
pub(super) struct Probe<H> {
    tried: Option<Tried<H>>,
    /// Holds the goodbyes to those that are not used.
    tasks: TaskTracker,
}

struct Tried<H> {
    socket: Box<Socket>,
    permits: H,
    until: Instant,
    /// The client has asked `2probe` and stops polling.
    is_answered: bool,
}

impl<H: Send + 'static> Probe<H> {
    pub(super) fn new(tasks: TaskTracker) -> Self {
        Self { tried: None, tasks }
    }

    /// A further WebSocket is closed.
    pub(super) fn offer(&mut self, socket: Box<Socket>, permits: H) {
        if self.tried.is_some() {
            return self.turn_away(socket, permits);
        }
        self.tried = Some(Tried {
            socket,
            permits,
            until: Instant::now() + PATIENCE,
            is_answered: false,
        });
    }

    /// The client is stopping to poll: every GET ends at once, with nothing.
    pub(super) fn is_answered(&self) -> bool {
        self.tried.as_ref().is_some_and(|tried| tried.is_answered)
    }

    /// Waits until something about it has changed; gives the WebSocket that the client goes on
    /// with. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<(Box<Socket>, H)> {
        let Some(tried) = &mut self.tried else {
            return pending().await;
        };
        match (tried.listen().await, tried.is_answered) {
            (true, false) => tried.is_answered = true,
            (true, true) => return self.tried.take().map(|tried| (tried.socket, tried.permits)),
            (false, _) => self.give_up(),
        }
        None
    }

    /// The polling goes on as if there had been no WebSocket.
    fn give_up(&mut self) {
        if let Some(tried) = self.tried.take() {
            self.turn_away(tried.socket, tried.permits);
        }
    }

    /// The socket keeps its places until it is closed.
    fn turn_away(&self, socket: Box<Socket>, permits: H) {
        self.tasks.spawn(async move {
            socket.finish(End::Ours(CloseCode::Normal)).await;
            drop(permits);
        });
    }
}

impl<H> Tried<H> {
    /// Whether the client says what it has to say next.
    async fn listen(&mut self) -> bool {
        let (mut reader, writer) = self.socket.split();
        let Ok(Ok(Data::Text(text))) = timeout_at(self.until, reader.next_data()).await else {
            return false;
        };
        match (decode_packet(&text), self.is_answered) {
            (Ok(EnginePacket::Probe), false) => {
                let answer = on_wire(Message::bare("3probe"));
                writer.try_write(&mut std::iter::once(answer)).is_ok()
            }
            (Ok(EnginePacket::Upgrade), true) => true,
            _ => false,
        }
    }
}
