//! Turns a Socket.IO client's packets into commands of `hubbub.v1`.

use std::net::IpAddr;
use std::sync::Arc;

use hubbub_node::{CommandError, Identity, Session, TicketUse};
use hubbub_protocol::command::{JoinFrom, RequestId, Terms, decode_named_command};
use hubbub_protocol::frame::ServerFrame;
use hubbub_protocol::socketio::{Args, ClientPacket, PacketReader, encode};
use hubbub_protocol::{CloseCode, Command, ErrorCode, Frame, Request};
use serde_json::json;
use serde_json::value::RawValue;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::credentials::Credentials;
use super::place::Return;
use super::translator::{CONNECT, RELAY, string};
use super::{COMMANDS, Chat, Handshake, Note, Notes, Opening, Permits, relay};
use crate::config::AuthMode;
use crate::metrics::OpenConnection;
use crate::proof::{MISSING, TICKET, TokenSource, Transport};
use crate::socketio::handler::{ClientMessage, Inbound, Paid};

/// Connects of one connection, each of which opens a session and joins a room.
const CONNECTS: Limit = Limit {
    burst: 20.0,
    per_second: 1.0,
};
/// Packets that do nothing: pongs, acknowledgements, events that nobody listens to.
const IDLE_PACKETS: Limit = Limit {
    burst: 200.0,
    per_second: 20.0,
};

/// The receiving half of one connection. Dropping it ends its sessions.
pub(crate) struct ChatInbound {
    chat: Arc<Chat>,
    client: IpAddr,
    /// From the handshake: for every namespace whose connect packet has none.
    token: Option<String>,
    /// The same, where there is no token; used up by the first connect.
    ticket: Option<String>,
    /// The identity of the ticket; few have one. It outlives neither its token nor a revocation, since
    /// each session is opened anew by the node.
    holder: Option<Box<Identity>>,
    permits: Permits,
    /// See [`Handshake`].
    stranger: Option<OwnedSemaphorePermit>,
    reader: PacketReader,
    /// One for each namespace that the client is in.
    entries: Vec<NamespaceSession>,
    notes: Arc<Notes>,
    connects: Bucket,
    idle_packets: Bucket,
    _open: OpenConnection,
}

/// How many may come at once, and a second; beyond, the connection is closed with 4429.
struct Limit {
    burst: f32,
    per_second: f32,
}

/// A token bucket.
struct Bucket {
    left: f32,
    filled: Instant,
}

impl Bucket {
    fn full(limit: &Limit) -> Self {
        Self {
            left: limit.burst,
            filled: Instant::now(),
        }
    }

    fn take(&mut self, limit: &Limit) -> Result<(), CloseCode> {
        let now = Instant::now();
        let refill = now.duration_since(self.filled).as_secs_f32() * limit.per_second;
        self.left = (self.left + refill).min(limit.burst) - 1.0;
        self.filled = now;
        if self.left < 0.0 {
            Err(CloseCode::Flooding)
        } else {
            Ok(())
        }
    }
}

struct NamespaceSession {
    namespace: usize,
    session: Session,
}

/// An event as it came.
struct Event<'a> {
    entry: usize,
    id: Option<u64>,
    args: Args<'a>,
    is_binary: bool,
}

/// Why a namespace cannot be entered.
enum Outside {
    /// `44`: the client need not try again as it is.
    Refused(String, ErrorCode),
    /// The transport ends: the client tries again.
    Later(CloseCode),
}

impl Inbound for ChatInbound {
    type Permits = Permits;

    async fn pay(&mut self, bytes: usize) -> Result<Paid, CloseCode> {
        self.notes.has_room().await;
        for entry in &self.entries {
            entry.session.has_room().await;
        }
        let paid = match self.entries.first() {
            Some(entry) => entry.session.admit_message(bytes).await,
            None => self.chat.gateway.pay_for_message(self.client, bytes).await,
        };
        match paid {
            Ok(paid) => Ok(Box::new(paid)),
            Err(error) => {
                tracing::debug!(%error, bytes, client = %self.client, "a long message cannot be read now");
                Err(CloseCode::TryLater)
            }
        }
    }

