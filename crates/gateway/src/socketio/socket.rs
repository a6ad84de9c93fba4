//! A connection over a WebSocket, built like the native transport: a reading and a writing loop in one
//! task.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hubbub_protocol::CloseCode;
use hubbub_protocol::socketio::{EnginePacket, Message, decode_packet};

use super::clock::{Clock, Signs, Tick};
use super::handler::{ClientMessage, Inbound, Outbound, Paid};
use crate::ws::socket::{Data, End, Progress, Reader, Socket, Writer};
use crate::ws::wire::Opcode;

/// Messages handled, or batches written, before the other direction gets its turn.
const TURN: u32 = 16;

/// Runs both loops until one of them ends. `first` goes out before anything else.
pub(super) async fn talk<E: Inbound, M: Outbound>(
    socket: &mut Socket,
    (inbound, outbound): (&mut E, &mut M),
    clock: &mut Clock,
    mut first: Vec<Message>,
    write_timeout: Duration,
) -> End {
    let (mut reader, writer) = socket.split();
    let signs = Signs::default();
    tokio::select! {
        biased;
        end = read_loop(&mut reader, inbound, &signs) => end,
        end = write_loop(&writer, outbound, clock, &signs, &mut first, write_timeout) => end,
    }
}

async fn read_loop<E: Inbound>(reader: &mut Reader<'_>, inbound: &mut E, signs: &Signs) -> End {
    let mut turn = 0;
    let mut paid: Option<Paid> = None;
    loop {
        let data = match reader.next_data().await {
            Ok(data) => data,
            Err(end) => return end,
        };
        signs.busy.store(true, Ordering::Relaxed);
        // On the heap, so that an idle connection does not carry its size.
        let heard = match data {
            Data::Large(bytes) => {
                drop(paid.take());
                let pays = Box::pin(inbound.pay(bytes)).await;
                reader.admit(bytes);
                pays.map(|pays| paid = Some(pays)).map_err(End::Ours)
            }
            data => {
                let heard = Box::pin(receive(inbound, signs, data)).await;
                drop(paid.take());
                heard
            }
        };
        signs.busy.store(false, Ordering::Relaxed);
        if let Err(end) = heard {
            return end;
        }
        turn += 1;
        if turn % TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
}

async fn receive<E: Inbound>(inbound: &mut E, signs: &Signs, data: Data) -> Result<(), End> {
    let message = match &data {
        // The loop has paid for it.
        Data::Large(_) => return Ok(()),
        Data::Binary(bytes) => ClientMessage::Binary(Bytes::copy_from_slice(bytes)),
        Data::Text(text) => match decode_packet(text) {
            Ok(EnginePacket::Text(text)) => ClientMessage::Text(text),
            Ok(EnginePacket::Binary(bytes)) => ClientMessage::Binary(bytes),
            Ok(EnginePacket::Pong) => {
                signs.pong.store(true, Ordering::Relaxed);
                return inbound.count_packet().map_err(End::Ours);
            }
            Ok(EnginePacket::Upgrade | EnginePacket::Idle) => {
                return inbound.count_packet().map_err(End::Ours);
            }
            Ok(EnginePacket::Close) => return Err(End::Ours(CloseCode::Normal)),
            Ok(EnginePacket::Probe) | Err(_) => return Err(End::Ours(CloseCode::BadFrames)),
        },
    };
    inbound.receive(message).await.map_err(End::Ours)
}

async fn write_loop<M: Outbound>(
    writer: &Writer<'_>,
    outbound: &mut M,
    clock: &mut Clock,
    signs: &Signs,
    batch: &mut Vec<Message>,
    timeout: Duration,
) -> End {
    let mut turn = 0;
    let mut last = None;
    loop {
        if let Err(end) = write(writer, outbound, batch, clock, timeout).await {
            return end;
        }
        if let Some(code) = last {
            return End::Ours(code);
        }
        tokio::select! {
            biased;
            () = writer.has_unsent() => {}
            said = outbound.say(batch) => last = said.err(),
            () = clock.due() => match clock.tick(signs, outbound.has_joined()) {
                Tick::Nothing => {}
                Tick::Ping => batch.push(Message::bare("2")),
                Tick::NoPong => return End::Ours(CloseCode::NoPong),
                Tick::NoConnect => return End::Ours(CloseCode::NoHello),
            },
        }
        turn += 1;
        if turn % TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// Writes everything; the other side must take at least a byte in every `timeout`.
async fn write<M: Outbound>(
    writer: &Writer<'_>,
    outbound: &mut M,
    batch: &mut Vec<Message>,
    clock: &mut Clock,
    timeout: Duration,
) -> Result<(), End> {
    let mut frames = batch.drain(..).map(on_wire);
    while writer.try_write(&mut frames).map_err(|_| End::Gone)? == Progress::Blocked {
        // On the heap, so that an idle connection does not carry its size.
        Box::pin(wait(writer, outbound, clock, timeout)).await?;
    }
    drop(frames);
    // An idle connection keeps no room for them.
    *batch = Vec::new();
    Ok(())
}

/// Waits until the socket takes bytes again.
async fn wait<M: Outbound>(
    writer: &Writer<'_>,
    outbound: &mut M,
    clock: &mut Clock,
    timeout: Duration,
) -> Result<(), End> {
    tokio::select! {
        ready = writer.writable() => ready.map_err(|_| End::Gone),
        () = clock.stalled(timeout) => Err(End::Ours(CloseCode::Slow)),
        () = outbound.is_shed() => Err(End::Ours(CloseCode::Slow)),
    }
}

/// A message as a WebSocket frame.
pub(super) fn on_wire(message: Message) -> (Opcode, Bytes) {
    match message {
        Message::Text(frame) => (Opcode::Text, frame.into_bytes()),
        Message::Binary(bytes) => (Opcode::Binary, bytes),
    }
}
