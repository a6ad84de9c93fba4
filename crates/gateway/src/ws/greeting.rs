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
use crate::proof::{MISSING, TICKET, TokenSource, Transport};
use crate::state::GatewayState;

/// In guest mode a client without a token has so long to say `hello` before it is taken for a
/// guest who only listens.
const GUEST_PATIENCE: Duration = Duration::from_millis(250);

/// A session and what its connection still has to do for it.
pub(super) struct OpenSession {
    pub(super) session: Session,
    pub(super) outbox: OutboxReader,
    /// A frame that came before the session and is to be handled by it.
    pub(super) first: Option<Message>,
    /// A guest who has said nothing yet: a `hello` may still name somebody else.
    pub(super) silent: bool,
}

/// Where tokens come from here.
pub(super) fn token_source(client: IpAddr) -> TokenSource {
    let transport = Transport::WebSocket;
    TokenSource { client, transport }
}

/// Finds out who it is and opens the session.
pub(super) async fn greet(
    gateway: &GatewayState,
    socket: &mut Socket,
    client: IpAddr,
    token: Option<String>,
    ticket: Option<String>,
) -> Result<Box<OpenSession>, End> {
    if let Some(token) = token {
        return open_with_token(gateway, client, &token).await;
    }
    if let Some(ticket) = ticket {
        return open_with_ticket(gateway, client, &ticket).await;
    }
    match gateway.auth.mode() {
        AuthMode::Guest => greet_guest(gateway, socket, client).await,
        AuthMode::Jwt => greet_stranger(gateway, socket, client).await,
    }
}

async fn greet_guest(
    gateway: &GatewayState,
    socket: &mut Socket,
    client: IpAddr,
) -> Result<Box<OpenSession>, End> {
    let Some(message) = first_message(gateway, socket, client, GUEST_PATIENCE).await? else {
        let mut opened = open_guest(gateway, client)?;
        opened.silent = true;
        return Ok(opened);
    };
    match decode_command(&message.text).map(|request| request.command) {
        Ok(Command::Hello { token: Some(token) }) => open_with_token(gateway, client, &token).await,
        Ok(Command::Hello { token: None }) => open_guest(gateway, client),
        Ok(_) | Err(_) => {
            let mut opened = open_guest(gateway, client)?;
            opened.first = Some(message);
            Ok(opened)
        }
    }
}

async fn greet_stranger(
    gateway: &GatewayState,
    socket: &mut Socket,
    client: IpAddr,
) -> Result<Box<OpenSession>, End> {
    let place = gateway.admission.meet().map_err(|refusal| {
        gateway.metrics.rejected(refusal.as_str());
        End::Ours(CloseCode::TryLater)
    })?;
    let patience = gateway.limits().hello_timeout;
    let Some(message) = first_message(gateway, socket, client, patience).await? else {
        gateway.refused_token(token_source(client), MISSING);
        return Err(End::Ours(CloseCode::NoHello));
    };
    drop(place);
    let id = match decode_command(&message.text) {
        Ok(request) => match request.command {
            Command::Hello { token: Some(token) } => {
                return open_with_token(gateway, client, &token).await;
            }
            _ => request.id,
        },
        Err(error) => error.id,
    };
    gateway.refused_token(token_source(client), MISSING);
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
    gateway: &GatewayState,
    socket: &mut Socket,
    client: IpAddr,
    patience: Duration,
) -> Result<Option<Message>, End> {
    let (mut reader, _) = socket.split();
    let purse = Purse::Stranger(gateway, client);
    tokio::select! {
        biased;
        message = Message::read(&mut reader, purse) => message.map(Some),
        () = gateway.closing.cancelled() => Err(End::Ours(CloseCode::Restart)),
        () = tokio::time::sleep(patience) => Ok(None),
    }
}

/// Opens the session of whoever the token names.
pub(super) async fn open_with_token(
    gateway: &GatewayState,
    client: IpAddr,
    token: &str,
) -> Result<Box<OpenSession>, End> {
    let identity = Box::pin(gateway.verify(token_source(client), token)).await;
    let identity = identity.map_err(|error| {
        End::Ours(if error.is_temporary() {
            CloseCode::TryLater
        } else {
            CloseCode::BadToken
        })
    })?;
    open(gateway, client, identity)
}

/// Opens the session of whoever the ticket stands for, and uses it up.
async fn open_with_ticket(
    gateway: &GatewayState,
    client: IpAddr,
    ticket: &str,
) -> Result<Box<OpenSession>, End> {
    match gateway.redeem_ticket(client, ticket, TicketUse::Once).await {
        Ok(Some(identity)) => open(gateway, client, identity),
        Ok(None) => {
            gateway.refused_token(token_source(client), TICKET);
            Err(End::Ours(CloseCode::BadToken))
        }
        Err(error) => {
            tracing::debug!(%error, "a ticket cannot be looked at");
            Err(End::Ours(CloseCode::TryLater))
        }
    }
}

/// A new guest; who makes too many has to wait.
fn open_guest(gateway: &GatewayState, client: IpAddr) -> Result<Box<OpenSession>, End> {
    let guest = gateway.new_guest(client, None);
    open(
        gateway,
        client,
        guest.map_err(|_| End::Ours(CloseCode::TryLater))?,
    )
}

fn open(
    gateway: &GatewayState,
    client: IpAddr,
    identity: Identity,
) -> Result<Box<OpenSession>, End> {
    let attached = gateway.node.attach(identity, Some(client));
    let attached =
        attached.inspect_err(|code| gateway.refused_identity(token_source(client), *code));
    let (session, outbox) = attached.map_err(End::Ours)?;
    Ok(Box::new(OpenSession {
        session,
        outbox,
        first: None,
        silent: false,
    }))
}
