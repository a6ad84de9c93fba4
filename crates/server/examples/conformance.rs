//! The Socket.IO codec and transports under rules that outside suites know: `cargo run --release
//! --example conformance -- PORT`. For tests only: no chat, no limits, every origin.
//!
//! `/engine.io/` echoes every Engine.IO message; `/socket.io/` has the namespaces `/` and `/custom`;
//! `/echo` echoes WebSocket messages.

#![expect(
    clippy::print_stdout,
    reason = "the port is what its starter waits for"
)]

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::ACCESS_CONTROL_ALLOW_ORIGIN;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use hubbub_gateway::socketio::{
    Backlog, ClientMessage, Ended, Engine, EngineOptions, Handler, Inbound, Outbound, Paid,
    echo_socket,
};
use hubbub_protocol::socketio::{Answer, ClientPacket, Message, PacketReader, encode};
use hubbub_protocol::{CloseCode, ConnectionId};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Autobahn's largest message.
const ECHO_BYTES: usize = 16 << 20;
const MAX_PAYLOAD: usize = 1_000_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::args().nth(1).unwrap_or_default().parse()?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on {}", listener.local_addr()?);
    let site = Arc::new(Site::new());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let site = Arc::clone(&site);
        let tasks = site.tasks.clone();
        tasks.spawn(async move { site.serve(stream).await });
    }
}

/// Everything that there is to ask for.
struct Site {
    tasks: TaskTracker,
    engine: Arc<Engine<EchoHandler>>,
    socket: Arc<Engine<SocketHandler>>,
}

