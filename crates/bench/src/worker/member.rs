//! One member: a bare socket that keeps no buffer unless a frame is incomplete.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::poller::Poller;
use super::wire;
use crate::tally::Progress;

/// Bytes that may wait for a server that reads nothing; beyond this the connection counts as lost.
const UNSENT_BYTES: usize = 1 << 20;

/// The stage of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Stage {
    #[default]
    Disconnected,
    Connecting,
    /// The request for the upgrade is sent.
    Upgrading,
    Upgraded,
    Welcome,
    Joined,
}

#[derive(Debug, Default)]
pub(crate) struct Member {
    pub(crate) number: usize,
    pub(crate) stage: Stage,
    pub(crate) progress: Progress,
    /// The server's ID of this connection, if a join needs it.
    pub(crate) socket: Box<str>,
    stream: Option<TcpStream>,
    input: Vec<u8>,
    output: Vec<u8>,
    awaits_writable: bool,
}

impl Member {
    /// A member that is not connected yet. `node` is the node it will connect to.
    pub(crate) fn new(number: usize, node: usize) -> Self {
        Self {
            number,
            progress: Progress::new(node),
            ..Self::default()
        }
    }

    /// Begins to connect. The poller reports when the socket is connected.
    pub(crate) fn connect(
        &mut self,
        to: SocketAddr,
        from: Option<IpAddr>,
        poller: &Poller,
        key: usize,
    ) -> io::Result<()> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(from) = from {
            socket.bind(&SocketAddr::new(from, 0).into())?;
        }
        match socket.connect(&to.into()) {
            Ok(()) => {}
            // EINPROGRESS has no kind of its own.
            Err(error) if error.raw_os_error() == Some(115) => {}
            Err(error) => return Err(error),
        }
        let stream = TcpStream::from(socket);
        poller.add(&stream, key, true)?;
        self.stream = Some(stream);
        self.stage = Stage::Connecting;
        self.awaits_writable = true;
        self.input = Vec::new();
        self.output = Vec::new();
        Ok(())
    }

    /// Checks whether the connection succeeded. The error says why it did not.
    pub(crate) fn has_connected(&self) -> io::Result<()> {
        match &self.stream {
            Some(stream) => stream.take_error()?.map_or(Ok(()), Err),
            None => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// Reads once, after the kept bytes, and returns how much of `buffer` is filled.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(mut stream) = self.stream.as_ref() else {
            return Err(ErrorKind::NotConnected.into());
        };
        let kept = self.input.len();
        buffer[..kept].copy_from_slice(&self.input);
        match stream.read(&mut buffer[kept..]) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => Ok(kept + length),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(kept),
            Err(error) => Err(error),
        }
    }

    /// Keeps the bytes of an incomplete frame.
    pub(crate) fn keep(&mut self, rest: &[u8]) {
        if rest.is_empty() {
            self.input = Vec::new();
        } else {
            self.input = rest.to_vec();
        }
    }

    pub(crate) fn send_text(&mut self, text: &str, poller: &Poller, key: usize) -> io::Result<()> {
        self.frame(1, text.as_bytes(), poller, key)
    }

    pub(crate) fn pong(&mut self, payload: &[u8], poller: &Poller, key: usize) -> io::Result<()> {
        self.frame(10, payload, poller, key)
    }

    fn frame(&mut self, opcode: u8, payload: &[u8], poller: &Poller, key: usize) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(payload.len() + 14);
        wire::write(&mut bytes, opcode, payload);
        self.write(&bytes, poller, key)
    }

    /// Writes what the socket takes and keeps the rest until the socket is writable.
    pub(crate) fn write(&mut self, bytes: &[u8], poller: &Poller, key: usize) -> io::Result<()> {
        if self.output.len() + bytes.len() > UNSENT_BYTES {
            return Err(ErrorKind::TimedOut.into());
        }
        self.output.extend_from_slice(bytes);
        self.flush(poller, key)
    }

    pub(crate) fn flush(&mut self, poller: &Poller, key: usize) -> io::Result<()> {
        let Some(mut stream) = self.stream.as_ref() else {
            return Err(ErrorKind::NotConnected.into());
        };
        let mut written = 0;
        while written < self.output.len() {
            match stream.write(&self.output[written..]) {
                Ok(length) => written += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.output.drain(..written);
        if self.output.is_empty() {
            self.output = Vec::new();
        }
        let awaits_writable = !self.output.is_empty();
        if awaits_writable != self.awaits_writable {
            poller.change(stream, key, awaits_writable)?;
            self.awaits_writable = awaits_writable;
        }
        Ok(())
    }

    /// Closes at once; with `reset`, so that neither side keeps the port.
    pub(crate) fn disconnect(&mut self, reset: bool) {
        if let Some(stream) = self.stream.take() {
            let socket = Socket::from(stream);
            if reset {
                // This fails only on a connection that is already closed.
                drop(socket.set_linger(Some(Duration::ZERO)));
            }
        }
        self.input = Vec::new();
        self.output = Vec::new();
        self.stage = Stage::Disconnected;
    }
}