    async fn receive(&mut self, message: ClientMessage<'_>) -> Result<(), CloseCode> {
        self.notes.has_room().await;
        let heard = match message {
            ClientMessage::Text(text) => self.reader.read_text(text),
            ClientMessage::Binary(bytes) => self.reader.read_binary(bytes),
        };
        let heard = heard.map_err(|error| {
            tracing::debug!(%error, client = %self.client, "socket.io packet refused");
            CloseCode::BadFrames
        })?;
        match heard {
            None => Ok(()),
            Some(ClientPacket::Ack { .. }) => self.count_packet(),
            Some(ClientPacket::Connect { namespace, auth }) => {
                self.connect(&namespace, auth.as_deref()).await
            }
            Some(ClientPacket::Disconnect { namespace }) => {
                self.leave(&namespace);
                Ok(())
            }
            Some(ClientPacket::Event {
                namespace,
                id,
                args,
                attachments,
            }) => {
                let entry = self.entry(&namespace).ok_or(CloseCode::BadFrames)?;
                let is_binary = !attachments.is_empty();
                let event = Event {
                    entry,
                    id,
                    args,
                    is_binary,
                };
                self.take(event).await
            }
        }
    }

    fn count_packet(&mut self) -> Result<(), CloseCode> {
        self.idle_packets.take(&IDLE_PACKETS)
    }

    /// The polling's own permit is given back, and its slot where the socket has one.
    fn moved(&mut self, permits: Permits) {
        let slot = permits.slot.or_else(|| self.permits.slot.take());
        self.permits = Permits { slot, ..permits };
    }

    fn into_permits(self) -> Permits {
        self.permits
    }
}

/// The protocol's code for a session that is not opened.
fn code_of(code: CloseCode) -> ErrorCode {
    if matches!(code, CloseCode::TokenExpired | CloseCode::Revoked) {
        ErrorCode::Unauthorized
    } else {
        ErrorCode::Forbidden
    }
}

impl ChatInbound {
    pub(super) fn new(
        chat: Arc<Chat>,
        handshake: Handshake,
        notes: Arc<Notes>,
        open: OpenConnection,
    ) -> Self {
        Self {
            client: handshake.client,
            token: handshake.token,
            ticket: handshake.ticket,
            holder: None,
            permits: handshake.permits,
            stranger: handshake.stranger,
            reader: PacketReader::new(chat.max_payload),
            entries: Vec::new(),
            notes,
            connects: Bucket::full(&CONNECTS),
            idle_packets: Bucket::full(&IDLE_PACKETS),
            _open: open,
            chat,
        }
    }

    pub(super) fn client(&self) -> IpAddr {
        self.client
    }

    fn entry(&self, namespace: &str) -> Option<usize> {
        let name = |entry: &NamespaceSession| &self.chat.namespaces[entry.namespace].name;
        self.entries
            .iter()
            .position(|entry| name(entry) == namespace)
    }

    async fn connect(&mut self, name: &str, auth: Option<&str>) -> Result<(), CloseCode> {
        self.connects.take(&CONNECTS)?;
        let mut namespaces = self.chat.namespaces.iter();
        let Some(namespace) = namespaces.position(|namespace| namespace.name == name) else {
            self.say(encode::refused(name, "Invalid namespace", None));
            return Ok(());
        };
        match self.enter(namespace, auth).await {
            Ok(()) => self.reader.enter(name),
            Err(Outside::Later(code)) => return Err(code),
            Err(Outside::Refused(message, code)) => {
                let data = json!({ "code": code });
                self.say(encode::refused(name, &message, Some(data)));
            }
        }
        Ok(())
    }