impl Site {
    fn new() -> Self {
        let tasks = TaskTracker::new();
        let options = EngineOptions {
            ping_interval: Duration::from_millis(300),
            ping_timeout: Duration::from_millis(200),
            max_payload: MAX_PAYLOAD,
            connect_timeout: None,
            ..EngineOptions::default()
        };
        let closing = CancellationToken::new();
        let (held, token) = (tasks.clone(), closing.clone());
        let engine = Engine::new(options.clone(), "conformance", EchoHandler, held, token);
        let options = EngineOptions {
            connect_timeout: Some(Duration::from_secs(1)),
            ..options
        };
        let held = tasks.clone();
        let socket = Engine::new(options, "conformance", SocketHandler, held, closing);
        Self {
            tasks,
            engine,
            socket,
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let site = Arc::clone(&self);
            async move { Ok::<_, Infallible>(site.answer(request.map(Body::new)).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        // Whoever breaks off has got what it came for.
        drop(connection.await);
    }

    async fn answer(&self, request: Request) -> Response {
        match request.uri().path() {
            "/engine.io/" => Arc::clone(&self.engine).handle(request).await,
            "/socket.io/" => Arc::clone(&self.socket).handle(request).await,
            "/echo" => echo_socket(request, ECHO_BYTES, &self.tasks),
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    }
}

/// The parts that both handlers share: everybody may connect.
macro_rules! open_door {
    ($handler:ident, $inbound:ident) => {
        impl Handler for $handler {
            type Handshake = ();
            type Permits = ();
            type Inbound = $inbound;
            type Outbound = Voice;

            fn cors(&self, _request: &Request) -> Result<HeaderMap, Box<Response>> {
                let all = HeaderValue::from_static("*");
                Ok(HeaderMap::from_iter([(ACCESS_CONTROL_ALLOW_ORIGIN, all)]))
            }

            fn admit(&self, _request: &Request) -> Result<(), Box<Response>> {
                Ok(())
            }

            fn permits(&self, _request: &Request) {}

            fn client(&self, _request: &Request) -> IpAddr {
                Ipv4Addr::LOCALHOST.into()
            }

            async fn pay(&self, _client: IpAddr, _bytes: usize) -> Result<Paid, Box<Response>> {
                Ok(Box::new(()))
            }

            fn open(&self, (): ()) -> ($inbound, Voice) {
                let shared = Arc::new(Shared::default());
                ($inbound::new(Arc::clone(&shared)), Voice(shared))
            }

            fn ended(&self, _ears: &$inbound, _end: Ended) {}

            fn panicked(&self) {
                panic!("a connection ended by a fault of ours");
            }
        }
    };
}

/// The inbound half's messages for the outbound half.
#[derive(Default)]
struct Shared {
    answers: Backlog<Message>,
    has_joined: AtomicBool,
}

/// Sends what the inbound half has left.
struct Voice(Arc<Shared>);

impl Outbound for Voice {
    async fn say(&mut self, batch: &mut Vec<Message>) -> Result<(), CloseCode> {
        self.0.answers.has_items().await;
        batch.extend(self.0.answers.take());
        Ok(())
    }

    async fn is_shed(&mut self) {
        std::future::pending().await
    }

    fn has_joined(&self) -> bool {
        self.0.has_joined.load(Ordering::Relaxed)
    }
}

struct EchoHandler;

/// `/engine.io/`.
struct EchoInbound(Arc<Shared>);

open_door!(EchoHandler, EchoInbound);

impl EchoInbound {
    fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }
}

impl Inbound for EchoInbound {
    type Permits = ();

    async fn pay(&mut self, _bytes: usize) -> Result<Paid, CloseCode> {
        Ok(Box::new(()))
    }

    async fn receive(&mut self, message: ClientMessage<'_>) -> Result<(), CloseCode> {
        self.0.answers.has_room().await;
        let message = match message {
            ClientMessage::Text(text) => Message::text(format!("4{text}")),
            ClientMessage::Binary(bytes) => Message::Binary(bytes),
        };
        self.0.answers.push(message);
        Ok(())
    }

    fn count_packet(&mut self) -> Result<(), CloseCode> {
        Ok(())
    }

    fn moved(&mut self, (): ()) {}

    fn into_permits(self) {}
}

struct SocketHandler;

/// `/socket.io/`.
struct SocketInbound {
    shared: Arc<Shared>,
    listener: PacketReader,
}

open_door!(SocketHandler, SocketInbound);

impl Inbound for SocketInbound {
    type Permits = ();

    async fn pay(&mut self, _bytes: usize) -> Result<Paid, CloseCode> {
        Ok(Box::new(()))
    }

    async fn receive(&mut self, message: ClientMessage<'_>) -> Result<(), CloseCode> {
        self.shared.answers.has_room().await;
        let heard = match message {
            ClientMessage::Text(text) => self.listener.read_text(text),
            ClientMessage::Binary(bytes) => self.listener.read_binary(bytes),
        };
        if let Some(heard) = heard.map_err(|_| CloseCode::BadFrames)? {
            self.take(heard);
        }
        Ok(())
    }

    fn count_packet(&mut self) -> Result<(), CloseCode> {
        Ok(())
    }

    fn moved(&mut self, (): ()) {}

    fn into_permits(self) {}
}

impl SocketInbound {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            listener: PacketReader::new(10 * MAX_PAYLOAD),
        }
    }

    fn take(&mut self, heard: ClientPacket<'_>) {
        match heard {
            ClientPacket::Connect { namespace, auth } => self.connect(&namespace, auth.as_deref()),
            ClientPacket::Disconnect { namespace } => self.listener.leave(&namespace),
            ClientPacket::Ack { .. } => {}
            ClientPacket::Event {
                namespace,
                id,
                args,
                attachments,
            } => {
                let args = serde_json::from_str::<Vec<Value>>(args.as_str());
                let mut args = args.expect("an event's arguments are a list");
                let name = args.remove(0);
                let namespace = namespace.as_str();
                match (name.as_str(), id) {
                    (Some("message"), _) => {
                        args.insert(0, "message-back".into());
                        let id = None;
                        let to = Answer { namespace, id };
                        self.say(encode::with_attachments(to, &args, attachments));
                    }
                    (Some("message-with-ack"), Some(_)) => {
                        let to = Answer { namespace, id };
                        self.say(encode::with_attachments(to, &args, attachments));
                    }
                    _ => {}
                }
            }
        }
    }

    fn connect(&mut self, namespace: &str, auth: Option<&str>) {
        if !["/", "/custom"].contains(&namespace) {
            let refused = encode::refused(namespace, "Invalid namespace", None);
            return self.say([refused]);
        }
        self.listener.enter(namespace);
        self.shared.has_joined.store(true, Ordering::Relaxed);
        let reply = json!({ "sid": ConnectionId::generate() });
        self.say([
            encode::connected(namespace, &reply),
            encode::event(namespace, &["\"auth\"", auth.unwrap_or("{}")]),
        ]);
    }

    fn say(&self, messages: impl IntoIterator<Item = Message>) {
        for message in messages {
            self.shared.answers.push(message);
        }
    }
}
