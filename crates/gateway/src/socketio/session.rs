//! One connection from its handshake to its end, whatever it travels over: one task owns it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use hubbub_protocol::CloseCode;
use hubbub_protocol::socketio::Message;
use tokio::time::Instant;

use super::clock::Clock;
use super::engine::Engine;
use super::handler::{Ended, Handler, Inbound};
use super::polling::{Around, Farewell, PollState, Stop};
use super::sessions::{Inbox, Line};
use super::socket::talk;
use crate::ws::socket::{End, Socket};

/// The state of a connection.
pub(super) struct Session<D: Handler> {
    place: Place<D>,
    inbound: D::Inbound,
    outbound: D::Outbound,
    clock: Clock,
}

/// A session can be found by its id until this is dropped.
struct Place<D: Handler> {
    engine: Arc<Engine<D>>,
    sid: Arc<str>,
}

impl<D: Handler> Drop for Place<D> {
    fn drop(&mut self) {
        self.engine.sessions.remove(&self.sid);
    }
}

impl<D: Handler> Session<D> {
    /// Can be found from now on. `began` is before the handshake is answered.
    pub(super) fn new(
        engine: &Arc<Engine<D>>,
        sid: String,
        handshake: D::Handshake,
        began: Instant,
        line: Line<D::Permits>,
    ) -> Box<Self> {
        let sid = Arc::from(sid);
        engine.sessions.put(&sid, line);
        let place = Place {
            engine: Arc::clone(engine),
            sid,
        };
        let (inbound, outbound) = engine.handler.open(handshake);
        let clock = Clock::new(began, &engine.options);
        Box::new(Self {
            place,
            inbound,
            outbound,
            clock,
        })
    }

    /// Begins over HTTP, and may go on over a WebSocket.
    pub(super) async fn poll(mut self: Box<Self>, inbox: Inbox<D::Permits>) {
        let mut poll_state = PollState::default();
        // On the heap: it is gone when the connection goes on over a WebSocket.
        let stop = Box::pin(self.serve_polls(&mut poll_state, inbox)).await;
        match stop {
            Stop::Upgraded(socket, permits) => {
                let engine = &self.place.engine;
                engine.sessions.put(&self.place.sid, Line::Socket);
                poll_state.answer("6");
                self.inbound.moved(permits);
                Box::pin(self.run(socket, poll_state.batch)).await;
            }
            Stop::Ended(end, farewell) => {
                drop((*self).end(end));
                poll_state.bid(farewell);
            }
        }
    }

    async fn serve_polls(
        &mut self,
        poll_state: &mut PollState,
        inbox: Inbox<D::Permits>,
    ) -> Stop<D::Permits> {
        let engine = Arc::clone(&self.place.engine);
        let around = Around {
            clock: &mut self.clock,
            closing: &engine.closing,
            tasks: &engine.tasks,
        };
        let served = poll_state.serve((&mut self.inbound, &mut self.outbound), inbox, around);
        let stop = AssertUnwindSafe(served).catch_unwind().await;
        stop.unwrap_or_else(|_panic| {
            engine.handler.panicked();
            Stop::Ended(Ended::ByUs(CloseCode::Internal), Farewell::default())
        })
    }

    /// Runs over a WebSocket until the end; `first` goes out before anything else.
    pub(super) async fn run(mut self: Box<Self>, mut socket: Box<Socket>, first: Vec<Message>) {
        let end = {
            let ends = (&mut self.inbound, &mut self.outbound);
            let timeout = self.place.engine.options.write_timeout;
            // On the heap, since a future keeps room for what it is given twice.
            let talk = Box::pin(talk(&mut socket, ends, &mut self.clock, first, timeout));
            AssertUnwindSafe(talk).catch_unwind().await
        };
        let end = end.unwrap_or_else(|_panic| {
            self.place.engine.handler.panicked();
            End::Ours(CloseCode::Internal)
        });
        let permits = (*self).end(match end {
            End::Ours(code) => Ended::ByUs(code),
            End::Theirs(_) => Ended::ByThem,
            End::Gone => Ended::Gone,
        });
        // The socket keeps its places until it is closed, however slowly the client goes.
        Box::pin(socket.finish(end)).await;
        drop(permits);
    }

    /// From now on the session cannot be found, and its rooms learn of the leave before the
    /// goodbyes are said.
    fn end(self, end: Ended) -> D::Permits {
        self.place.engine.handler.ended(&self.inbound, end);
        self.inbound.into_permits()
    }
}
