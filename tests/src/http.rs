//! A minimal HTTP/1.1 client that sends exactly the bytes that a test gives.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::deadline::within;

/// A complete answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Header lines, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as text.
    pub body: String,
}

impl Answer {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(known, _)| known == name)?;
        Some(value)
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// Panics if the body is not JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_str(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("not JSON: {error}: {:?}", self.body),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        Some(Self {
            status,
            headers: lines.filter_map(header).collect(),
            body: body.to_owned(),
        })
    }
}

/// Sends `GET path`. Returns `None` if nobody answers.
pub async fn try_get(address: SocketAddr, path: &str) -> Option<Answer> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    exchange(address, request.as_bytes()).await
}

/// Sends `GET path`.
///
/// # Panics
/// Panics if nobody answers.
pub async fn get(address: SocketAddr, path: &str) -> Answer {
    try_get(address, path).await.expect("an HTTP answer")
}

/// Sends `POST path` with a JSON body.
///
/// # Panics
/// Panics if nobody answers.
pub async fn post(address: SocketAddr, path: &str, body: &serde_json::Value) -> Answer {
    post_with(address, "", path, body).await
}

/// Sends `POST path` with a JSON body and a token.
///
/// # Panics
/// Panics if nobody answers.
pub async fn post_as(
    address: SocketAddr,
    token: &str,
    path: &str,
    body: &serde_json::Value,
) -> Answer {
    let header = format!("authorization: Bearer {token}\r\n");
    post_with(address, &header, path, body).await
}

async fn post_with(
    address: SocketAddr,
    header: &str,
    path: &str,
    body: &serde_json::Value,
) -> Answer {
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\n{header}content-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    exchange(address, request.as_bytes())
        .await
        .expect("an HTTP answer")
}

/// Writes `request` unchanged and reads until the other side closes.
pub async fn exchange(address: SocketAddr, request: &[u8]) -> Option<Answer> {
    let mut socket = TcpStream::connect(address).await.ok()?;
    // A server that refuses early closes before it has read everything. Its answer still counts.
    let _ = socket.write_all(request).await;
    let mut answer = Vec::new();
    let read = socket.read_to_end(&mut answer);
    let _ = within("the HTTP answer ends", Duration::from_secs(30), read).await;
    Answer::parse(&String::from_utf8_lossy(&answer))
}

/// A connection for several requests, one after the other.
#[derive(Debug)]
pub struct Line {
    socket: TcpStream,
    read: Vec<u8>,
}

impl Line {
    /// Connects to `address`.
    ///
    /// # Errors
    /// Fails if nobody listens.
    pub async fn connect(address: SocketAddr) -> std::io::Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        Ok(Self {
            socket,
            read: Vec::new(),
        })
    }

    /// Writes `request` and reads one answer, which must have a length.
    ///
    /// # Errors
    /// Fails if the connection breaks.
    pub async fn ask(&mut self, request: &[u8]) -> std::io::Result<Answer> {
        self.socket.write_all(request).await?;
        loop {
            if let Some((answer, length)) = self.complete() {
                self.read.drain(..length);
                return Ok(answer);
            }
            if self.socket.read_buf(&mut self.read).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn complete(&self) -> Option<(Answer, usize)> {
        let text = std::str::from_utf8(&self.read).ok()?;
        let head = text.find("\r\n\r\n")? + 4;
        let mut answer = Answer::parse(text)?;
        let length = answer
            .header("content-length")
            .map_or(Some(0), |n| n.parse().ok())?;
        let end = head + length;
        answer.body = text.get(head..end)?.to_owned();
        Some((answer, end))
    }
}
