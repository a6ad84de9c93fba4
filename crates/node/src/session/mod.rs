//! [`Session`]: the server's side of one client. One file for each kind of command.

mod change;
mod join;
mod query;
mod refresh;
mod send;
mod signals;

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hubbub_protocol::command::{JoinFrom, RequestId};
use hubbub_protocol::frame::{ServerFrame, WelcomeLimits};
use hubbub_protocol::{
    CloseCode, Command, ConnectionId, DecodeError, Frame, Request, RoomId, User,
};
use tokio::sync::Semaphore;

use self::query::Query;
use crate::address::address_key;
use crate::alteration::Alteration;
use crate::error::CommandError;
use crate::hub::Attached;
use crate::node::Node;
use crate::outbox::Outbox;
use crate::presence::Departure;
use crate::reservation::Reservation;
use crate::room::Room;
use crate::signals::{Reading, Typing};
use crate::token_bucket::TokenBucket;
use crate::{Identity, Rights};

/// Sends of one connection that wait for the broker; beyond, its frames are read no further.
const SENDS_IN_FLIGHT: usize = 64;
/// Commands that store nothing a second, kept up, and at once: more than a client needs that joins
/// all its rooms at once.
const QUESTIONS_PER_SECOND: u32 = 200;
const QUESTIONS_BURST: u32 = 1_000;
/// So many bad frames within [`BAD_FRAME_WINDOW`] close the connection with 4500.
const BAD_FRAMES: u32 = 20;
const BAD_FRAME_WINDOW: Duration = Duration::from_secs(60);

/// The server's side of one client. Dropping it leaves all rooms.
#[derive(Debug)]
pub struct Session {
    node: Arc<Node>,
    connection: ConnectionId,
    identity: Identity,
    outbox: Arc<Outbox>,
    /// Where the client is, of IPv6 its network; `None`: not known.
    address: Option<IpAddr>,
    /// Few at most, so a list is smaller and no slower than a map.
    rooms: Vec<Membership>,
    send_rate: TokenBucket,
    question_rate: TokenBucket,
    in_flight: Arc<Semaphore>,
    bad_frames: u32,
    bad_frames_since: Instant,
    /// The last send waits for its room's next publish.
    may_rest: bool,
}

/// See [`Session::take_read_delay`].
pub type ReadDelay = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The kinds of commands that have a limit of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    Sends,
    /// Everything that stores nothing.
    Questions,
}

/// A room that the session is in, or about to be.
#[derive(Debug)]
struct Membership {
    room: Arc<Room>,
    rights: Rights,
    /// `joined` has been sent.
    is_joined: bool,
    /// The connection counts in the room's presence.
    is_present: bool,
    /// The user's, looked up when it is needed.
    typing: Option<Arc<Typing>>,
    /// The user's, looked up when it is needed.
    reading: Option<Arc<Reading>>,
}

impl Session {
    /// Opens a session; the only place where one begins, whatever brought the identity.
    pub(crate) fn open(
        node: Arc<Node>,
        identity: Identity,
        client: Option<IpAddr>,
        outbox: Arc<Outbox>,
    ) -> Result<Self, CloseCode> {
        // A ticket, or a connection that opens one session after the other, may hold an identity for longer
        // than its token counts.
        if identity.has_expired() {
            return Err(CloseCode::TokenExpired);
        }
        let limits = &node.config.limits;
        let connection = ConnectionId::generate();
        let user = &identity.user;
        let attached = Attached::new(&identity, client, &outbox);
        node.hub
            .attach(&connection, attached, limits.connections_per_user)?;
        // After it can be found: an order that comes now either finds it, or is found here.
        if let Some(exclusion) = node.exclusion(&identity, client) {
            node.hub.detach(&connection, &user.id);
            return Err(exclusion.close_code());
        }
        node.expiry.add(identity.expires, &connection);
        node.metrics.sessions.inc();
        outbox.push(welcome(&node, &connection, user));
        let now = Instant::now();
        let send_rate = TokenBucket::new(limits.sends_per_second, limits.sends_burst, now);
        Ok(Self {
            connection,
            identity,
            outbox,
            address: client.map(address_key),
            rooms: Vec::new(),
            send_rate,
            question_rate: TokenBucket::new(QUESTIONS_PER_SECOND, QUESTIONS_BURST, now),
            in_flight: Arc::new(Semaphore::new(SENDS_IN_FLIGHT)),
            bad_frames: 0,
            bad_frames_since: now,
            may_rest: false,
            node,
        })
    }

