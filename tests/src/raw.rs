//! A bare WebSocket client: it does not reconnect or resume, and gives every frame to the test.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::deadline::{eventually, within};

/// How long a frame may take: several times the largest limit of the server.
pub const FRAME: Duration = Duration::from_secs(20);

/// The next thing that a connection receives.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// A text frame.
    Text(String),
    /// The end, with the code and reason if there was a close frame.
    End(Option<(u16, String)>),
}

/// A transport below a WebSocket.
pub trait Pipe: AsyncRead + AsyncWrite + Send + Unpin + std::fmt::Debug {}

impl<P: AsyncRead + AsyncWrite + Send + Unpin + std::fmt::Debug> Pipe for P {}

/// One connection.
#[derive(Debug)]
pub struct Raw {
    stream: WebSocketStream<Box<dyn Pipe>>,
    last_id: u64,
    /// Frames that came while a reply was awaited.
    pushed: VecDeque<String>,
}

/// The upgrade request of a plain client.
///
/// # Panics
/// Never panics: the address is well-formed.
#[must_use]
pub fn upgrade_request(address: SocketAddr) -> Request {
    format!("ws://{address}/v1/ws")
        .into_client_request()
        .expect("an address makes a valid URL")
}

impl Raw {
    /// Connects as a new guest.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::open(upgrade_request(address)).await
    }

    /// The same, repeated while the node is too busy to accept the connection.
    ///
    /// # Panics
    /// Panics if there is no upgrade in time.
    pub async fn connect_patiently(address: SocketAddr) -> Self {
        let open = async || match Self::try_open(upgrade_request(address)).await {
            Ok(raw) => Some(raw),
            Err(Error::Http(response)) if response.status() == 503 => None,
            Err(error) => panic!("the upgrade failed: {error}"),
        };
        let (raw, _) = eventually("the node accepts the connection", FRAME, open).await;
        raw
    }

    /// Connects with a token in the `Authorization` header.
    ///
    /// # Panics
    /// Panics if the token is not valid in a header.
    pub async fn connect_as(address: SocketAddr, token: &str) -> Self {
        let mut request = upgrade_request(address);
        let bearer = HeaderValue::try_from(format!("Bearer {token}")).expect("a header's value");
        request.headers_mut().insert("authorization", bearer);
        Self::open(request).await
    }

    /// Connects with this request.
    ///
    /// # Panics
    /// Panics if there is no upgrade.
    pub async fn open(request: Request) -> Self {
        match Self::try_open(request).await {
            Ok(raw) => raw,
            Err(error) => panic!("the upgrade failed: {error}"),
        }
    }

    /// The same, but returns a refusal.
    ///
    /// # Errors
    /// The library's error for the refusal; `Error::Http` has the response.
    ///
    /// # Panics
    /// Panics if nobody listens, or nothing comes in time.
    pub async fn try_open(request: Request) -> Result<Self, Error> {
        let authority = request.uri().authority().expect("a URL with a host");
        let tcp = TcpStream::connect(authority.as_str()).await?;
        tcp.set_nodelay(true)?;
        Self::upgrade(request, tcp).await
    }

    /// Upgrades a connection that the test has made.
    ///
    /// # Errors
    /// The library's error for a refusal.
    ///
    /// # Panics
    /// Panics if nothing comes in time.
    pub async fn open_over(request: Request, pipe: impl Pipe + 'static) -> Result<Self, Error> {
        Self::upgrade(request, pipe).await
    }

    /// Connects as a new guest with a small receive buffer in the kernel.
    ///
    /// # Panics
    /// Panics if there is no upgrade.
    pub async fn connect_with_small_buffer(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket
            .set_recv_buffer_size(16 * 1024)
            .expect("a buffer of that size");
        let tcp = socket.connect(address).await.expect("the node listens");
        match Self::upgrade(upgrade_request(address), tcp).await {
            Ok(raw) => raw,
            Err(error) => panic!("the upgrade failed: {error}"),
        }
    }

    async fn upgrade(request: Request, pipe: impl Pipe + 'static) -> Result<Self, Error> {
        let pipe: Box<dyn Pipe> = Box::new(pipe);
        let (stream, _) = within("the upgrade", FRAME, client_async(request, pipe)).await?;
        Ok(Self {
            stream,
            last_id: 0,
            pushed: VecDeque::new(),
        })
    }

    /// Writes a text frame unchanged.
    pub async fn write(&mut self, text: impl Into<String>) {
        // The test sees a closed connection at its next read.
        let _ = self.stream.send(Message::text(text.into())).await;
    }

    /// Writes any message.
    pub async fn write_message(&mut self, message: Message) {
        let _ = self.stream.send(message).await;
    }

    /// Returns the next text frame or the end.
    ///
    /// # Panics
    /// Panics if nothing comes in time.
    pub async fn hear(&mut self) -> Heard {
        if let Some(text) = self.pushed.pop_front() {
            return Heard::Text(text);
        }
        within("a frame or the end", FRAME, self.read()).await
    }

    /// The same without a deadline, for a task that only records.
    pub async fn hear_patiently(&mut self) -> Heard {
        match self.pushed.pop_front() {
            Some(text) => Heard::Text(text),
            None => self.read().await,
        }
    }

    async fn read(&mut self) -> Heard {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return Heard::Text(text.as_str().to_owned()),
                Some(Ok(Message::Close(frame))) => {
                    let close = frame
                        .map(|frame| (u16::from(frame.code), frame.reason.as_str().to_owned()));
                    return Heard::End(close);
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Heard::End(None),
            }
        }
    }

    /// The next text frame.
    ///
    /// # Panics
    /// Panics if the connection ends instead.
    pub async fn next(&mut self) -> Value {
        match self.hear().await {
            Heard::Text(text) => parse(&text),
            Heard::End(close) => panic!("the connection ended: {close:?}"),
        }
    }

    /// Returns the next frame of a type and skips others.
    pub async fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.next().await;
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    /// Skips all frames. Returns the close code and reason of the end.
    pub async fn end(&mut self) -> Option<(u16, String)> {
        loop {
            if let Heard::End(close) = self.hear().await {
                return close;
            }
        }
    }

    /// Skips all frames. Returns the close code.
    ///
    /// # Panics
    /// Panics if the connection ends without a code.
    pub async fn close_code(&mut self) -> u16 {
        let (code, _) = self.end().await.expect("a close frame with a code");
        code
    }

    /// Sends a command with a new ID and waits for its reply. Frames that come before the reply are
    /// kept for [`Raw::hear`].
    ///
    /// # Panics
    /// Panics if the connection ends instead, or nothing comes in time.
    pub async fn ask(&mut self, mut command: Value) -> Value {
        self.last_id += 1;
        command["id"] = self.last_id.into();
        self.write(command.to_string()).await;
        let reply = async {
            loop {
                let text = match self.read().await {
                    Heard::Text(text) => text,
                    Heard::End(close) => panic!("the connection ended: {close:?}"),
                };
                let frame = parse(&text);
                if frame["id"] == self.last_id {
                    return frame;
                }
                self.pushed.push_back(text);
            }
        };
        let what = format!("the reply to {command:.200}");
        within(&what, FRAME, reply).await
    }

    /// Joins a room at its newest event. Returns the reply.
    ///
    /// # Panics
    /// Panics if the room cannot be joined.
    pub async fn join(&mut self, room: &str) -> Value {
        let reply = self
            .ask(serde_json::json!({"type": "join", "room": room}))
            .await;
        assert_eq!(reply["type"], "joined", "{reply}");
        reply
    }

    /// Closes the connection.
    pub async fn close(mut self) {
        let _ = self.stream.close(None).await;
    }
}

fn parse(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => panic!("not JSON: {error}: {text}"),
    }
}
