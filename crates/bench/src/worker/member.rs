//! One member: a bare socket that keeps no buffer while nothing is incomplete.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::poller::Poller;
use super::wire;
use crate::tally::Heard;

/// What may wait for a server that reads nothing; beyond, it counts as gone.
const UNSENT_BYTES: usize = 1 << 20;

/// How far a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Stage {
    #[default]
    Away,
    Connecting,
    /// The request for the upgrade is out.
    Shaking,
    Upgraded,
    Welcome,
    Joined,
}

#[derive(Debug, Default)]
pub(crate) struct Member {
    pub(crate) number: usize,
    pub(crate) stage: Stage,
    pub(crate) heard: Heard,
    /// What the server calls its connection, where a join wants to know.
    pub(crate) socket: Box<str>,
    stream: Option<TcpStream>,
    input: Vec<u8>,
    output: Vec<u8>,
    awaits_room: bool,
}

impl Member {
    /// Somebody who is not connected yet; `node` is where it will be.
    pub(crate) fn new(number: usize, node: usize) -> Self {
        Self {
            number,
            heard: Heard::new(node),
            ..Self::default()
        }
    }

    /// Begins to connect; the poller says when it has.
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
        self.awaits_room = true;
        self.input = Vec::new();
        self.output = Vec::new();
        Ok(())
    }

    /// Whether the connection stands, or why it does not.
    pub(crate) fn has_connected(&self) -> io::Result<()> {
        match &self.stream {
            Some(stream) => stream.take_error()?.map_or(Ok(()), Err),
            None => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// Reads once, behind what was kept, and says how much of `buffer` is filled.
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

    /// Keeps what is incomplete.
    pub(crate) fn keep(&mut self, rest: &[u8]) {
        if rest.is_empty() {
            self.input = Vec::new();
        } else {
            self.input = rest.to_vec();
        }
    }

    pub(crate) fn say(&mut self, text: &str, poller: &Poller, key: usize) -> io::Result<()> {
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

    /// Writes what it can and keeps the rest for when there is room.
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
        let awaits_room = !self.output.is_empty();
        if awaits_room != self.awaits_room {
            poller.change(stream, key, awaits_room)?;
            self.awaits_room = awaits_room;
        }
        Ok(())
    }

    /// Closes at once; `reset`: so that no side keeps the port.
    pub(crate) fn leave(&mut self, reset: bool) {
        if let Some(stream) = self.stream.take() {
            let socket = Socket::from(stream);
            if reset {
                // It fails only on a connection that has gone already.
                drop(socket.set_linger(Some(Duration::ZERO)));
            }
        }
        self.input = Vec::new();
        self.output = Vec::new();
        self.stage = Stage::Away;
    }
}
