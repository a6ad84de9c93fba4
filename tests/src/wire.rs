//! WebSocket frames built by hand, valid and invalid, over a bare TCP connection.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::deadline::within;

/// How long a frame or the end may take: several times the largest limit of the server.
const FRAME: Duration = Duration::from_secs(20);

/// Opcodes.
pub mod op {
    /// The next fragment.
    pub const CONTINUATION: u8 = 0x0;
    /// Text.
    pub const TEXT: u8 = 0x1;
    /// Bytes.
    pub const BINARY: u8 = 0x2;
    /// Close.
    pub const CLOSE: u8 = 0x8;
    /// Ping.
    pub const PING: u8 = 0x9;
    /// Pong.
    pub const PONG: u8 = 0xA;
}

/// One frame to be written.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The first byte: FIN, three reserved bits, the opcode.
    pub first: u8,
    /// Whether the payload is masked, as a client's must be.
    pub masked: bool,
    /// The length in the header; `None` for the true one.
    pub claim: Option<u64>,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A whole, masked frame.
    #[must_use]
    pub fn new(opcode: u8, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            first: 0x80 | opcode,
            masked: true,
            claim: None,
            payload: payload.into(),
        }
    }

    /// The same without FIN, so that more fragments follow.
    #[must_use]
    pub fn fragment(opcode: u8, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            first: opcode,
            ..Self::new(opcode, payload)
        }
    }

    /// A close frame with a code.
    #[must_use]
    pub fn close(code: u16, reason: &[u8]) -> Self {
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend_from_slice(reason);
        Self::new(op::CLOSE, payload)
    }

    /// The bytes of the frame.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let length = self.claim.unwrap_or(self.payload.len() as u64);
        let mask_bit = if self.masked { 0x80 } else { 0 };
        let mut bytes = vec![self.first];
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short), _) if short < 126 => bytes.push(mask_bit | short),
            (_, Ok(medium)) => {
                bytes.push(mask_bit | 126);
                bytes.extend_from_slice(&medium.to_be_bytes());
            }
            _ => {
                bytes.push(mask_bit | 127);
                bytes.extend_from_slice(&length.to_be_bytes());
            }
        }
        if !self.masked {
            bytes.extend_from_slice(&self.payload);
            return bytes;
        }
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        bytes.extend_from_slice(&mask);
        let masked = self.payload.iter().zip(mask.iter().cycle());
        bytes.extend(masked.map(|(byte, mask)| byte ^ mask));
        bytes
    }
}

/// A frame from the server, or the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// A text frame.
    Text(String),
    /// A binary frame.
    Binary(Vec<u8>),
    /// A close frame with code and reason; the code is 0 if there is none.
    Close(u16, String),
    /// A ping.
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// The end of the stream, or a reset.
    End,
}

/// A connection after its upgrade.
#[derive(Debug)]
pub struct Wire {
    socket: TcpStream,
}

/// The request of a valid upgrade. Each of `more` ends its line.
#[must_use]
pub fn upgrade(address: SocketAddr, more: &str) -> String {
    format!(
        "GET /v1/ws HTTP/1.1\r\nhost: {address}\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n{more}\r\n"
    )
}

impl Wire {
    /// Connects as a new guest and skips `welcome`.
    pub async fn open(address: SocketAddr) -> Self {
        let mut wire = Self::open_silent(address).await;
        let welcome = wire.read().await;
        assert!(
            matches!(&welcome, Read::Text(text) if text.contains(r#""type":"welcome""#)),
            "{welcome:?}"
        );
        wire
    }

    /// Connects and reads nothing after the answer to the upgrade.
    ///
    /// # Panics
    /// Panics if there is no upgrade.
    pub async fn open_silent(address: SocketAddr) -> Self {
        Self::open_at(address, "/v1/ws").await
    }

    /// The same with another path.
    ///
    /// # Panics
    /// Panics if there is no upgrade.
    pub async fn open_at(address: SocketAddr, path: &str) -> Self {
        let mut socket = TcpStream::connect(address).await.expect("the node listens");
        let request = upgrade(address, "").replacen("/v1/ws", path, 1);
        socket
            .write_all(request.as_bytes())
            .await
            .expect("the node reads");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = within("the upgrade's answer", FRAME, socket.read_u8()).await;
            head.push(byte.expect("an answer"));
        }
        let head = String::from_utf8_lossy(&head);
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        Self { socket }
    }

    /// Writes bytes unchanged.
    pub async fn write(&mut self, bytes: &[u8]) {
        // A server that refuses the bytes closes meanwhile. The test reads its frame later.
        let _ = self.socket.write_all(bytes).await;
    }

    /// Writes a frame.
    pub async fn send(&mut self, frame: &Frame) {
        self.write(&frame.bytes()).await;
    }

    /// Returns the next frame of the server, or the end.
    ///
    /// # Panics
    /// Panics if nothing comes in time.
    pub async fn read(&mut self) -> Read {
        let read = within("a frame or the end", FRAME, self.read_frame());
        read.await.unwrap_or(Read::End)
    }

    async fn read_frame(&mut self) -> std::io::Result<Read> {
        let first = self.socket.read_u8().await?;
        let second = self.socket.read_u8().await?;
        assert_eq!(second & 0x80, 0, "a server does not mask");
        let length = match second {
            126 => u64::from(self.socket.read_u16().await?),
            127 => self.socket.read_u64().await?,
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).expect("the length fits")];
        self.socket.read_exact(&mut payload).await?;
        Ok(match first {
            0x81 => Read::Text(String::from_utf8(payload).expect("text is UTF-8")),
            0x82 => Read::Binary(payload),
            0x88 => {
                let code = payload
                    .get(..2)
                    .map_or(0, |code| u16::from_be_bytes([code[0], code[1]]));
                let reason = payload.get(2..).unwrap_or_default();
                Read::Close(code, String::from_utf8_lossy(reason).into_owned())
            }
            0x89 => Read::Ping(payload),
            0x8A => Read::Pong(payload),
            other => panic!("the server wrote a frame that begins with {other:#x}"),
        })
    }

    /// Skips texts and pings. Returns the code of the close frame.
    ///
    /// # Panics
    /// Panics if the connection ends without one.
    pub async fn close_code(&mut self) -> u16 {
        loop {
            match self.read().await {
                Read::Close(code, _) => return code,
                Read::End => panic!("the connection ended without a close frame"),
                Read::Text(_) | Read::Binary(_) | Read::Ping(_) | Read::Pong(_) => {}
            }
        }
    }

    /// Waits until the connection has ended.
    pub async fn wait_end(&mut self) {
        while self.read().await != Read::End {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_masks_are_as_in_the_rfc() {
        let masked = Frame::new(op::TEXT, "Hello").bytes();
        assert_eq!(
            masked,
            [
                0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58
            ]
        );
        let mut plain = Frame::new(op::BINARY, vec![0; 256]);
        plain.masked = false;
        assert_eq!(plain.bytes()[..4], [0x82, 0x7e, 0x01, 0x00]);
        plain.payload = vec![0; 65_536];
        assert_eq!(plain.bytes()[..10], [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
    }
}
