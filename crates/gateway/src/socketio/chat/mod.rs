//! The chat over Socket.IO: who may connect, and what belongs to each connection.

mod credentials;
mod inbound;
mod outbound;
mod place;
mod recent;
mod relay;
mod translator;

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use hubbub_node::{Amount, OutboxReader};
use hubbub_protocol::RoomId;
use hubbub_protocol::socketio::Message;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use self::inbound::ChatInbound;
use self::outbound::ChatOutbound;
use super::backlog::Backlog;
use super::config::{SocketIoError, SocketIoSection};
use super::handler::{Ended, Handler, Paid};
use super::refusal::refused;
use crate::admission::{AddressSlot, Permit, Refusal};
use crate::auth::bearer;
use crate::closed::Closed;
use crate::config::AuthMode;
use crate::error::ApiError;
use crate::metrics::OpenConnection;
use crate::proof::Transport;
use crate::state::{GatewayState, Peer};
use crate::ws::handshake::find_token;

/// Events of clients that are commands of `hubbub.v1`.
pub(super) const COMMANDS: [&str; 13] = [
    "join", "leave", "send", "edit", "delete", "react", "typing", "read", "history", "members",
    "rooms", "refresh", "ping",
];

/// The state that the Socket.IO clients of one node share.
pub(crate) struct Chat {
    gateway: Arc<GatewayState>,
    namespaces: Vec<Namespace>,
    relay_events: Vec<String>,
    max_payload: usize,
}

/// A namespace and the room that its clients are in.
struct Namespace {
    name: String,
    room: RoomId,
}

/// [`Handler`] of the chat.
pub(crate) struct ChatHandler(Arc<Chat>);

/// A new client, as far as the handshake knows it.
pub(crate) struct Handshake {
    client: IpAddr,
    token: Option<String>,
    ticket: Option<String>,
    permits: Permits,
    /// Given back when it is known who comes.
    stranger: Option<OwnedSemaphorePermit>,
    began: Instant,
}

/// Given back when the connection ends, or goes on over another socket.
pub(crate) struct Permits {
    _permit: Option<Arc<Permit>>,
    slot: Option<Arc<AddressSlot>>,
}

/// A note from the reading side to the writing side.
enum Note {
    /// A packet to be said.
    Say(Message),
    /// A session has been opened.
    Opened(Box<Opening>),
    /// The client has left this namespace.
    Left(usize),
}

/// A session that the client has asked for in one namespace.
struct Opening {
    namespace: usize,
    outbox: OutboxReader,
    /// The client's `pid`, if it comes back with one.
    pid: Option<String>,
    catches_up: bool,
}

type Notes = Backlog<Note>;

impl Chat {
    pub(crate) fn new(
        gateway: Arc<GatewayState>,
        section: &SocketIoSection,
    ) -> Result<Self, SocketIoError> {
        let namespaces = section.rooms()?.into_iter();
        Ok(Self {
            namespaces: namespaces
                .map(|(name, room)| Namespace { name, room })
                .collect(),
            relay_events: section.relay_events.clone(),
            max_payload: usize::try_from(section.max_payload.as_u64()).unwrap_or(usize::MAX),
            gateway,
        })
    }

    /// Finds out what the chat needs to know of a client before it lets it in.
    fn begin_handshake(&self, request: &Request) -> Result<Handshake, Box<Response>> {
        let (gateway, headers) = (&self.gateway, request.headers());
        let ticket = bearer::ticket(request.uri()).map_err(|error| {
            let why = error.to_string();
            Box::new(refused(StatusCode::BAD_REQUEST, 3, &why))
        })?;
        if gateway.phase.is_draining() {
            gateway.metrics.rejected("draining");
            return Err(Box::new(
                ApiError::Busy("it is being shut down").into_response(),
            ));
        }
        let peer = peer(request);
        let from_page = gateway.check_origin(&peer, headers);
        let from_page = from_page.map_err(|error| Box::new(error.into_response()))?;
        let client = gateway.client(&peer, headers);
        let is_socket = headers.contains_key(axum::http::header::UPGRADE);
        let from_page = from_page || bearer::is_same_origin(headers);
        let token = find_token(gateway, &peer, headers, from_page);
        // A token or a ticket proves nothing before it is checked, which its first namespace does.
        let is_stranger = gateway.auth.mode() == AuthMode::Jwt;
        let refuse = |refusal: Refusal| Box::new(ApiError::from(refusal).into_response());
        let count = |refusal: &Refusal| gateway.metrics.rejected(refusal.as_str());
        let stranger = is_stranger.then(|| gateway.admission.meet()).transpose();
        let stranger = stranger.inspect_err(count).map_err(refuse)?;
        let permits = self.take_permits(peer, client, is_socket).map_err(refuse)?;
        Ok(Handshake {
            client,
            token,
            ticket,
            permits,
            stranger,
            began: Instant::now(),
        })
    }

