//! The listeners and the sender: how each connects through a transport and receives.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::http::Http;
use super::scanner::{MessageScanner, TransportCounts};
use super::transport::Transport;
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

/// One listener, in the room.
pub(super) struct Listener {
    transport: Transport,
    http: Http,
    /// The path of the next request, for transports that poll.
    path: String,
    poll: Duration,
    /// When the next poll or the next pong is due.
    due: Instant,
}

impl Listener {
    /// Connects. The listener is in the room when this returns.
    pub(super) async fn connect(
        transport: Transport,
        host: SocketAddr,
        token: String,
        poll: Duration,
    ) -> io::Result<Self> {
        let mut http = Http::connect(host, token.clone()).await?;
        let path = match transport {
            Transport::Websocket => {
                connect_native(&mut http, host, &token).await?;
                String::new()
            }
            Transport::SocketioWebsocket => {
                connect_socketio(&mut http, &token).await?;
                String::new()
            }
            Transport::SocketioPolling => connect_polling(&mut http, &token).await?,
            Transport::Sse => {
                let path = format!("/v1/rooms/{ROOM}/events");
                http.request("GET", &path, "accept: text/event-stream\r\n", "")
                    .await?;
                wait_for(&mut http, b"event: joined").await?;
                String::new()
            }
            Transport::Rest => newest(&mut http).await?,
        };
        http.bytes = 0;
        http.requests = 0;
        Ok(Self {
            transport,
            http,
            path,
            poll,
            // This spreads the polls of different listeners evenly.
            due: Instant::now() + poll.mul_f64(fastrand::f64()),
        })
    }

    /// Receives the load until it is complete, or until `stop`.
    pub(super) async fn receive(
        mut self,
        load: Load,
        mut stop: watch::Receiver<bool>,
    ) -> io::Result<TransportCounts> {
        let mut scanner = MessageScanner::new(load);
        while !scanner.is_complete() {
            tokio::select! {
                bytes = self.next() => scanner.scan(&bytes?),
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        let mut counts = scanner.finish();
        counts.bytes = self.http.bytes;
        counts.requests = self.http.requests;
        Ok(counts)
    }

    async fn next(&mut self) -> io::Result<Vec<u8>> {
        match self.transport {
            Transport::Websocket => read_alive(&mut self.http, &mut self.due).await,
            Transport::SocketioWebsocket | Transport::Sse => self.http.read().await,
            Transport::SocketioPolling => {
                self.http.request("GET", &self.path, "", "").await?;
                self.http.response().await
            }
            Transport::Rest => {
                // The interval does not depend on how long the answer takes.
                sleep_until(self.due).await;
                self.due += self.poll;
                self.http.request("GET", &self.path, "", "").await?;
                let page = self.http.response().await?;
                if let Some(offset) = last_offset(&page) {
                    self.path = after(offset);
                }
                Ok(page)
            }
        }
    }
}

async fn connect_native(http: &mut Http, host: SocketAddr, token: &str) -> io::Result<()> {
    http.write(hubbub::request(&host.to_string(), Some(token)).as_bytes())
        .await?;
    let (status, _) = http.head().await?;
    check_upgrade(status)?;
    send_text(
        http,
        &format!(r#"{{"type":"join","id":1,"room":"{ROOM}"}}"#),
    )
    .await?;
    wait_for(http, br#"{"type":"joined""#).await
}

fn check_upgrade(status: u16) -> io::Result<()> {
    match status {
        101 => Ok(()),
        other => Err(io::Error::other(format!("no upgrade: status {other}"))),
    }
}

/// Sends a text frame.
pub(super) async fn send_text(http: &mut Http, text: &str) -> io::Result<()> {
    let mut frame = Vec::new();
    wire::write(&mut frame, 1, text.as_bytes());
    http.write(&frame).await
}

/// Reads on and keeps the connection alive. Cancel safe, except while a pong is being written.
async fn read_alive(http: &mut Http, due: &mut Instant) -> io::Result<Vec<u8>> {
    loop {
        tokio::select! {
            received = http.read() => return received,
            () = sleep_until(*due) => {
                *due = Instant::now() + PONGS;
                let mut pong = Vec::new();
                wire::write(&mut pong, PONG, b"");
                http.write(&pong).await?;
            }
        }
    }
}

async fn connect_socketio(http: &mut Http, token: &str) -> io::Result<()> {
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    http.request("GET", "/socket.io/?EIO=4&transport=websocket", upgrade, "")
        .await?;
    let (status, _) = http.head().await?;
    check_upgrade(status)?;
    wait_for(http, br#""sid""#).await?;
    send_text(http, &format!(r#"40{{"token":"{token}"}}"#)).await?;
    wait_for(http, br#"40{"sid""#).await
}

async fn connect_polling(http: &mut Http, token: &str) -> io::Result<String> {
    let path = "/socket.io/?EIO=4&transport=polling";
    http.request("GET", path, "", "").await?;
    let open = http.response().await?;
    let sid = message::text(&open, "sid").ok_or(io::ErrorKind::InvalidData)?;
    let path = format!("{path}&sid={sid}");
    http.request(
        "POST",
        &path,
        "content-type: text/plain\r\n",
        &format!(r#"40{{"token":"{token}"}}"#),
    )
    .await?;
    http.response().await?;
    loop {
        http.request("GET", &path, "", "").await?;
        let received = http.response().await?;
        if memchr::memmem::find(&received, br#"40{"sid""#).is_some() {
            return Ok(path);
        }
    }
}

/// Reads until these bytes have come.
async fn wait_for(http: &mut Http, wanted: &[u8]) -> io::Result<()> {
    let mut received = Vec::new();
    while memchr::memmem::find(&received, wanted).is_none() {
        received.extend(http.read().await?);
    }
    Ok(())
}

async fn newest(http: &mut Http) -> io::Result<String> {
    let path = format!("/v1/rooms/{ROOM}/messages?limit=1");
    http.request("GET", &path, "", "").await?;
    let page = http.response().await?;
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
    pub(super) async fn connect(host: SocketAddr, token: String) -> io::Result<Self> {
        let mut http = Http::connect(host, token.clone()).await?;
        connect_native(&mut http, host, &token).await?;
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
                    received = read_alive(&mut self.http, &mut self.pong) => drop(received?),
                }
            }
            let mut frame = format!(
                r#"{{"type":"send","id":{number},"room":"{ROOM}","nonce":"d-{number}","body":"#
            );
            message::write_body(&mut frame, number, load.payload);
            frame.push('}');
            send_text(&mut self.http, &frame).await?;
        }
        Ok(())
    }
}