    /// Opens the session and joins the namespace's room. The outbound half answers the connect
    /// packet, when it learns how that went.
    async fn enter(&mut self, namespace: usize, auth: Option<&str>) -> Result<(), Outside> {
        let said = Credentials::read(auth).map_err(|error| {
            let message = format!("auth cannot be read: {error}");
            Outside::Refused(message, ErrorCode::BadFrame)
        })?;
        let identity = Box::pin(self.identity(&said)).await?;
        self.stranger = None;
        let gateway = &self.chat.gateway;
        let attached = gateway.node.attach(identity, Some(self.client));
        let attached =
            attached.inspect_err(|code| gateway.refused_identity(self.token_source(), *code));
        let (mut session, outbox) =
            attached.map_err(|code| Outside::Refused(code.reason().to_owned(), code_of(code)))?;
        let catches_up = said.catches_up();
        let back = if catches_up {
            said.place()
        } else {
            Return::default()
        };
        self.notes.push(Note::Opened(Box::new(Opening {
            namespace,
            outbox,
            pid: back.pid,
            catches_up,
        })));
        let (connection, user) = (session.connection(), &session.user().id);
        let name = &self.chat.namespaces[namespace].name;
        if self.chat.gateway.lines.admits_connection() {
            tracing::info!(%connection, %user, client = %self.client, door = "socketio", namespace = name, "session opened");
        }
        let join = Command::Join {
            room: self.chat.namespaces[namespace].room.clone(),
            from: back.since.map_or(JoinFrom::Now, JoinFrom::Since),
        };
        let id = Some(RequestId::Text(CONNECT.to_owned()));
        session.handle(Request { id, command: join }).await;
        // Most clients are in one namespace, and a vector would make room for four.
        self.entries.reserve_exact(1);
        self.entries.push(NamespaceSession { namespace, session });
        Ok(())
    }

    async fn identity(&mut self, said: &Credentials<'_>) -> Result<Identity, Outside> {
        let unauthorized =
            |message: &str| Outside::Refused(message.to_owned(), ErrorCode::Unauthorized);
        let own = said.token();
        let own = own.map_err(|_| unauthorized("auth.token must be a string"))?;
        let Some(token) = own.as_deref().or(self.token.as_deref()) else {
            if let Some(holder) = self.holder().await? {
                return Ok(holder);
            }
            return match self.chat.gateway.auth.mode() {
                AuthMode::Guest => {
                    let guest = self.chat.gateway.new_guest(self.client, None);
                    guest.map_err(|_: CommandError| Outside::Later(CloseCode::TryLater))
                }
                AuthMode::Jwt => {
                    self.chat
                        .gateway
                        .refused_token(self.token_source(), MISSING);
                    Err(unauthorized("a token is needed: send it as auth.token"))
                }
            };
        };
        let proved = self.chat.gateway.verify(self.token_source(), token).await;
        proved.map_err(|error| {
            if error.is_temporary() {
                Outside::Later(CloseCode::TryLater)
            } else {
                unauthorized("bad token")
            }
        })
    }

    /// Where tokens come from here.
    fn token_source(&self) -> TokenSource {
        TokenSource {
            client: self.client,
            transport: Transport::SocketIo,
        }
    }

    /// The identity of the handshake's ticket, if there was one.
    async fn holder(&mut self) -> Result<Option<Identity>, Outside> {
        let (Some(ticket), None) = (&self.ticket, &self.holder) else {
            return Ok(self.holder.as_deref().cloned());
        };
        let redeemed = self
            .chat
            .gateway
            .redeem_ticket(self.client, ticket, TicketUse::Once);
        match redeemed.await {
            Ok(Some(holder)) => {
                self.holder = Some(Box::new(holder.clone()));
                Ok(Some(holder))
            }
            Ok(None) => {
                self.chat.gateway.refused_token(self.token_source(), TICKET);
                Err(Outside::Refused(
                    "bad ticket".to_owned(),
                    ErrorCode::Unauthorized,
                ))
            }
            Err(error) => {
                tracing::debug!(%error, "a ticket cannot be looked at");
                Err(Outside::Later(CloseCode::TryLater))
            }
        }
    }

