//! Engine.IO v4 over HTTP: handshakes, polls, posts and upgrades find their way to a session.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, Request};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_MAX_AGE,
    CACHE_CONTROL, CONTENT_TYPE, UPGRADE,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use hubbub_protocol::CloseCode;
use hubbub_protocol::socketio::Message;
use hyper::upgrade::OnUpgrade;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::bodies::{length, read_body};
use super::handler::Handler;
use super::refusal::Refusal;
use super::session::Session;
use super::sessions::{Line, Poll, PollAnswer, PollLine, Post, Sessions};
use crate::headers::make_safe;
use crate::ws::decoder::MessageLimits;
use crate::ws::handshake::{check_request, raw_stream, switching_protocols};
use crate::ws::socket::{End, Socket};

/// How an engine keeps its connections.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Between two pings.
    pub ping_interval: Duration,
    /// From a ping to its pong.
    pub ping_timeout: Duration,
    /// From the handshake to the first namespace; `None`: it need not come into one.
    pub connect_timeout: Option<Duration>,
    /// Bytes of one WebSocket message, and of one HTTP body.
    pub max_payload: usize,
    /// Fragments of one WebSocket message; 0: any number.
    pub fragments: u32,
    /// From a WebSocket message's first byte to its last, and for an HTTP body.
    pub assemble_timeout: Duration,
    /// In which a WebSocket must take at least a byte.
    pub write_timeout: Duration,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            connect_timeout: Some(Duration::from_secs(45)),
            max_payload: 1_000_000,
            fragments: 1_024,
            assemble_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
        }
    }
}

/// The Engine.IO sessions of one node.
pub struct Engine<D: Handler> {
    pub(super) options: EngineOptions,
    /// Stands in each session's id, so that a request that went astray can be told.
    node: String,
    pub(super) handler: D,
    pub(super) sessions: Sessions<D::Permits>,
    /// Holds every connection's task.
    pub(super) tasks: TaskTracker,
    /// Ends those that poll.
    pub(super) closing: CancellationToken,
}

/// A request's query.
#[derive(Debug, Default)]
struct Asked {
    version: String,
    transport: String,
    sid: Option<String>,
}

