//! The native WebSocket transport: one function owns a connection from open to close.

pub(crate) mod decoder;
mod greeting;
pub(crate) mod handshake;
mod message;
mod pulse;
pub(crate) mod socket;
pub(crate) mod wire;

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use hubbub_node::{Limits, OutboxReader, Session};
use hubbub_protocol::{CloseCode, Command, Frame, decode_command};
use tokio::time::Instant;

use self::greeting::{OpenSession, greet, open_with_token, token_source};
use self::message::{Message, Purse};
use self::pulse::Pulse;
use self::socket::{End, Progress, Reader, Socket, Writer};
use self::wire::Opcode;
use crate::admission::{AddressSlot, Permit};
use crate::proof::Transport;
use crate::state::GatewayState;

/// Messages handled, or batches written, before the other direction gets its turn.
const TURN: u32 = 16;

/// A new client, as far as the handshake knows it. It lives as long as the connection.
struct Arrival {
    gateway: Arc<GatewayState>,
    client: IpAddr,
    token: Option<String>,
    /// Counts where there is no token.
    ticket: Option<String>,
    began: Instant,
    /// Both are given back when the connection ends.
    _permit: Option<Arc<Permit>>,
    _slot: Arc<AddressSlot>,
}

/// Owns one connection from the upgrade to its end. The task that runs it is the only one that
/// the connection has. What it holds is on the heap, since a future keeps room for its arguments
/// twice, and an idle connection is little more than this future.
async fn serve(mut arrival: Box<Arrival>, mut socket: Box<Socket>) {
    let (token, ticket) = (arrival.token.take(), arrival.ticket.take());
    let greeted = greet(&arrival.gateway, &mut socket, arrival.client, token, ticket);
    let greeted = Box::pin(greeted).await;
    let end = match greeted {
        Ok(opened) => stay(&arrival, &mut socket, opened).await,
        Err(end) => {
            log_refused(&arrival.gateway, arrival.client, end);
            end
        }
    };
    arrival.gateway.count_closed(end.into());
    Box::pin(socket.finish(end)).await;
}

/// From the welcome to whatever ends it. The session ends here: the rooms learn of the leave
/// before the goodbyes are said.
async fn stay(arrival: &Arrival, socket: &mut Socket, mut opened: Box<OpenSession>) -> End {
    let gateway = &*arrival.gateway;
    gateway.metrics.handshake(arrival.began.elapsed());
    let _open = gateway.metrics.opened();
    loop {
        log_opened(gateway, &opened.session, arrival.client);
        let talk = AssertUnwindSafe(talk(arrival, socket, &mut opened)).catch_unwind();
        let end = match talk.await {
            Ok(Pause::End(end)) => end,
            Ok(Pause::Hello(token)) => {
                match Box::pin(open_with_token(gateway, arrival.client, &token)).await {
                    Ok(next) => {
                        // The guest, who has joined nothing, is gone with this.
                        opened = next;
                        continue;
                    }
                    Err(end) => end,
                }
            }
            Err(_panic) => {
                gateway.metrics.panicked();
                End::Ours(CloseCode::Internal)
            }
        };
        let (client, session) = (arrival.client, Some(&opened.session));
        gateway.log_closed(Transport::WebSocket, client, session, end.into());
        return end;
    }
}

fn log_refused(gateway: &GatewayState, client: IpAddr, end: End) {
    if !gateway.lines.admits_connection() {
        return;
    }
    let node = gateway.node.id();
    match end {
        End::Ours(close) => {
            let (code, reason) = (close.as_u16(), close.reason());
            tracing::info!(%client, %node, by = "server", code, reason, "connection refused");
        }
        End::Theirs(_) | End::Gone => {
            tracing::info!(%client, %node, by = "client", "connection ended before its session began");
        }
    }
}

fn log_opened(gateway: &GatewayState, session: &Session, client: IpAddr) {
    if !gateway.lines.admits_connection() {
        return;
    }
    let (connection, user) = (session.connection(), &session.user().id);
    tracing::info!(%connection, %user, node = %gateway.node.id(), %client, "connection opened");
}

/// Why the two loops stopped.
enum Pause {
    End(End),
    /// A guest's very first frame was a `hello` with this token.
    Hello(String),
}

