//! The handle that applications hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hubbub_protocol::RoomId;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::client_event::ClientEvent;
use crate::config::{ClientConfig, Credentials, Start};
use crate::driver::{Command, Driver};
use crate::error::{ConfigError, Refusal, RequestError};
use crate::frame::Answer;
use crate::outbox::{Change, Entry};
use crate::outgoing::Outgoing;
use crate::reply::{History, Joined, Members, RoomInfo, Sent};
use crate::requests::{PendingRequest, Request};
use crate::rooms::Waiter;
use crate::stream::trust;
use crate::url::NodeUrl;

/// The most requests without a reply. Further ones wait before they are sent.
const REQUESTS: usize = 64;
/// The most commands that wait for the task. If the queue is full, callers wait.
const COMMANDS: usize = 64;

/// A client of the cluster. Several tasks share it behind an [`Arc`]. Dropping it ends the connection at
/// once, without a close handshake.
#[derive(Debug)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    outbox: Arc<Semaphore>,
    requests: Arc<Semaphore>,
    closing: CancellationToken,
    send_timeout: Duration,
    request_timeout: Duration,
    /// The prefix of this client's nonces.
    nonce_prefix: String,
    next_nonce: AtomicU64,
    _task: AbortOnDropHandle<()>,
}

/// A send whose reply is awaited.
#[derive(Debug)]
#[must_use = "the answer says whether the message was kept"]
pub struct Receipt {
    nonce: String,
    reply: oneshot::Receiver<Result<Sent, RequestError>>,
}

impl Receipt {
    /// The nonce. With it the application can safely retry the send.
    #[must_use]
    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    /// Waits for the reply.
    ///
    /// # Errors
    /// The send was refused or timed out, or the client is closed.
    pub async fn wait(self) -> Result<Sent, RequestError> {
        self.reply.await.unwrap_or(Err(RequestError::Closed))
    }
}

impl Client {
    /// Starts a client, which connects in the background. Needs a tokio runtime.
    ///
    /// # Errors
    /// The settings can never work. Everything else is retried.
    pub fn start(config: ClientConfig) -> Result<(Self, mpsc::Receiver<ClientEvent>), ConfigError> {
        let urls: Result<Vec<NodeUrl>, _> =
            config.urls.iter().map(|url| NodeUrl::parse(url)).collect();
        let urls = urls?;
        if urls.is_empty() {
            return Err(ConfigError::NoUrl);
        }
        if let Credentials::Token(token) = &config.credentials
            && HeaderValue::from_str(token).is_err()
        {
            return Err(ConfigError::BadToken);
        }
        let trust = trust(&urls, &config.tls)?;
        let (events, receiver) = mpsc::channel(config.event_capacity.max(1));
        let (commands, queue) = mpsc::channel(COMMANDS);
        let closing = CancellationToken::new();
        let client = |task| Self {
            commands,
            outbox: Arc::new(Semaphore::new(config.outbox.max(1))),
            requests: Arc::new(Semaphore::new(REQUESTS)),
            closing: closing.clone(),
            send_timeout: config.send_timeout,
            request_timeout: config.request_timeout,
            nonce_prefix: format!("{:016x}", fastrand::u64(..)),
            next_nonce: AtomicU64::new(1),
            _task: AbortOnDropHandle::new(task),
        };
        let driver = Driver::new(config.clone(), trust, urls, queue, events, closing.clone());
        Ok((client(tokio::spawn(driver.run())), receiver))
    }

    /// Joins a room and keeps it joined over reconnects. A room that is joined already is resynced from
    /// its last event, and `start` is ignored.
    ///
    /// # Errors
    /// The join failed. It is not tried again.
    pub async fn join(&self, room: &RoomId, start: Start) -> Result<Joined, RequestError> {
        let (deadline, permit) = self.slot().await?;
        let (reply, answer) = oneshot::channel();
        let waiter = Waiter {
            deadline,
            reply,
            permit,
        };
        self.command(Command::Join(room.clone(), start, waiter))
            .await?;
        match answer.await.unwrap_or(Err(RequestError::Closed))? {
            Answer::Joined(joined, _) => Ok(joined),
            _ => Err(RequestError::Closed),
        }
    }