impl<D: Handler> Engine<D> {
    /// An engine without sessions.
    pub fn new(
        options: EngineOptions,
        node: &str,
        handler: D,
        tasks: TaskTracker,
        closing: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            options,
            node: node.to_owned(),
            handler,
            sessions: Sessions::default(),
            tasks,
            closing,
        })
    }

    /// Answers one request.
    pub async fn handle(self: Arc<Self>, request: Request) -> Response {
        let cors = self.handler.cors(&request);
        let mut response = match cors {
            Ok(cors) => self.answer_page(request, cors).await,
            Err(refused) => *refused,
        };
        make_safe(response.headers_mut());
        response
    }

    async fn answer_page(self: Arc<Self>, request: Request, cors: HeaderMap) -> Response {
        let mut response = match *request.method() {
            Method::OPTIONS => preflight(),
            _ => match Box::pin(self.answer(request)).await {
                Ok(response) => response,
                Err(refusal) => refusal.into_response(),
            },
        };
        response.headers_mut().extend(cors);
        response
    }

    async fn answer(self: Arc<Self>, request: Request) -> Result<Response, Refusal> {
        let asked = Asked::read(request.uri())?;
        let is_socket = match asked.transport.as_str() {
            "websocket" => true,
            "polling" => false,
            _ => return Err(Refusal::Transport),
        };
        let upgrades = request.headers().contains_key(UPGRADE);
        let Some(sid) = asked.sid else {
            return self.begin(request, &asked.version, is_socket, upgrades);
        };
        let line = self.sessions.find(&sid);
        let line = line.ok_or_else(|| Refusal::Sid(self.stray(&sid)))?;
        match (line, is_socket, upgrades) {
            (line, true, true) => self.try_socket(request, line),
            (Line::Polling(line), false, false) => match *request.method() {
                Method::GET => {
                    let client = self.handler.client(&request);
                    self.permits(client, poll(&line).await?).await
                }
                Method::POST => {
                    let client = self.handler.client(&request);
                    let length = length(request.headers());
                    self.post(&line, client, length, request.into_body()).await
                }
                _ => Err(Refusal::Bad("only GET and POST are possible here")),
            },
            (_, true, false) => Err(Refusal::Bad("send Upgrade: websocket")),
            (Line::Socket, false, _) => Err(Refusal::Bad("this session is on a WebSocket")),
            (Line::Polling(_), false, true) => Err(Refusal::Bad("polling is no upgrade")),
        }
    }

    /// The answer to a request whose session is on another node.
    fn stray(&self, sid: &str) -> Option<String> {
        let (_, node) = sid.split_once('.')?;
        let is_name = node.len() <= 128
            && node
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_.:-".contains(&b));
        (node != self.node && is_name).then(|| {
            format!(
                "it belongs to node {node} and this is {}; polling needs a balancer with sticky \
                 sessions, or use transports: [\"websocket\"]",
                self.node
            )
        })
    }

    /// A handshake.
    fn begin(
        self: Arc<Self>,
        request: Request,
        version: &str,
        is_socket: bool,
        upgrades: bool,
    ) -> Result<Response, Refusal> {
        let began = Instant::now();
        if request.method() != Method::GET {
            return Err(Refusal::Method);
        }
        if is_socket != upgrades {
            return Err(Refusal::Bad("transport and Upgrade do not go together"));
        }
        if version != "4" {
            return Err(Refusal::Version);
        }
        let accept = is_socket.then(|| accept(&request)).transpose()?;
        let handshake = self.handler.admit(&request);
        let handshake = handshake.map_err(Refusal::Handler)?;
        let sid = format!("{:032x}.{}", random(), self.node);
        match accept {
            None => Ok(self.begin_polling(sid, handshake, began)),
            Some(accept) => {
                self.begin_socket(request, sid, handshake, began);
                Ok(switching_protocols(&accept, false))
            }
        }
    }

    fn begin_polling(
        self: &Arc<Self>,
        sid: String,
        handshake: D::Handshake,
        began: Instant,
    ) -> Response {
        let greeting = self.greeting(&sid, &["websocket"]);
        let (line, inbox) = PollLine::new();
        let session = Session::new(self, sid, handshake, began, Line::Polling(line));
        self.tasks.spawn(session.poll(inbox));
        text(greeting)
    }

    fn begin_socket(
        self: &Arc<Self>,
        mut request: Request,
        sid: String,
        handshake: D::Handshake,
        began: Instant,
    ) {
        let pending = hyper::upgrade::on(&mut request);
        let greeting = Message::text(self.greeting(&sid, &[]));
        let session = Session::new(self, sid, handshake, began, Line::Socket);
        let limits = self.message_limits();
        let patience = self.options.assemble_timeout;
        self.tasks.spawn(async move {
            let Some(socket) = take_over(pending, limits, patience).await else {
                return;
            };
            session.run(socket, vec![greeting]).await;
        });
    }

    /// A WebSocket to go on with; one that cannot be used is closed.
    fn try_socket(
        self: Arc<Self>,
        mut request: Request,
        line: Line<D::Permits>,
    ) -> Result<Response, Refusal> {
        let accept = accept(&request)?;
        let permits = self.handler.permits(&request);
        let pending = hyper::upgrade::on(&mut request);
        let (limits, patience) = (self.message_limits(), self.options.assemble_timeout);
        self.tasks.spawn(async move {
            let Some(socket) = take_over(pending, limits, patience).await else {
                return;
            };
            let unused = match line {
                Line::Polling(line) => {
                    let offered = line.polls.send(Poll::Socket(socket, permits)).await;
                    offered.err().map(|back| back.0)
                }
                Line::Socket => Some(Poll::Socket(socket, permits)),
            };
            if let Some(Poll::Socket(socket, _hold)) = unused {
                socket.finish(End::Ours(CloseCode::Normal)).await;
            }
        });
        Ok(switching_protocols(&accept, false))
    }

    fn message_limits(&self) -> MessageLimits {
        MessageLimits {
            bytes: self.options.max_payload,
            fragments: self.options.fragments,
            binary: true,
        }
    }

    fn greeting(&self, sid: &str, upgrades: &[&str]) -> String {
        let greeting = json!({
            "sid": sid,
            "upgrades": upgrades,
            "pingInterval": millis(self.options.ping_interval),
            "pingTimeout": millis(self.options.ping_timeout),
            "maxPayload": self.options.max_payload,
        });
        format!("0{greeting}")
    }

    /// A POST: answered when everything in it has been dealt with.
    async fn post(
        &self,
        line: &PollLine<D::Permits>,
        client: IpAddr,
        length: Option<usize>,
        body: Body,
    ) -> Result<Response, Refusal> {
        let Some(_posting) = line.begin_post() else {
            return overlap(line).await;
        };
        let paid = self.pay(client, length).await?;
        let read = timeout(
            self.options.ping_timeout,
            read_body(body, self.options.max_payload),
        );
        let body = match read.await {
            Ok(body) => body?,
            Err(_) => return Err(Refusal::Bad("the body did not arrive in time")),
        };
        let (done, answer) = oneshot::channel();
        let post = Post {
            body: String::from_utf8(body).ok(),
            done,
            paid,
        };
        if let Err(error) = line.posts.try_send(post) {
            return match error {
                // A POST that its client gave up is still being dealt with.
                tokio::sync::mpsc::error::TrySendError::Full(_) => overlap(line).await,
                tokio::sync::mpsc::error::TrySendError::Closed(_) => Err(Refusal::Sid(None)),
            };
        }
        match answer.await {
            Ok(true) => Ok(text("ok".to_owned())),
            Ok(false) => Err(Refusal::Bad("this is no Engine.IO payload")),
            Err(_) => Err(Refusal::Sid(None)),
        }
    }
}

