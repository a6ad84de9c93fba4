//! `GET /v1/rooms/{room}/events`: a room's events for who only listens, such as a browser's
//! `EventSource`. A plain HTTP request begins it; then one task owns the bare socket.

mod encode;
mod open;
mod stream;

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use hubbub_node::{OutboxReader, Session};
use hubbub_protocol::command::{JoinFrom, RequestId};
use hubbub_protocol::{CloseCode, Command, Frame, Request, RoomId};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};

use self::encode::Form;
pub(crate) use self::open::{__path_open_events, open_events};
use self::stream::{EventStream, Gone};
use crate::admission::{AddressSlot, Permit};
use crate::closed::Closed;
use crate::hijack::Hijacked;
use crate::proof::Transport;
use crate::state::GatewayState;
use crate::tcp_timeout;

/// Between two signs of life.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Frames are joined up to about so many bytes for one write.
const WRITE_BYTES: usize = 64 * 1024;
/// The client shall come back after so many milliseconds, at random so that not all come together.
const RETRY_MS: std::ops::RangeInclusive<u32> = 1_000..=3_000;

/// A client that has been let in.
struct Listener {
    gateway: Arc<GatewayState>,
    client: IpAddr,
    form: Form,
    /// Rooms that are entered while the stream is on.
    also: Vec<(RoomId, JoinFrom)>,
    session: Session,
    outbox: OutboxReader,
    /// Both are given back when the connection ends.
    _permit: Option<Arc<Permit>>,
    _slot: Arc<AddressSlot>,
}

/// How a stream ends.
enum End {
    Ours(CloseCode),
    Theirs(Gone),
}

/// Owns a stream from its head to its end.
async fn serve(listener: Box<Listener>, taken: oneshot::Receiver<Hijacked>) {
    // Nothing comes when the client went while it was let in.
    let Ok(taken) = taken.await else { return };
    // Nothing else tells of a client that has vanished while nothing is written but signs of life.
    tcp_timeout::set(
        taken.stream.tcp(),
        Some(2 * listener.gateway.limits().write_timeout),
    );
    let (stream, head) = EventStream::new(taken);
    let Listener {
        gateway,
        client,
        form,
        also,
        mut session,
        mut outbox,
        _permit,
        _slot,
    } = *listener;
    let _open = gateway.metrics.opened();
    let (connection, user, node) = (session.connection(), &session.user().id, gateway.node.id());
    if gateway.lines.admits_connection() {
        tracing::info!(%connection, %user, %node, %client, door = "sse", "connection opened");
    }
    let write_timeout = gateway.limits().write_timeout;
    let speak = async {
        // In its place from the start: what is moved takes its room twice, for as long as the stream is on.
        let mut speak = pin!(speak(&stream, &mut outbox, head, &form, write_timeout));
        if !also.is_empty() {
            tokio::select! {
                biased;
                end = &mut speak => return end,
                () = Box::pin(enter(&mut session, also)) => {}
            }
        }
        speak.await
    };
    let end = AssertUnwindSafe(speak).catch_unwind().await;
    let end = end.unwrap_or_else(|_panic| {
        gateway.metrics.panicked();
        End::Ours(CloseCode::Internal)
    });
    let closed = match end {
        End::Ours(code) => Closed::Server(code),
        End::Theirs(Gone::Closed | Gone::Talks) => Closed::Client(None),
        End::Theirs(Gone::Broken) => Closed::Network,
    };
    gateway.count_closed(closed);
    gateway.log_closed(Transport::EventStream, client, Some(&session), closed);
    // The room learns of the leave before the goodbyes are said.
    drop((session, outbox));
    if let End::Ours(code) = end {
        let mut last = Vec::new();
        let start = stream.begin(&mut last);
        encode::close(code, &mut last);
        stream.end(start, &mut last);
        Box::pin(stream.finish(code, last)).await;
    }
}

/// Enters further rooms; how that went stands in the stream, under the room's name as `id`.
async fn enter(session: &mut Session, rooms: Vec<(RoomId, JoinFrom)>) {
    for (room, from) in rooms {
        let id = Some(RequestId::Text(room.as_str().to_owned()));
        let command = Command::Join { room, from };
        session.handle(Request { id, command }).await;
    }
}

/// Writes the session's frames until something ends it.
async fn speak(
    stream: &EventStream,
    outbox: &mut OutboxReader,
    head: Vec<u8>,
    form: &Form,
    write_timeout: Duration,
) -> End {
    let mut out = head;
    let start = stream.begin(&mut out);
    encode::retry(fastrand::u32(RETRY_MS), &mut out);
    stream.end(start, &mut out);
    if let Err(end) = Box::pin(write(stream, outbox, &mut out, write_timeout)).await {
        return end;
    }
    let mut batch = Vec::new();
    // The first one comes earlier for some, so that those who came together are not served together.
    let mut due = Instant::now() + KEEP_ALIVE.mul_f64(0.5 + 0.5 * fastrand::f64());
    loop {
        let mut last = None;
        tokio::select! {
            biased;
            gone = stream.gone() => return End::Theirs(gone),
            next = outbox.next(&mut batch) => last = next.err(),
            () = sleep_until(due) => {
                due = Instant::now() + KEEP_ALIVE;
                let start = stream.begin(&mut out);
                out.extend_from_slice(encode::KEEP_ALIVE);
                stream.end(start, &mut out);
            }
        }
        let written = Box::pin(tell(
            stream,
            outbox,
            &mut batch,
            &mut out,
            form,
            write_timeout,
        ));
        if let Err(end) = written.await {
            return end;
        }
        if let Some(code) = last {
            return End::Ours(code);
        }
        tokio::task::consume_budget().await;
    }
}

/// Writes what is in `out` and then all frames.
async fn tell(
    stream: &EventStream,
    outbox: &OutboxReader,
    batch: &mut Vec<Frame>,
    out: &mut Vec<u8>,
    form: &Form,
    write_timeout: Duration,
) -> Result<(), End> {
    let mut frames = std::mem::take(batch).into_iter().peekable();
    while frames.peek().is_some() {
        let start = stream.begin(out);
        while out.len() < WRITE_BYTES
            && let Some(frame) = frames.next()
        {
            encode::frame(&frame, form, out);
        }
        stream.end(start, out);
        write(stream, outbox, out, write_timeout).await?;
    }
    write(stream, outbox, out, write_timeout).await
}

/// Writes everything; the other side must take at least a byte in every `timeout`. Nothing of `out`
/// is left, its room neither: an idle stream keeps none.
async fn write(
    stream: &EventStream,
    outbox: &OutboxReader,
    out: &mut Vec<u8>,
    timeout: Duration,
) -> Result<(), End> {
    let out = std::mem::take(out);
    let mut delay = &out[..];
    while !delay.is_empty() {
        let written = stream.try_write(delay);
        let written = written.map_err(|_| End::Theirs(Gone::Broken))?;
        delay = &delay[written..];
        if written > 0 {
            continue;
        }
        tokio::select! {
            ready = stream.writable() => ready.map_err(|_| End::Theirs(Gone::Broken))?,
            () = sleep(timeout) => return Err(End::Ours(CloseCode::Slow)),
            () = outbox.is_shed() => return Err(End::Ours(CloseCode::Slow)),
        }
    }
    Ok(())
}