    fn leave(&mut self, name: &str) {
        self.reader.leave(name);
        if let Some(index) = self.entry(name) {
            let entry = self.entries.remove(index);
            self.notes.push(Note::Left(entry.namespace));
        }
    }

    /// # Errors
    /// Why the connection must end: too many events did nothing.
    async fn take(&mut self, event: Event<'_>) -> Result<(), CloseCode> {
        let bytes = event.args.as_str().len();
        let limit = self.chat.gateway.limits().frame_bytes.as_u64();
        if bytes as u64 > limit {
            let error = CommandError::TooLarge { bytes, limit };
            self.answer(&event, &error.to_wire(None));
            return self.count_packet();
        }
        let Some(name) = event.args.name() else {
            return self.complain(&event, "an event's name must be a string here");
        };
        if event.is_binary {
            return self.complain(&event, "binary data is not carried: send text or JSON");
        }
        let [_, data] = event.args.first_two();
        if self
            .chat
            .relay_events
            .iter()
            .any(|relayed| *relayed == name)
        {
            self.relay(&event, &name, data).await
        } else if COMMANDS.contains(&&*name) {
            self.command(&event, &name, data).await
        } else {
            let shown: String = name.chars().take(40).collect();
            let message = format!(
                "nobody listens to {shown:?} here: a server passes on the events in \
                 socketio.relay_events"
            );
            self.complain(&event, &message)
        }
    }

    async fn relay(
        &mut self,
        event: &Event<'_>,
        name: &str,
        data: Option<&RawValue>,
    ) -> Result<(), CloseCode> {
        let body = match relay::body(&self.chat.relay_events, name, data) {
            Ok(body) => body,
            Err(error) => return self.complain(event, &format!("'body' is not valid: {error}")),
        };
        let command = Command::Send {
            room: self.room(event.entry),
            terms: Terms::default(),
            body,
        };
        let id = Some(match event.id {
            Some(id) => RequestId::from(id),
            None => RequestId::Text(RELAY.to_owned()),
        });
        let session = &mut self.entries[event.entry].session;
        session.handle(Request { id, command }).await;
        Ok(())
    }

    /// A command's fields are the event's first argument; without a room it means the default one.
    async fn command(
        &mut self,
        event: &Event<'_>,
        name: &str,
        fields: Option<&RawValue>,
    ) -> Result<(), CloseCode> {
        let fields = fields.map_or("{}", RawValue::get);
        if !fields.starts_with('{') {
            return self.complain(event, "a command's fields come as one object");
        }
        let decoded = decode_named_command(name, fields, &self.room(event.entry));
        let id = event.id.map(RequestId::from);
        let token_source = self.token_source();
        let gateway = &*self.chat.gateway;
        let session = &mut self.entries[event.entry].session;
        match decoded {
            Ok(command) => {
                gateway
                    .handle(token_source, session, Request { id, command })
                    .await
            }
            Err(mut error) => {
                error.id = id;
                session.refuse(&error);
            }
        }
        Ok(())
    }

    fn room(&self, entry: usize) -> hubbub_protocol::RoomId {
        self.chat.namespaces[self.entries[entry].namespace]
            .room
            .clone()
    }

    /// Answers an event that means nothing here.
    fn complain(&mut self, event: &Event<'_>, message: &str) -> Result<(), CloseCode> {
        let error = Frame::encode(&ServerFrame::Error {
            id: None,
            code: ErrorCode::BadFrame,
            message,
            retry_after_ms: None,
        });
        self.answer(event, &error);
        self.count_packet()
    }

    /// Answers an event with an error.
    fn answer(&self, event: &Event<'_>, error: &Frame) {
        let namespace = &self.chat.namespaces[self.entries[event.entry].namespace].name;
        self.say(match event.id {
            Some(id) => encode::ack(namespace, id, &[error.as_str()]),
            None => encode::event(namespace, &[&string("error"), error.as_str()]),
        });
    }

    fn say(&self, message: hubbub_protocol::socketio::Message) {
        self.notes.push(Note::Say(message));
    }
}