    /// This connection.
    #[must_use]
    pub fn connection(&self) -> &ConnectionId {
        &self.connection
    }

    /// The user of this session.
    #[must_use]
    pub fn user(&self) -> &User {
        &self.identity.user
    }

    /// A wait after which the transport may read on: what was sent last waits so long for more of its room,
    /// and what is read sooner goes out no sooner; several frames in one read cost less than one
    /// each. Given once a send, and not more than some milliseconds.
    pub fn take_read_delay(&mut self) -> Option<ReadDelay> {
        std::mem::take(&mut self.may_rest).then(|| {
            let node = Arc::clone(&self.node);
            Box::pin(async move { node.batch_tick.next().await }) as ReadDelay
        })
    }

    /// Does what is asked; every answer goes through the outbox. Waits while the client has too
    /// much in flight or does not read its answers, which is what stops the read loop. Does
    /// nothing on a connection that is being closed: the client asks again elsewhere.
    pub async fn handle(&mut self, request: Request) {
        if !self.outbox.has_room().await {
            return;
        }
        self.node.beat();
        let Request { id, command } = request;
        if let Err(error) = self.check_pace(&command) {
            return self.outbox.push(error.to_wire(id.as_ref()));
        }
        let done = match command {
            Command::Hello { .. } => Err(CommandError::LateHello),
            // Only the transports can prove a token: they call `Session::refresh` instead.
            Command::Refresh { .. } => Err(CommandError::Internal),
            Command::Join { room, from } => Box::pin(self.join(id.as_ref(), &room, &from)).await,
            Command::Leave { room } => self.leave(id.as_ref(), &room),
            Command::Send { room, terms, body } => {
                Box::pin(self.send(id.clone(), &room, terms, body)).await
            }
            Command::Edit {
                room,
                target,
                terms,
                body,
            } => {
                let edit = Alteration::Edit(body);
                Box::pin(self.change(id.clone(), &room, target, terms, edit)).await
            }
            Command::Delete {
                room,
                target,
                terms,
            } => {
                let delete = Alteration::Delete;
                Box::pin(self.change(id.clone(), &room, target, terms, delete)).await
            }
            Command::React {
                room,
                target,
                terms,
                key,
                on,
            } => {
                let react = Alteration::React { key, on };
                Box::pin(self.change(id.clone(), &room, target, terms, react)).await
            }
            Command::Read { room, offset } => Box::pin(self.read(&room, offset)).await,
            Command::Typing { room, on } => Box::pin(self.typing(&room, on)).await,
            Command::History { room, span, limit } => {
                let query = Query::History { room, span, limit };
                Box::pin(self.ask(id.clone(), query)).await
            }
            Command::Members { room } => Box::pin(self.ask(id.clone(), Query::Members(room))).await,
            Command::Rooms => Box::pin(self.ask(id.clone(), Query::Rooms)).await,
            Command::Ping => {
                self.reply(&ServerFrame::Pong { id: id.as_ref() });
                Ok(())
            }
        };
        if let Err(error) = done {
            self.outbox.push(error.to_wire(id.as_ref()));
        }
    }

    /// Pays for a message that is long, before it is read. Waits first until the client has read enough
    /// of its answers, so that nothing long is held while that takes.
    ///
    /// # Errors
    /// As [`Node::reserve`].
    pub async fn admit_message(&self, bytes: usize) -> Result<Reservation, CommandError> {
        self.has_room().await;
        self.node.reserve_message(&self.payer(), bytes).await
    }

    /// Waits until the client has read enough for another answer, or the connection is being closed.
    pub async fn has_room(&self) {
        // A connection that is being closed goes on as far as it can: its code is on its way.
        self.outbox.has_room().await;
    }

