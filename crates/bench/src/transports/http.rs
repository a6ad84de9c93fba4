//! A bare HTTP/1.1 connection that counts its bytes.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One connection, kept alive.
#[derive(Debug)]
pub(super) struct Http {
    stream: TcpStream,
    host: SocketAddr,
    token: String,
    buffer: Vec<u8>,
    /// Bytes written and read so far.
    pub(super) bytes: u64,
    pub(super) requests: u64,
}

impl Http {
    pub(super) async fn connect(host: SocketAddr, token: String) -> io::Result<Self> {
        let stream = TcpStream::connect(host).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            host,
            token,
            buffer: Vec::new(),
            bytes: 0,
            requests: 0,
        })
    }

    /// Sends a request. `extra` are further header lines.
    pub(super) async fn request(
        &mut self,
        method: &str,
        path: &str,
        extra: &str,
        body: &str,
    ) -> io::Result<()> {
        let length = match body.len() {
            0 => String::new(),
            length => format!("content-length: {length}\r\n"),
        };
        let text = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n{extra}{length}\r\n{body}",
            self.host, self.token
        );
        self.requests += 1;
        self.write(text.as_bytes()).await
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        self.stream.write_all(bytes).await
    }

    /// Returns the next bytes, of any kind. Cancel safe.
    pub(super) async fn read(&mut self) -> io::Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.fill().await?;
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    async fn fill(&mut self) -> io::Result<()> {
        let length = self.stream.read_buf(&mut self.buffer).await?;
        self.bytes += length as u64;
        match length {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Reads the status and the headers of a response.
    pub(super) async fn head(&mut self) -> io::Result<(u16, String)> {
        let end = loop {
            if let Some(end) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
            self.fill().await?;
        };
        let head = self.buffer.drain(..end).collect::<Vec<u8>>();
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        Ok((status.ok_or(ErrorKind::InvalidData)?, head))
    }

    /// Reads a whole response with a content length.
    pub(super) async fn response(&mut self) -> io::Result<Vec<u8>> {
        let (status, head) = self.head().await?;
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length = length.and_then(|length| length.trim().parse().ok());
        let length = length.unwrap_or(0);
        while self.buffer.len() < length {
            self.fill().await?;
        }
        let body: Vec<u8> = self.buffer.drain(..length).collect();
        if status >= 400 {
            return Err(io::Error::other(format!(
                "status {status}: {}",
                String::from_utf8_lossy(&body)
            )));
        }
        Ok(body)
    }
}