    /// A WebSocket is counted as its TCP connection. Who polls is counted as a connection of its
    /// own: it has none for itself between two requests.
    fn take_permits(
        &self,
        peer: Peer,
        client: IpAddr,
        is_socket: bool,
    ) -> Result<Permits, Refusal> {
        if is_socket {
            let slot = self.gateway.take_place(&peer, client)?;
            return Ok(Permits {
                _permit: peer.permit,
                slot: Some(slot),
            });
        }
        let admission = &self.gateway.admission;
        let taken = admission.take_place(client).and_then(|slot| {
            Ok(Permits {
                _permit: Some(Arc::new(admission.enter()?)),
                slot: Some(Arc::new(slot)),
            })
        });
        taken.inspect_err(|refusal| self.gateway.metrics.rejected(refusal.as_str()))
    }
}

impl ChatHandler {
    pub(crate) fn new(chat: Chat) -> Self {
        Self(Arc::new(chat))
    }
}

impl Handler for ChatHandler {
    type Handshake = Handshake;
    type Permits = Permits;
    type Inbound = ChatInbound;
    type Outbound = ChatOutbound;

    fn cors(&self, request: &Request) -> Result<HeaderMap, Box<Response>> {
        let gateway = &self.0.gateway;
        let mut answer = HeaderMap::new();
        answer.insert(VARY, HeaderValue::from_static("origin"));
        match gateway.check_origin(&peer(request), request.headers()) {
            Err(_) => return Err(Box::new(refused(StatusCode::FORBIDDEN, 4, "Forbidden"))),
            Ok(false) => return Ok(answer),
            Ok(true) => {}
        }
        if let Some(origin) = request.headers().get(ORIGIN) {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
        // A balancer's cookie comes along only where it may be stored.
        if gateway.origins.trusts_cookies() {
            let allowed = HeaderValue::from_static("true");
            answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, allowed);
        }
        Ok(answer)
    }

    fn admit(&self, request: &Request) -> Result<Handshake, Box<Response>> {
        self.0.begin_handshake(request)
    }

    fn permits(&self, request: &Request) -> Permits {
        let Peer { permit, slot, .. } = peer(request);
        Permits {
            _permit: permit,
            slot,
        }
    }

    fn client(&self, request: &Request) -> IpAddr {
        self.0.gateway.client(&peer(request), request.headers())
    }

    async fn pay(&self, client: IpAddr, bytes: usize) -> Result<Paid, Box<Response>> {
        match self.0.gateway.reserve(client, Amount::bytes(bytes)).await {
            Ok(paid) => Ok(Box::new(paid)),
            Err(error) => Err(Box::new(ApiError::from(error).into_response())),
        }
    }

    fn open(&self, handshake: Handshake) -> (ChatInbound, ChatOutbound) {
        let gateway = &self.0.gateway;
        gateway.metrics.handshake(handshake.began.elapsed());
        let open: OpenConnection = gateway.metrics.opened();
        let notes = Arc::new(Notes::default());
        let inbound = ChatInbound::new(Arc::clone(&self.0), handshake, Arc::clone(&notes), open);
        (inbound, ChatOutbound::new(Arc::clone(&self.0), notes))
    }

    fn ended(&self, inbound: &ChatInbound, end: Ended) {
        let closed = match end {
            Ended::ByUs(code) => Closed::Server(code),
            Ended::ByThem => Closed::Client(None),
            Ended::Gone => Closed::Network,
        };
        let gateway = &self.0.gateway;
        gateway.count_closed(closed);
        gateway.log_closed(Transport::SocketIo, inbound.client(), None, closed);
    }

    fn panicked(&self) {
        self.0.gateway.metrics.panicked();
    }
}

/// The other end of the TCP connection; the server notes it with every request.
fn peer(request: &Request) -> Peer {
    let peer = request.extensions().get::<Peer>().cloned();
    peer.expect("the server adds the peer to every request")
}
