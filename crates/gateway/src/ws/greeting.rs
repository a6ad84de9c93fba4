//! From the upgrade to the session: who is it? A token says so at the upgrade or in the first
//! frame; in guest mode nobody has to say anything.

use std::net::IpAddr;
use std::time::Duration;

use hubbub_node::{Identity, OutboxReader, Session, TicketUse};
use hubbub_protocol::frame::ServerFrame;
use hubbub_protocol::{CloseCode, Command, ErrorCode, Frame, RequestId, decode_command};

use super::message::{Message, Purse};
use super::socket::{End, Socket};
use super::wire::Opcode;
use crate::config::AuthMode;
use crate::gate::Gate;
use crate::proof::{Bringer, Door, MISSING, TICKET};

/// In guest mode a client without a token has so long to say `hello` before it is taken for a
/// guest who only listens.
const GUEST_PATIENCE: Duration = Duration::from_millis(250);

/// A session and what its connection still has to do for it.
pub(super) struct Seat {
    pub(super) session: Session,
    pub(super) outbox: OutboxReader,
    /// A frame that came before the session and is to be handled by it.
    pub(super) first: Option<Message>,
    /// A guest who has said nothing yet: a `hello` may still name somebody else.
    pub(super) silent: bool,
}

/// Where tokens come from here.
pub(super) fn bringer(client: IpAddr) -> Bringer {
    let door = Door::WebSocket;
    Bringer { client, door }
}

/// Finds out who it is and opens the session.
pub(super) async fn greet(
    gate: &Gate,
    socket: &mut Socket,
    client: IpAddr,
    token: Option<String>,
    ticket: Option<String>,
) -> Result<Box<Seat>, End> {
    if let Some(token) = token {
        return seat_with_token(gate, client, &token).await;
    }
    if let Some(ticket) = ticket {
        return seat_with_ticket(gate, client, &ticket).await;
    }
    match gate.auth.mode() {
        AuthMode::Guest => greet_guest(gate, socket, client).await,
        AuthMode::Jwt => greet_stranger(gate, socket, client).await,
    }
}

async fn greet_guest(gate: &Gate, socket: &mut Socket, client: IpAddr) -> Result<Box<Seat>, End> {
    let Some(message) = first_message(gate, socket, client, GUEST_PATIENCE).await? else {
        let mut seat = seat_guest(gate, client)?;
        seat.silent = true;
        return Ok(seat);
    };
    match decode_command(&message.text).map(|request| request.command) {
        Ok(Command::Hello { token: Some(token) }) => seat_with_token(gate, client, &token).await,
        Ok(Command::Hello { token: None }) => seat_guest(gate, client),
        Ok(_) | Err(_) => {
            let mut seat = seat_guest(gate, client)?;
            seat.first = Some(message);
            Ok(seat)
        }
    }
}

async fn greet_stranger(
    gate: &Gate,
    socket: &mut Socket,
    client: IpAddr,
) -> Result<Box<Seat>, End> {
    let place = gate.admission.meet().map_err(|refusal| {
        gate.metrics.rejected(refusal.as_str());
        End::Ours(CloseCode::TryLater)
    })?;
    let patience = gate.limits().hello_timeout;
    let Some(message) = first_message(gate, socket, client, patience).await? else {
        gate.refused_token(bringer(client), MISSING);
        return Err(End::Ours(CloseCode::NoHello));
    };
    drop(place);
    let id = match decode_command(&message.text) {
        Ok(request) => match request.command {
            Command::Hello { token: Some(token) } => {
                return seat_with_token(gate, client, &token).await;
            }
            _ => request.id,
        },
        Err(error) => error.id,
    };
    gate.refused_token(bringer(client), MISSING);
    let error = unauthorized(id.as_ref());
    // Should the socket take nothing now, the rest goes out before the close frame.
    drop(
        socket
            .split()
            .1
            .try_write(&mut std::iter::once((Opcode::Text, error.into_bytes()))),
    );
    Err(End::Ours(CloseCode::BadToken))
}

fn unauthorized(id: Option<&RequestId>) -> Frame {
    Frame::encode(&ServerFrame::Error {
        id,
        code: ErrorCode::Unauthorized,
        message: "say who you are first: {\"type\":\"hello\",\"token\":…}",
        retry_after_ms: None,
    })
}

/// The first message, or nothing within `patience`.
async fn first_message(
    gate: &Gate,
    socket: &mut Socket,
    client: IpAddr,
    patience: Duration,
) -> Result<Option<Message>, End> {
    let (mut reader, _) = socket.split();
    let purse = Purse::Stranger(gate, client);
    tokio::select! {
        biased;
        message = Message::read(&mut reader, purse) => message.map(Some),
        () = gate.closing.cancelled() => Err(End::Ours(CloseCode::Restart)),
        () = tokio::time::sleep(patience) => Ok(None),
    }
}

/// Opens the session of whoever the token names.
pub(super) async fn seat_with_token(
    gate: &Gate,
    client: IpAddr,
    token: &str,
) -> Result<Box<Seat>, End> {
    let identity = Box::pin(gate.verify(bringer(client), token)).await;
    let identity = identity.map_err(|error| {
        End::Ours(match error.is_temporary() {
            true => CloseCode::TryLater,
            false => CloseCode::BadToken,
        })
    })?;
    seat(gate, client, identity)
}

/// Opens the session of whoever the ticket stands for, and uses it up.
async fn seat_with_ticket(gate: &Gate, client: IpAddr, ticket: &str) -> Result<Box<Seat>, End> {
    match gate.redeem_ticket(client, ticket, TicketUse::Once).await {
        Ok(Some(identity)) => seat(gate, client, identity),
        Ok(None) => {
            gate.refused_token(bringer(client), TICKET);
            Err(End::Ours(CloseCode::BadToken))
        }
        Err(error) => {
            tracing::debug!(%error, "a ticket cannot be looked at");
            Err(End::Ours(CloseCode::TryLater))
        }
    }
}

/// A new guest; who makes too many has to wait.
fn seat_guest(gate: &Gate, client: IpAddr) -> Result<Box<Seat>, End> {
    let guest = gate.new_guest(client, None);
    seat(
        gate,
        client,
        guest.map_err(|_| End::Ours(CloseCode::TryLater))?,
    )
}

fn seat(gate: &Gate, client: IpAddr, identity: Identity) -> Result<Box<Seat>, End> {
    let attached = gate.node.attach(identity, Some(client));
    let attached = attached.inspect_err(|code| gate.refused_identity(bringer(client), *code));
    let (session, outbox) = attached.map_err(End::Ours)?;
    Ok(Box::new(Seat {
        session,
        outbox,
        first: None,
        silent: false,
    }))
}