    /// Leaves a room. Events that are still queued may be read after that.
    ///
    /// # Errors
    /// The request failed. The room is left in any case.
    pub async fn leave(&self, room: &RoomId) -> Result<(), RequestError> {
        let room = room.clone();
        self.request(Request::Leave { room }).await.map(|_| ())
    }

    /// Sends a message and waits until the server has stored it.
    ///
    /// # Errors
    /// The send failed. `unavailable` and `unknown` are retried until the send time-out.
    pub async fn send(
        &self,
        room: &RoomId,
        body: &(impl Serialize + Sync),
    ) -> Result<Sent, RequestError> {
        self.begin_send(room, body, None).await?.wait().await
    }

    /// Puts a message at the end of the outbox and does not wait for its reply, so that many sends can be
    /// in flight. With `nonce`, a send whose reply was lost in an earlier run is repeated safely.
    ///
    /// Messages of one room are stored in this order, except if the server refuses one temporarily while
    /// later ones are in flight. If that matters, wait for each reply.
    ///
    /// # Errors
    /// [`RequestError::Closed`], or [`RequestError::TimedOut`] if the outbox stays full.
    ///
    /// # Panics
    /// `body` cannot be written as JSON, such as a map whose keys are not strings.
    pub async fn begin_send(
        &self,
        room: &RoomId,
        body: &(impl Serialize + Sync),
        nonce: Option<&str>,
    ) -> Result<Receipt, RequestError> {
        self.begin(room, Change::Send(raw(body)), nonce).await
    }

    /// Replaces the body of a message. Only its author may.
    ///
    /// # Errors
    /// As [`Client::send`].
    ///
    /// # Panics
    /// `body` cannot be written as JSON.
    pub async fn edit(
        &self,
        room: &RoomId,
        target: u64,
        body: &(impl Serialize + Sync),
    ) -> Result<Sent, RequestError> {
        let body = raw(body);
        self.change(room, Change::Edit { target, body }).await
    }

