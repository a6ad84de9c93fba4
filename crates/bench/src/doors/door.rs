//! The transports: how a listener connects through each, and how it receives.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use clap::ValueEnum;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::ear::{Ear, Heard};
use super::http::Http;
use crate::message;
use crate::plan::Load;
use crate::worker::{hubbub, wire};

/// The room that Socket.IO clients are in from the start.
pub(super) const ROOM: &str = "lobby";
/// The time between two unsolicited pongs. Any pong answers a ping, so the bench need not parse the
/// frames that it reads. A node waits ten seconds for the answer to a ping.
const PONGS: Duration = Duration::from_secs(4);
const PONG: u8 = 10;
/// Messages per page.
const PAGE: usize = 200;

/// A transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Door {
    /// hubbub.v1 over WebSocket
    Websocket,
    /// Socket.IO over WebSocket
    SocketioWebsocket,
    /// Socket.IO over long polling
    SocketioPolling,
    /// Server-sent events
    Sse,
    /// The newest messages by REST, polled
    Rest,
}

impl Door {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Websocket => "WebSocket",
            Self::SocketioWebsocket => "Socket.IO, WebSocket",
            Self::SocketioPolling => "Socket.IO, long polling",
            Self::Sse => "SSE",
            Self::Rest => "REST, short polling",
        }
    }
}

/// One listener, in the room.
pub(super) struct Listener {
    door: Door,
    http: Http,
    /// The path of the next request, for transports that poll.
    path: String,
    poll: Duration,
    /// When the next poll or the next pong is due.
    due: Instant,
}

impl Listener {
    /// Connects. The listener is in the room when this returns.
    pub(super) async fn enter(
        door: Door,
        host: SocketAddr,
        token: String,
        poll: Duration,
    ) -> io::Result<Self> {
        let mut http = Http::connect(host, token.clone()).await?;
        let path = match door {
            Door::Websocket => {
                enter_native(&mut http, host, &token).await?;
                String::new()
            }
            Door::SocketioWebsocket => {
                enter_socketio(&mut http, &token).await?;
                String::new()
            }
            Door::SocketioPolling => enter_polling(&mut http, &token).await?,
            Door::Sse => {
                let path = format!("/v1/rooms/{ROOM}/events");
                http.ask("GET", &path, "accept: text/event-stream\r\n", "")
                    .await?;
                wait_for(&mut http, b"event: joined").await?;
                String::new()
            }
            Door::Rest => newest(&mut http).await?,
        };
        http.bytes = 0;
        http.requests = 0;
        Ok(Self {
            door,
            http,
            path,
            poll,
            // This spreads the polls of different listeners evenly.
            due: Instant::now() + poll.mul_f64(fastrand::f64()),
        })
    }