    /// Joins as the command does, for a transport that answers in a form of its own.
    ///
    /// # Errors
    /// Why the session is not in the room.
    pub async fn join_room(&mut self, room: &RoomId, from: &JoinFrom) -> Result<(), CommandError> {
        self.node.beat();
        Box::pin(self.join(None, room, from)).await
    }

    /// Checks the connection's rate before a command is looked at, so that refused ones count too.
    fn check_pace(&mut self, command: &Command) -> Result<(), CommandError> {
        match command {
            Command::Join { .. }
            | Command::Leave { .. }
            | Command::History { .. }
            | Command::Members { .. }
            | Command::Read { .. }
            | Command::Rooms
            | Command::Hello { .. }
            | Command::Typing { .. }
            | Command::Ping => self.check_rate(Pace::Questions),
            Command::Send { .. }
            | Command::Edit { .. }
            | Command::Delete { .. }
            | Command::React { .. } => self.check_rate(Pace::Sends),
            // The transports answer it, at a rate of their own.
            Command::Refresh { .. } => Ok(()),
        }
    }

    /// Answers a frame that was no command; repeated ones close with 4500.
    pub fn refuse(&mut self, error: &DecodeError) {
        let DecodeError { code, message, id } = error;
        let (id, code) = (id.as_ref(), *code);
        self.reply(&ServerFrame::Error {
            id,
            code,
            message,
            retry_after_ms: None,
        });
        if self.bad_frames_since.elapsed() > BAD_FRAME_WINDOW {
            self.bad_frames_since = Instant::now();
            self.bad_frames = 0;
        }
        self.bad_frames += 1;
        if self.bad_frames >= BAD_FRAMES {
            self.close(CloseCode::BadFrames);
        }
    }

    /// Ends the connection from the server's side; frames already queued go out first.
    pub fn close(&self, code: CloseCode) {
        self.outbox.close(code);
    }

    fn reply(&self, frame: &ServerFrame<'_>) {
        self.outbox.push(Frame::encode(frame));
    }

    async fn membership(&mut self, room: &RoomId) -> Result<&mut Membership, CommandError> {
        let is_it = |membership: &Membership| membership.is_joined && membership.room.id == *room;
        match self.rooms.iter().position(is_it) {
            Some(index) => Ok(&mut self.rooms[index]),
            None => Err(Box::pin(self.outside(room)).await),
        }
    }

    /// Why somebody who is not in the room may do nothing in it: what a join would say. To look costs
    /// the archive something, so it has the pace of questions.
    async fn outside(&mut self, room: &RoomId) -> CommandError {
        if !self.node.may_ever(&self.identity, room) {
            return CommandError::Forbidden;
        }
        if let Err(error) = self.check_rate(Pace::Questions) {
            return error;
        }
        match self.node.rights(&self.identity, room).await {
            Err(CommandError::Forbidden) => CommandError::Forbidden,
            // While nobody knows, nothing is said of the room.
            Ok(_) | Err(_) => CommandError::NotJoined,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.outbox.abandon();
        for membership in std::mem::take(&mut self.rooms) {
            self.give_up(membership, Departure::Cut);
        }
        self.node
            .expiry
            .remove(self.identity.expires, &self.connection);
        self.node
            .hub
            .detach(&self.connection, &self.identity.user.id);
        self.node.metrics.sessions.dec();
    }
}

fn welcome(node: &Node, connection: &ConnectionId, user: &User) -> Frame {
    let limits = &node.config.limits;
    let ping_ms = u64::try_from(limits.ping_interval.as_millis()).unwrap_or(u64::MAX);
    Frame::encode(&ServerFrame::Welcome {
        connection,
        node: node.id(),
        user,
        ping_ms,
        limits: WelcomeLimits {
            frame_bytes: limits.frame_bytes.as_u64(),
            body_bytes: limits.body_bytes.as_u64(),
            rooms_per_connection: limits.rooms_per_connection,
            sends_per_second: limits.sends_per_second,
            sends_burst: limits.sends_burst,
            resume_page: limits.resume_page,
        },
    })
}

/// A request's id, as replies borrow it.
type ReplyId<'a> = Option<&'a RequestId>;
