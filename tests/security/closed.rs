//! C59: connections that end, in whatever state they are, give everything back.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use hubbub_tests::deadline::eventually;
use hubbub_tests::http::post;
use hubbub_tests::metrics::Metrics;
use hubbub_tests::process::NodeProcess;
use hubbub_tests::procfs;
use hubbub_tests::raw::Raw;
use hubbub_tests::socketio::SocketIo;
use hubbub_tests::sse::Events;
use hubbub_tests::wire::{Frame, Wire, op};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Sessions are kept for some seconds in case a page reloads, and rooms for some after that.
const DEADLINE: Duration = Duration::from_secs(60);
const CONNECTIONS: usize = 1_000;
/// Clients that are being let in at the same time.
const AT_ONCE: usize = 32;
/// Open files of the node that come and go with the looks at it.
const FEW: usize = 20;
/// Members of a room.
const MEMBERS: usize = 50;
const MOST_GROWTH: u64 = 1 << 20;
const ROUNDS: usize = 6;

/// What a connection is about when it ends.
#[derive(Debug, Clone, Copy)]
enum State {
    WebSocket,
    EventStream,
    SocketIo,
    Handshake,
    Body,
    Message,
    History,
}

/// A connection that is open until it is dropped.
type Held = Box<dyn Send>;

/// One node, and what a client of it needs to know.
struct Stage {
    node: NodeProcess,
    token: String,
}

impl Stage {
    async fn start() -> Self {
        let settings = [
            ("archive.url", ""),
            ("limits.ping_interval", "10m"),
            // A round after the other, without a pause.
            ("limits.accepts_per_second", "0"),
        ];
        let node = NodeProcess::start("gw-closed", &settings).await;
        let guest = post(node.address(), "/v1/guests", &json!({})).await.json();
        let token = guest["token"].as_str().expect("a token").to_owned();
        let mut alice = Raw::connect(node.address()).await;
        alice.join("big").await;
        for _ in 0..20 {
            alice.say("big", &"x".repeat(16_000)).await;
        }
        Self { node, token }
    }

    fn open_files(&self) -> usize {
        procfs::open_files(self.node.pid()).expect("the node runs")
    }

    /// Opens many connections in one state, and ends them all at the same time.
    async fn run(&self, state: State) {
        let files = self.open_files();
        let open = stream::iter(0..CONNECTIONS).map(|number| self.open(state, number));
        let held: Vec<Held> = open.buffer_unordered(AT_ONCE).collect().await;
        let are_in = async || (self.open_files() + FEW >= files + CONNECTIONS).then_some(());
        eventually("the node has taken all of them in", DEADLINE, are_in).await;
        drop(held);
        let are_out = async || (self.open_files() <= files + FEW).then_some(());
        eventually("the node has let go of all of them", DEADLINE, are_out).await;
    }

    async fn open(&self, state: State, number: usize) -> Held {
        let address = self.node.address();
        let room = format!("room-{}", number / MEMBERS);
        match state {
            State::WebSocket => {
                let mut raw = Raw::connect(address).await;
                raw.join(&room).await;
                Box::new(raw)
            }
            State::EventStream => {
                let mut events = Events::guest(address, &room).await;
                events.next_of("joined").await;
                Box::new(events)
            }
            State::SocketIo => Box::new(SocketIo::connect(address).await),
            State::Handshake => {
                let head = "GET /v1/ws HTTP/1.1\r\nhost: x\r\nx-filler: ".to_owned();
                Box::new(begin(address, head + &"x".repeat(4_000)).await)
            }
            State::Body => {
                let head = format!(
                    "POST /v1/messages HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
                     content-type: application/json\r\ncontent-length: 8000\r\n\r\n",
                    self.token
                );
                Box::new(begin(address, head + &"[".repeat(4_000)).await)
            }
            State::Message => {
                let mut wire = Wire::open(address).await;
                let bytes = Frame::new(op::TEXT, "x".repeat(12_000)).bytes();
                wire.write(&bytes[..6_000]).await;
                Box::new(wire)
            }
            State::History => {
                let mut raw = Raw::connect_with_small_buffer(address).await;
                raw.join("big").await;
                for _ in 0..4 {
                    raw.write(r#"{"type":"history","room":"big","limit":20}"#)
                        .await;
                }
                Box::new(raw)
            }
        }
    }

    /// The node's memory when nobody is there any more.
    async fn memory(&self) -> u64 {
        let is_empty = async || {
            let metrics = Metrics::read(self.node.ops()).await;
            let names = ["connections", "sessions", "rooms", "reserved_bytes"];
            let is_free = names.iter().all(|name| metrics.get(name) == 0.0);
            is_free.then_some(())
        };
        eventually("everybody has gone", DEADLINE, is_empty).await;
        procfs::rss(self.node.pid()).expect("the node runs")
    }
}

/// Writes the beginning of something.
async fn begin(address: SocketAddr, text: String) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.expect("it listens");
    socket.write_all(text.as_bytes()).await.expect("it reads");
    socket
}

macro_rules! every_state {
    ($($name:ident: $state:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                give_everything_back(State::$state).await;
            }
        )+
    };
}

every_state!(
    c59_websockets_give_their_memory_back: WebSocket,
    c59_event_streams_give_their_memory_back: EventStream,
    c59_socketio_clients_give_their_memory_back: SocketIo,
    c59_half_handshakes_give_their_memory_back: Handshake,
    c59_half_bodies_give_their_memory_back: Body,
    c59_half_messages_give_their_memory_back: Message,
    c59_unread_pages_give_their_memory_back: History,
);

/// The first rounds make what a node keeps for all times: the buffers of its threads, and the room that
/// its allocator has. After some rounds one must find all of it free; what leaks grows in each.
async fn give_everything_back(state: State) {
    let stage = Stage::start().await;
    stage.run(state).await;
    let mut before = stage.memory().await;
    for round in 2..=ROUNDS {
        stage.run(state).await;
        let after = stage.memory().await;
        let grown = after.saturating_sub(before);
        println!(
            "{state:?}, round {round}: {} KiB, {} more",
            after / 1024,
            grown / 1024
        );
        if grown <= MOST_GROWTH {
            return;
        }
        before = after;
    }
    panic!("{state:?}: each of {ROUNDS} rounds of {CONNECTIONS} connections took more memory");
}
