//! The socket of an event stream: what is written goes out in chunks, what comes in means nothing
//! until it ends.

use std::io::{self, ErrorKind};
use std::time::Duration;

use hubbub_protocol::CloseCode;
use tokio::io::AsyncWriteExt;

use crate::hijack::Hijacked;
use crate::pipe::Pipe;

/// Room for a chunk's length before it is known.
const CHUNK: &[u8] = b"00000000\r\n";
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// How hyper ends an answer whose body, in chunks, was empty.
const EMPTY_BODY: &[u8] = b"\r\n\r\n0\r\n\r\n";
/// Bytes that a client may send after its request.
const MOST_BYTES: usize = 16 * 1024;
/// How long a closing connection waits for the other side.
const PATIENCE: Duration = Duration::from_secs(5);

/// How the client went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    /// It closed the connection.
    Closed,
    /// The connection broke.
    Broken,
    /// It talks and does not listen.
    Talks,
}

/// The stream of one client.
#[derive(Debug)]
pub(super) struct EventStream {
    pipe: Pipe,
    /// HTTP/1.0 knows no chunks.
    chunked: bool,
}

impl EventStream {
    /// Takes over after the head of the answer, which is still to be written.
    pub(super) fn new(taken: Hijacked) -> (Self, Vec<u8>) {
        let Hijacked {
            stream,
            mut written,
        } = taken;
        let chunked = written.ends_with(EMPTY_BODY);
        if chunked {
            written.truncate(written.len() - LAST_CHUNK.len());
        }
        let stream = Self {
            pipe: stream,
            chunked,
        };
        (stream, written)
    }

    /// Begins what is written at once.
    pub(super) fn begin(&self, out: &mut Vec<u8>) -> usize {
        let start = out.len();
        if self.chunked {
            out.extend_from_slice(CHUNK);
        }
        start
    }

    /// Ends it; `start` is what [`Self::begin`] gave.
    pub(super) fn end(&self, start: usize, out: &mut Vec<u8>) {
        if self.chunked {
            let digits = CHUNK.len() - 2;
            let length = out.len() - start - CHUNK.len();
            let length = format!("{length:0digits$x}");
            out[start..start + digits].copy_from_slice(length.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Writes as much as the socket takes now; how much that was.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self.pipe.try_write(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            written => written,
        }
    }

    /// Waits until the socket may take more. Cancel safe.
    pub(super) async fn writable(&self) -> io::Result<()> {
        self.pipe.writable().await
    }

    /// Waits until the client has gone. Cancel safe but for the count of what it says.
    pub(super) async fn gone(&self) -> Gone {
        let mut heard = 0;
        loop {
            if self.pipe.readable().await.is_err() {
                return Gone::Broken;
            }
            match self.discard() {
                Ok(0) => return Gone::Closed,
                Ok(bytes) => heard += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Gone::Broken,
            }
            if heard > MOST_BYTES {
                return Gone::Talks;
            }
        }
    }

    fn discard(&self) -> io::Result<usize> {
        self.pipe.try_read(&mut [0; 1024])
    }

    /// Writes `last`, ends the stream and waits, for at most 5 s, until the client has gone too.
    pub(super) async fn finish(mut self, code: CloseCode, mut last: Vec<u8>) {
        if self.chunked {
            last.extend_from_slice(LAST_CHUNK);
        }
        // A client that takes no byte for `write_timeout` gets the one try that costs nothing.
        if code == CloseCode::Slow {
            drop(self.try_write(&last));
            return;
        }
        let farewell = async {
            self.pipe.write_all(&last).await?;
            // Closing with bytes unread would reset the connection, and our last words be lost.
            self.pipe.shutdown().await?;
            self.gone().await;
            Ok::<(), io::Error>(())
        };
        // An error means that the other side has gone: which is what was waited for.
        drop(tokio::time::timeout(PATIENCE, farewell).await);
    }
}