/// Runs both loops until one of them ends. The reading one is polled first: the writing one sees
/// in the same poll what it has left.
async fn talk(arrival: &Arrival, socket: &mut Socket, opened: &mut OpenSession) -> Pause {
    opened.outbox.use_line(socket.line());
    let (mut reader, writer) = socket.split();
    let busy = AtomicBool::new(false);
    let limits = arrival.gateway.limits();
    let OpenSession {
        session,
        outbox,
        first,
        silent,
    } = opened;
    tokio::select! {
        biased;
        pause = read_loop(arrival, &mut reader, session, first.take(), *silent, &busy) => pause,
        end = write_loop(&writer, outbox, limits, &busy) => Pause::End(end),
    }
}

async fn read_loop(
    arrival: &Arrival,
    reader: &mut Reader<'_>,
    session: &mut Session,
    mut first: Option<Message>,
    silent: bool,
    busy: &AtomicBool,
) -> Pause {
    let mut is_first = silent;
    let mut turn = 0;
    loop {
        let message = match first.take() {
            Some(message) => message,
            None => match Message::read(reader, Purse::Session(session, busy)).await {
                Ok(message) => message,
                Err(end) => return Pause::End(end),
            },
        };
        let request = decode_command(&message.text);
        // A short command waits for a reservation of its answer without holding the frame's.
        let is_long = request
            .as_ref()
            .is_ok_and(|request| request.command.may_be_long());
        let paid = message.finish().filter(|_| is_long);
        match request {
            Ok(request) => match request.command {
                Command::Hello { token: Some(token) } if is_first => return Pause::Hello(token),
                // The welcome that a guest already has is the answer.
                Command::Hello { token: None } if is_first => {}
                _ => {
                    busy.store(true, Ordering::Relaxed);
                    // On the heap, so that an idle connection does not carry its size.
                    let from = token_source(arrival.client);
                    Box::pin(arrival.gateway.handle(from, session, request)).await;
                    busy.store(false, Ordering::Relaxed);
                    if let Some(delay) = session.take_read_delay() {
                        reader.delay(delay);
                        // That is the other direction's turn, after all that was read.
                        turn = 0;
                    }
                }
            },
            Err(error) => session.refuse(&error),
        }
        drop(paid);
        is_first = false;
        turn += 1;
        if turn % TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
}

async fn write_loop(
    writer: &Writer<'_>,
    outbox: &mut OutboxReader,
    limits: &Limits,
    busy: &AtomicBool,
) -> End {
    let mut pulse = Pulse::new(limits.ping_interval, limits.pong_timeout);
    let mut batch = Vec::new();
    let mut turn = 0;
    loop {
        let mut last = None;
        tokio::select! {
            biased;
            () = writer.has_unsent() => {}
            next = outbox.next(&mut batch) => last = next.err(),
            () = pulse.due() => {
                if !pulse.beat(writer, busy) {
                    return End::Ours(CloseCode::NoPong);
                }
            }
        }
        if let Err(end) = write(writer, outbox, &mut batch, &mut pulse, limits.write_timeout).await
        {
            return end;
        }
        if let Some(code) = last {
            return End::Ours(code);
        }
        turn += 1;
        if turn % TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// Writes everything; the other side must take at least a byte in every `timeout`.
async fn write(
    writer: &Writer<'_>,
    outbox: &OutboxReader,
    batch: &mut Vec<Frame>,
    pulse: &mut Pulse,
    timeout: Duration,
) -> Result<(), End> {
    let mut frames = batch
        .drain(..)
        .map(|frame| (Opcode::Text, frame.into_bytes()));
    while writer.try_write(&mut frames).map_err(|_| End::Gone)? == Progress::Blocked {
        tokio::select! {
            ready = writer.writable() => ready.map_err(|_| End::Gone)?,
            () = pulse.stalled(timeout) => return Err(End::Ours(CloseCode::Slow)),
            () = outbox.is_shed() => return Err(End::Ours(CloseCode::Slow)),
        }
    }
    drop(frames);
    // An idle connection keeps no room for a burst.
    if batch.capacity() > 4 {
        *batch = Vec::new();
    }
    Ok(())
}
