//! A bare client of an event stream. It reads events and reconnects only when the test asks for it.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::deadline::within;

/// How long an event may take: several times the largest limit of the server.
const EVENT: Duration = Duration::from_secs(20);

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its ID, if it has one.
    pub id: Option<String>,
    /// Its type.
    pub kind: String,
    /// Its data.
    pub data: Value,
    /// The data, byte for byte.
    pub text: String,
}

/// One block of the stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    /// An event.
    Event(Event),
    /// The time in milliseconds after which to reconnect.
    Retry(u64),
    /// A comment that keeps the connection alive.
    Comment(String),
}

/// One connection.
#[derive(Debug)]
pub struct Events {
    tcp: TcpStream,
    /// Incomplete chunks.
    pub head: String,
    /// Incomplete blocks.
    raw: Vec<u8>,
    /// Blocks that are not complete.
    body: Vec<u8>,
    /// The ID of the last event that had one.
    pub last_id: String,
    ended: bool,
}

impl Events {
    /// Opens a room's events as a new guest.
    pub async fn guest(address: SocketAddr, room: &str) -> Self {
        Self::open(address, &format!("/v1/rooms/{room}/events"), "").await
    }

    /// Opens the events after the last received one.
    pub async fn resume(&self, address: SocketAddr, path: &str, headers: &str) -> Self {
        let headers = format!("{headers}last-event-id: {}\r\n", self.last_id);
        Self::open(address, path, &headers).await
    }

    /// Opens a stream with these header lines.
    ///
    /// # Panics
    /// Panics if nobody listens, or the answer is not a stream.
    pub async fn open(address: SocketAddr, path: &str, headers: &str) -> Self {
        let tcp = TcpStream::connect(address).await.expect("the node listens");
        Self::over(tcp, path, headers).await
    }

    /// The same with a small receive buffer in the kernel.
    ///
    /// # Panics
    /// Panics if nobody listens, or the answer is not a stream.
    pub async fn with_small_buffer(address: SocketAddr, path: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        let set = socket.set_recv_buffer_size(16 * 1024);
        set.expect("a buffer of that size");
        let tcp = socket.connect(address).await.expect("the node listens");
        Self::over(tcp, path, "").await
    }

    async fn over(mut tcp: TcpStream, path: &str, headers: &str) -> Self {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\n{headers}\r\n",
            peer(&tcp)
        );
        tcp.write_all(request.as_bytes())
            .await
            .expect("the node reads");
        let mut events = Self {
            tcp,
            head: String::new(),
            raw: Vec::new(),
            body: Vec::new(),
            last_id: String::new(),
            ended: false,
        };
        let end = loop {
            if let Some(end) = find(&events.raw, b"\r\n\r\n") {
                break end;
            }
            let more = within("the head of a stream", EVENT, events.fill()).await;
            assert!(
                more,
                "the connection ended: {:?}",
                String::from_utf8_lossy(&events.raw)
            );
        };
        let head = events.raw.drain(..end + 4).collect();
        events.head = String::from_utf8(head).expect("a head is text");
        assert!(events.head.starts_with("HTTP/1.1 200 "), "{}", events.head);
        events
    }

    /// Reads once. Returns whether bytes came.
    async fn fill(&mut self) -> bool {
        self.tcp
            .read_buf(&mut self.raw)
            .await
            .is_ok_and(|read| read > 0)
    }

    /// Moves complete chunks to the body.
    fn take_chunks(&mut self) {
        while let Some(line) = find(&self.raw, b"\r\n") {
            let digits = std::str::from_utf8(&self.raw[..line]).expect("a chunk's length");
            let length = usize::from_str_radix(digits, 16).expect("a chunk's length");
            let end = line + 2 + length + 2;
            if self.raw.len() < end {
                return;
            }
            self.ended |= length == 0;
            self.body.extend_from_slice(&self.raw[line + 2..end - 2]);
            self.raw.drain(..end);
        }
    }

    /// Returns the next block; `None` if the stream has ended.
    pub async fn next_block(&mut self) -> Option<Block> {
        let read = async {
            loop {
                self.take_chunks();
                if let Some(end) = find(&self.body, b"\n\n") {
                    let block: Vec<u8> = self.body.drain(..end + 2).collect();
                    return Some(String::from_utf8(block).expect("UTF-8"));
                }
                if self.ended || !self.fill().await {
                    return None;
                }
            }
        };
        let block = within("an event or the end", EVENT, read).await?;
        Some(self.read_block(&block))
    }

    fn read_block(&mut self, block: &str) -> Block {
        if let Some(comment) = block.strip_prefix(':') {
            return Block::Comment(comment.trim().to_owned());
        }
        if let Some(retry) = block.strip_prefix("retry: ") {
            return Block::Retry(retry.trim().parse().expect("milliseconds"));
        }
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
        let text = field("data: ").expect("data").to_owned();
        let id = field("id: ").map(str::to_owned);
        if let Some(id) = &id {
            self.last_id.clone_from(id);
        }
        Block::Event(Event {
            id,
            kind: field("event: ").expect("a type").to_owned(),
            data: serde_json::from_str(&text).expect("JSON"),
            text,
        })
    }

    /// Returns the next event; `None` if the stream has ended.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Block::Event(event) = self.next_block().await? {
                return Some(event);
            }
        }
    }

    /// Returns the next event of a type and skips others.
    ///
    /// # Panics
    /// Panics if the stream ends instead.
    pub async fn next_of(&mut self, kind: &str) -> Event {
        loop {
            let event = self.next().await;
            let event = event.unwrap_or_else(|| panic!("the stream ended before a {kind}"));
            if event.kind == kind {
                return event;
            }
        }
    }

    /// The offsets of the next `count` events of the room.
    pub async fn offsets(&mut self, count: usize) -> Vec<u64> {
        let mut offsets = Vec::new();
        while offsets.len() < count {
            let event = self.next().await.expect("more events");
            if event.id.is_some() && event.kind != "joined" {
                offsets.push(event.data["offset"].as_u64().expect("an offset"));
            }
        }
        offsets
    }

    /// Closes the connection with a reset.
    ///
    /// # Panics
    /// Panics if the system refuses it.
    pub fn reset(self) {
        #[expect(
            deprecated,
            reason = "the test needs a reset, and zero seconds block nothing"
        )]
        let linger = self.tcp.set_linger(Some(Duration::ZERO));
        linger.expect("a socket");
    }
}

fn peer(tcp: &TcpStream) -> SocketAddr {
    tcp.peer_addr().expect("a connected socket")
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
