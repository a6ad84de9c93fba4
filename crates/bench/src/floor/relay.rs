//! The lowest possible cost of a cluster: each message goes through a bare PUBLISH, and each node
//! sends what it receives from Redis. Nothing is numbered, stored, checked or answered.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::worker::Poller;

/// A node's two connections to Redis: a subscribed connection takes no other commands.
pub(super) struct Relay {
    commands: TcpStream,
    pushes: TcpStream,
    /// Received bytes of an incomplete push.
    bytes: Vec<u8>,
}

impl Relay {
    pub(super) const COMMANDS: usize = usize::MAX >> 2;
    pub(super) const PUSHES: usize = Self::COMMANDS + 1;

    pub(super) fn connect(redis: SocketAddr, poller: &Poller) -> io::Result<Self> {
        let connect = |key| {
            let stream = TcpStream::connect(redis)?;
            stream.set_nodelay(true)?;
            poller.add(&stream, key, false)?;
            io::Result::Ok(stream)
        };
        let relay = Self {
            commands: connect(Self::COMMANDS)?,
            pushes: connect(Self::PUSHES)?,
            bytes: Vec::new(),
        };
        Ok(relay)
    }

    pub(super) fn subscribe(&mut self, channel: &str) -> io::Result<()> {
        self.pushes
            .write_all(&command(&[b"SUBSCRIBE", channel.as_bytes()]))
    }

    pub(super) fn publish(&mut self, channel: &str, payload: &[u8]) -> io::Result<()> {
        self.commands
            .write_all(&command(&[b"PUBLISH", channel.as_bytes(), payload]))
    }

    /// Reads the answers to commands and discards them.
    pub(super) fn read_answers(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        let length = self.commands.read(&mut buffer)?;
        let answers = &buffer[..length];
        // Each answer is `:SUBSCRIBERS` and may come in parts.
        if length > 0 && !answers.contains(&b'-') {
            return Ok(());
        }
        let answers = String::from_utf8_lossy(answers);
        Err(io::Error::other(format!(
            "Redis answered with an error: {answers}"
        )))
    }

    /// Passes on each channel and payload that came.
    pub(super) fn receive(&mut self, mut each: impl FnMut(&[u8], &[u8])) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        match self.pushes.read(&mut buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            length => self.bytes.extend_from_slice(&buffer[..length]),
        }
        let mut left = &self.bytes[..];
        while let Some((push, rest)) = read_push(left) {
            if let [b"message", channel, payload] = push {
                each(channel, payload);
            }
            left = rest;
        }
        let taken = self.bytes.len() - left.len();
        self.bytes.drain(..taken);
        Ok(())
    }
}

fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Reads an array of three and returns it with the bytes after it; `None` if it is incomplete.
fn read_push(bytes: &[u8]) -> Option<([&[u8]; 3], &[u8])> {
    let (_, mut left) = read_line(bytes)?;
    let mut words = [&b""[..]; 3];
    for word in &mut words {
        let (head, rest) = read_line(left)?;
        left = rest;
        if let Some(length) = head.strip_prefix(b"$") {
            let length: usize = std::str::from_utf8(length).ok()?.parse().ok()?;
            *word = left.get(..length)?;
            left = left.get(length + 2..)?;
        }
    }
    Some((words, left))
}

fn read_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memmem::find(bytes, b"\r\n")?;
    Some((&bytes[..end], &bytes[end + 2..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushes_are_read_when_they_are_whole() {
        let bytes = b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n";
        let (first, rest) = read_push(bytes).unwrap();
        assert_eq!(first, [&b"subscribe"[..], b"a", b""]);
        for cut in 0..rest.len() {
            assert_eq!(read_push(&rest[..cut]), None);
        }
        let whole = ([&b"message"[..], b"a", b"hi"], &b""[..]);
        assert_eq!(read_push(rest), Some(whole));
    }
}
