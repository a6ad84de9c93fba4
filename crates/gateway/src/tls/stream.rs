//! One TLS connection over a TCP stream, driven without waiting: it keeps rustls's state and what is
//! on its way, and no buffer of its own.

use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::{Mutex, MutexGuard};
use rustls::{ServerConfig, ServerConnection};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

/// Encrypted at once: one record.
const CHUNK: usize = 16 * 1024;

/// The stream and its TLS state, locked for as long as one call takes: delivery may write while the
/// connection's task reads.
#[derive(Debug)]
pub(crate) struct TlsStream {
    tcp: TcpStream,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    connection: ServerConnection,
    /// Bytes that were encrypted and not counted as written yet, because the socket took no more.
    owed: usize,
    said_goodbye: bool,
}

/// The TCP stream for rustls.
struct Socket<'a>(&'a TcpStream);

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl State {
    /// Sends what rustls has ready.
    fn flush(&mut self, tcp: &TcpStream) -> io::Result<()> {
        while self.connection.wants_write() {
            if self.connection.write_tls(&mut Socket(tcp))? == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    /// The same, but what the socket does not take now may wait.
    fn flush_some(&mut self, tcp: &TcpStream) -> io::Result<()> {
        match self.flush(tcp) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            flushed => flushed,
        }
    }

    /// Reads once from the socket; `false`: its end.
    fn receive(&mut self, tcp: &TcpStream) -> io::Result<bool> {
        if self.connection.read_tls(&mut Socket(tcp))? == 0 {
            return Ok(false);
        }
        let processed = self.connection.process_new_packets();
        let answered = self.flush_some(tcp);
        // The client's mistake counts for more than that it has gone.
        processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        answered.map(|()| true)
    }
}

impl TlsStream {
    /// Shakes hands.
    ///
    /// # Errors
    /// The client's fault, which it was told by an alert.
    pub(crate) async fn accept(tcp: TcpStream, config: Arc<ServerConfig>) -> io::Result<Box<Self>> {
        let connection = ServerConnection::new(config).map_err(io::Error::other)?;
        let state = State {
            connection,
            owed: 0,
            said_goodbye: false,
        };
        let stream = Box::new(Self {
            tcp,
            state: Mutex::new(state),
        });
        poll_fn(|context| stream.poll_handshake(context)).await?;
        Ok(stream)
    }

    pub(super) fn poll_handshake(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        loop {
            match state.flush(&self.tcp) {
                Ok(()) if !state.connection.is_handshaking() => return Poll::Ready(Ok(())),
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    ready!(self.tcp.poll_write_ready(context))?;
                    continue;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
            match state.receive(&self.tcp) {
                Ok(true) => {}
                Ok(false) => return Poll::Ready(Err(ErrorKind::UnexpectedEof.into())),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    ready!(self.tcp.poll_read_ready(context))?;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// See [`crate::pipe::Pipe::try_read`].
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state();
        loop {
            match state.connection.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            if !state.receive(&self.tcp)? {
                return Ok(0);
            }
        }
    }

    /// See [`crate::pipe::Pipe::try_write`]. What has been encrypted is counted as written once the
    /// socket has it, so that nobody takes for sent what still waits here.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.state();
        state.flush(&self.tcp)?;
        if state.owed == 0 {
            let chunk = &bytes[..bytes.len().min(CHUNK)];
            state.owed = state.connection.writer().write(chunk)?;
            state.flush(&self.tcp)?;
        }
        Ok(std::mem::take(&mut state.owed))
    }

    /// As `AsyncWrite` has it: counted when encrypted.
    pub(crate) fn poll_write(
        &self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(context))?;
        let mut state = self.state();
        state.owed = 0;
        let chunk = &bytes[..bytes.len().min(CHUNK)];
        let written = state.connection.writer().write(chunk)?;
        state.flush_some(&self.tcp)?;
        Poll::Ready(Ok(written))
    }

    pub(crate) fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        loop {
            match state.flush(&self.tcp) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    ready!(self.tcp.poll_write_ready(context))?;
                }
                flushed => return Poll::Ready(flushed),
            }
        }
    }

    /// Says goodbye in TLS; TCP goes on.
    pub(crate) fn poll_goodbye(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        {
            let mut state = self.state();
            if !state.said_goodbye {
                state.said_goodbye = true;
                state.connection.send_close_notify();
            }
        }
        self.poll_flush(context)
    }

    /// Says goodbye in TLS, then in TCP.
    pub(crate) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_goodbye(context))?;
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}