/// The socket behind an upgraded request. What came early is given back at once: it is a part of a
/// buffer that is much larger.
async fn take_over(
    pending: OnUpgrade,
    limits: MessageLimits,
    patience: Duration,
) -> Option<Box<Socket>> {
    match Box::pin(raw_stream(pending)).await {
        Ok((stream, early)) => Some(Box::new(Socket::with_limits(
            stream, &early, limits, patience,
        ))),
        Err(error) => {
            tracing::debug!(%error, "upgrade failed");
            None
        }
    }
}

/// A GET: answered when there is a message for the client.
async fn poll<H>(line: &PollLine<H>) -> Result<String, Refusal> {
    let (get, answer) = oneshot::channel();
    ask(line, Poll::Get(get), answer).await
}

/// Two POSTs at once end the session.
async fn overlap<H>(line: &PollLine<H>) -> Result<Response, Refusal> {
    let (post, answer) = oneshot::channel();
    ask(line, Poll::Overlap(post), answer).await.map(text)
}

async fn ask<H>(
    line: &PollLine<H>,
    poll: Poll<H>,
    answer: oneshot::Receiver<PollAnswer>,
) -> Result<String, Refusal> {
    if line.polls.send(poll).await.is_err() {
        return Err(Refusal::Sid(None));
    }
    match answer.await {
        Ok(PollAnswer::Body(body)) => Ok(body),
        Ok(PollAnswer::Refused) => Err(Refusal::Bad("two requests at once")),
        Err(_) => Err(Refusal::Sid(None)),
    }
}

impl Asked {
    fn read(uri: &Uri) -> Result<Self, Refusal> {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri);
        let Ok(Query(pairs)) = pairs else {
            return Err(Refusal::Bad("the query string cannot be read"));
        };
        let mut asked = Self::default();
        for (name, value) in pairs {
            match name.as_str() {
                "EIO" => asked.version = value,
                "transport" => asked.transport = value,
                "sid" => asked.sid = Some(value),
                _ => {}
            }
        }
        Ok(asked)
    }
}

fn accept(request: &Request) -> Result<String, Refusal> {
    check_request(request.method(), request.version(), request.headers())
        .map_err(|_| Refusal::Bad("this is no WebSocket handshake"))
}

/// A session's id is what lets a request in: it cannot be guessed.
fn random() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has random bytes");
    u128::from_le_bytes(bytes)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn text(body: String) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/plain; charset=UTF-8"),
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, body).into_response()
}

fn preflight() -> Response {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (ACCESS_CONTROL_ALLOW_HEADERS, "content-type, authorization"),
        (ACCESS_CONTROL_MAX_AGE, "600"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    (StatusCode::NO_CONTENT, headers).into_response()
}