    /// Deletes a message. Its author and moderators may.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn delete(&self, room: &RoomId, target: u64) -> Result<Sent, RequestError> {
        self.change(room, Change::Delete { target }).await
    }

    /// Adds a reaction to a message, or removes it.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn react(
        &self,
        room: &RoomId,
        target: u64,
        key: &str,
        on: bool,
    ) -> Result<Sent, RequestError> {
        let key = key.to_owned();
        self.change(room, Change::React { target, key, on }).await
    }

    async fn change(&self, room: &RoomId, change: Change) -> Result<Sent, RequestError> {
        self.begin(room, change, None).await?.wait().await
    }

    async fn begin(
        &self,
        room: &RoomId,
        change: Change,
        nonce: Option<&str>,
    ) -> Result<Receipt, RequestError> {
        let nonce = nonce.map_or_else(|| self.nonce(), str::to_owned);
        let deadline = Instant::now() + self.send_timeout;
        let permit = acquire(&self.outbox, deadline).await?;
        let (reply, receiver) = oneshot::channel();
        let entry = Entry {
            // The task sets the ID.
            id: 0,
            room: room.clone(),
            nonce: nonce.clone(),
            change,
            deadline,
            reply,
            permit,
        };
        self.command(Command::Send(entry)).await?;
        Ok(Receipt {
            nonce,
            reply: receiver,
        })
    }

    fn nonce(&self) -> String {
        let number = self.next_nonce.fetch_add(1, Ordering::Relaxed);
        format!("{}-{number}", self.nonce_prefix)
    }

    /// Tells the room that the user starts or stops typing. The server sends no reply. Without a
    /// connection the signal is dropped.
    ///
    /// # Errors
    /// [`RequestError::Closed`].
    pub async fn typing(&self, room: &RoomId, on: bool) -> Result<(), RequestError> {
        let typing = Outgoing::Typing { room, on };
        self.command(Command::Signal(typing.encode())).await
    }

    /// Marks the room as read up to `offset`. The server sends no reply. Without a connection the mark is
    /// dropped; marks only go forward, so a later one replaces it.
    ///
    /// # Errors
    /// [`RequestError::Closed`].
    pub async fn read(&self, room: &RoomId, offset: u64) -> Result<(), RequestError> {
        let read = Outgoing::Read { room, offset };
        self.command(Command::Signal(read.encode())).await
    }

    /// Returns a page of events before an offset, or the newest page.
    ///
    /// # Errors
    /// The request failed, see [`RequestError`].
    pub async fn history(
        &self,
        room: &RoomId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<History, RequestError> {
        let room = room.clone();
        let request = Request::History {
            room,
            before,
            limit,
        };
        match self.request(request).await? {
            Answer::History(history) => Ok(history),
            _ => Err(RequestError::Closed),
        }
    }

    /// Returns the users in a room.
    ///
    /// # Errors
    /// The request failed, see [`RequestError`].
    pub async fn members(&self, room: &RoomId) -> Result<Members, RequestError> {
        let room = room.clone();
        match self.request(Request::Members { room }).await? {
            Answer::Members(members) => Ok(members),
            _ => Err(RequestError::Closed),
        }
    }

    /// Returns the public rooms and the user's own.
    ///
    /// # Errors
    /// The request failed, see [`RequestError`].
    pub async fn rooms(&self) -> Result<Vec<RoomInfo>, RequestError> {
        match self.request(Request::Rooms).await? {
            Answer::Rooms(rooms) => Ok(rooms),
            _ => Err(RequestError::Closed),
        }
    }

    /// Replaces the token by another one of the same user, for this connection and later ones. Returns
    /// the time at which the new token expires, in milliseconds since 1970. Call this before the old
    /// token expires: the server then closes with 4411, and a client that reconnects with an expired
    /// token is closed for good.
    ///
    /// # Errors
    /// The request failed. A token that the server refuses closes the client with 4501.
    pub async fn refresh(&self, token: impl Into<String>) -> Result<u64, RequestError> {
        let token = token.into();
        if HeaderValue::from_str(&token).is_err() {
            return Err(RequestError::Refused(Refusal {
                code: "unauthorized".to_owned(),
                message: ConfigError::BadToken.to_string(),
                retry_after: None,
            }));
        }
        match self.request(Request::Refresh { token }).await? {
            Answer::Refreshed(expires) => Ok(expires),
            _ => Err(RequestError::Closed),
        }
    }

    /// Pings the node and returns the round-trip time.
    ///
    /// # Errors
    /// The request failed, see [`RequestError`].
    pub async fn ping(&self) -> Result<Duration, RequestError> {
        let started = Instant::now();
        self.request(Request::Ping).await.map(|_| started.elapsed())
    }

    /// Closes the connection and ends the client. Unanswered sends and requests get [`RequestError::Closed`].
    pub async fn close(&self) {
        self.closing.cancel();
        self.commands.closed().await;
    }

    async fn request(&self, request: Request) -> Result<Answer, RequestError> {
        let (deadline, permit) = self.slot().await?;
        let (reply, answer) = oneshot::channel();
        let pending = PendingRequest {
            request,
            deadline,
            reply,
            permit,
        };
        self.command(Command::Request(pending)).await?;
        answer.await.unwrap_or(Err(RequestError::Closed))
    }

    async fn slot(&self) -> Result<(Instant, OwnedSemaphorePermit), RequestError> {
        let deadline = Instant::now() + self.request_timeout;
        Ok((deadline, acquire(&self.requests, deadline).await?))
    }

    async fn command(&self, command: Command) -> Result<(), RequestError> {
        self.commands
            .send(command)
            .await
            .map_err(|_| RequestError::Closed)
    }
}

fn raw(body: &(impl Serialize + Sync)) -> Box<RawValue> {
    serde_json::value::to_raw_value(body).expect("the body can be written as JSON")
}

async fn acquire(
    places: &Arc<Semaphore>,
    deadline: Instant,
) -> Result<OwnedSemaphorePermit, RequestError> {
    match timeout_at(deadline, Arc::clone(places).acquire_owned()).await {
        Ok(Ok(permit)) => Ok(permit),
        Ok(Err(_)) => Err(RequestError::Closed),
        Err(_) => Err(RequestError::TimedOut),
    }
}