    /// Receives the load until it is complete, or until `stop`.
    pub(super) async fn hear(
        mut self,
        load: Load,
        mut stop: watch::Receiver<bool>,
    ) -> io::Result<Heard> {
        let mut ear = Ear::new(load);
        while !ear.is_complete() {
            tokio::select! {
                heard = self.next() => ear.hear(&heard?),
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        let mut heard = ear.finish();
        heard.bytes = self.http.bytes;
        heard.requests = self.http.requests;
        Ok(heard)
    }

    async fn next(&mut self) -> io::Result<Vec<u8>> {
        match self.door {
            Door::Websocket => read_alive(&mut self.http, &mut self.due).await,
            Door::SocketioWebsocket | Door::Sse => self.http.read().await,
            Door::SocketioPolling => {
                self.http.ask("GET", &self.path, "", "").await?;
                self.http.answer().await
            }
            Door::Rest => {
                // The interval does not depend on how long the answer takes.
                sleep_until(self.due).await;
                self.due += self.poll;
                self.http.ask("GET", &self.path, "", "").await?;
                let page = self.http.answer().await?;
                if let Some(offset) = last_offset(&page) {
                    self.path = after(offset);
                }
                Ok(page)
            }
        }
    }
}

async fn enter_native(http: &mut Http, host: SocketAddr, token: &str) -> io::Result<()> {
    http.write(hubbub::request(&host.to_string(), Some(token)).as_bytes())
        .await?;
    let (status, _) = http.head().await?;
    upgraded(status)?;
    say(
        http,
        &format!(r#"{{"type":"join","id":1,"room":"{ROOM}"}}"#),
    )
    .await?;
    wait_for(http, br#"{"type":"joined""#).await
}

fn upgraded(status: u16) -> io::Result<()> {
    match status {
        101 => Ok(()),
        other => Err(io::Error::other(format!("no upgrade: status {other}"))),
    }
}

/// Sends a text frame.
pub(super) async fn say(http: &mut Http, text: &str) -> io::Result<()> {
    let mut frame = Vec::new();
    wire::write(&mut frame, 1, text.as_bytes());
    http.write(&frame).await
}

/// Reads on and keeps the connection alive. Cancel safe, except while a pong is being written.
async fn read_alive(http: &mut Http, due: &mut Instant) -> io::Result<Vec<u8>> {
    loop {
        tokio::select! {
            heard = http.read() => return heard,
            () = sleep_until(*due) => {
                *due = Instant::now() + PONGS;
                let mut pong = Vec::new();
                wire::write(&mut pong, PONG, b"");
                http.write(&pong).await?;
            }
        }
    }
}

async fn enter_socketio(http: &mut Http, token: &str) -> io::Result<()> {
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    http.ask("GET", "/socket.io/?EIO=4&transport=websocket", upgrade, "")
        .await?;
    let (status, _) = http.head().await?;
    upgraded(status)?;
    wait_for(http, br#""sid""#).await?;
    say(http, &format!(r#"40{{"token":"{token}"}}"#)).await?;
    wait_for(http, br#"40{"sid""#).await
}

async fn enter_polling(http: &mut Http, token: &str) -> io::Result<String> {
    let path = "/socket.io/?EIO=4&transport=polling";
    http.ask("GET", path, "", "").await?;
    let open = http.answer().await?;
    let sid = message::text(&open, "sid").ok_or(io::ErrorKind::InvalidData)?;
    let path = format!("{path}&sid={sid}");
    http.ask(
        "POST",
        &path,
        "content-type: text/plain\r\n",
        &format!(r#"40{{"token":"{token}"}}"#),
    )
    .await?;
    http.answer().await?;
    loop {
        http.ask("GET", &path, "", "").await?;
        let heard = http.answer().await?;
        if memchr::memmem::find(&heard, br#"40{"sid""#).is_some() {
            return Ok(path);
        }
    }
}

/// Reads until these bytes have come.
async fn wait_for(http: &mut Http, wanted: &[u8]) -> io::Result<()> {
    let mut heard = Vec::new();
    while memchr::memmem::find(&heard, wanted).is_none() {
        heard.extend(http.read().await?);
    }
    Ok(())
}

async fn newest(http: &mut Http) -> io::Result<String> {
    let path = format!("/v1/rooms/{ROOM}/messages?limit=1");
    http.ask("GET", &path, "", "").await?;
    let page = http.answer().await?;
    Ok(after(last_offset(&page).unwrap_or(0)))
}

fn after(offset: u64) -> String {
    format!("/v1/rooms/{ROOM}/messages?after={offset}&limit={PAGE}")
}

fn last_offset(page: &[u8]) -> Option<u64> {
    let at = memchr::memmem::rfind(page, br#""offset":"#)?;
    message::number(&page[at..], "offset")
}

/// Sends the load over the native protocol.
pub(super) struct Sender {
    http: Http,
    pong: Instant,
}

impl Sender {
    pub(super) async fn enter(host: SocketAddr, token: String) -> io::Result<Self> {
        let mut http = Http::connect(host, token.clone()).await?;
        enter_native(&mut http, host, &token).await?;
        let pong = Instant::now();
        Ok(Self { http, pong })
    }

    pub(super) async fn send(&mut self, load: Load) -> io::Result<()> {
        for number in load.base..load.end() {
            let wait = crate::clock::until(load.due(number));
            let due = Instant::now() + wait;
            loop {
                tokio::select! {
                    () = sleep_until(due) => break,
                    // The sender's own copy is not counted.
                    heard = read_alive(&mut self.http, &mut self.pong) => drop(heard?),
                }
            }
            let mut frame = format!(
                r#"{{"type":"send","id":{number},"room":"{ROOM}","nonce":"d-{number}","body":"#
            );
            message::write_body(&mut frame, number, load.payload);
            frame.push('}');
            say(&mut self.http, &frame).await?;
        }
        Ok(())
    }
}
