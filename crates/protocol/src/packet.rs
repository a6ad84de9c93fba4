//! The packets that nodes exchange over a room's channel: a short text header, then the bytes that
//! clients get, so that no receiving node encodes JSON again.
//!
//! ```text
//! 1 E EPOCH FIRST COUNT TS PREVIOUS\n  then COUNT times  MESSAGE LENGTH\n FRAME  numbered events
//! 1 P {"version":…,"count":…,"joined":[…],"left":[…]}                 who came and went
//! 1 S CONNECTION\n FRAME                                             not stored, not to its sender
//! 1 R EPOCH OFFSET                                                    a new life begins
//! 1 A                                                                 who may be here has changed
//! ```

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{ConnectionId, Envelope, Epoch, Frame, MessageId, Position, User};

/// The users who came to a room and left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceDelta {
    /// Counts the changes of a room's presence; a step of more than one means that one was lost.
    pub version: u64,
    /// Which list of users this is a change of. Another number than before means that the broker has lost
    /// the list and nodes fill a new one. 0: not known.
    #[serde(default)]
    pub registry: u64,
    /// Users present after this change.
    pub count: u64,
    /// The users who came.
    #[serde(default)]
    pub joined: Vec<User>,
    /// The users who left.
    #[serde(default)]
    pub left: Vec<User>,
}

/// One payload of a room's channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// Numbered events, in order, of one epoch.
    Events {
        /// When they were stored, in milliseconds since 1970 by the broker's clock.
        ts: u64,
        /// At least one.
        events: Vec<Envelope>,
    },
    /// A presence change.
    Presence(PresenceDelta),
    /// A frame for the moment (typing): not stored, and not for the connection that made it.
    Signal {
        /// The connection that sent it.
        origin: ConnectionId,
        /// The frame for members.
        frame: Frame,
    },
    /// The room starts over at this position.
    Reset(Position),
    /// Access to the room has changed.
    Access,
}

/// A payload that no node of this version writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed packet: {0}")]
pub struct PacketError(&'static str);

impl Packet {
    /// Writes a signal. The other kinds are written by the broker's scripts.
    #[must_use]
    pub fn encode_signal(origin: &ConnectionId, frame: &Frame) -> Vec<u8> {
        let mut bytes = format!("1 S {origin}\n").into_bytes();
        bytes.extend_from_slice(frame.as_bytes());
        bytes
    }

    /// Says that who may be in the room has changed.
    pub const ACCESS: &[u8] = b"1 A";

    /// Reads a payload; frames share its memory.
    ///
    /// # Errors
    /// [`PacketError`] when it breaks the format above: the room is then in doubt.
    pub fn decode(payload: &Bytes) -> Result<Self, PacketError> {
        let mut reader = Reader { payload, read: 0 };
        if reader.word()? != "1" {
            return Err(PacketError("version"));
        }
        match reader.word()? {
            "E" => reader.events(),
            "P" => serde_json::from_slice(reader.left())
                .map(Self::Presence)
                .map_err(|_| PacketError("presence")),
            "S" => {
                let origin =
                    ConnectionId::new(reader.word()?).map_err(|_| PacketError("connection"))?;
                Ok(Self::Signal {
                    origin,
                    frame: reader.rest()?,
                })
            }
            "R" => {
                let epoch = reader.epoch()?;
                Ok(Self::Reset(Position {
                    epoch,
                    offset: reader.number()?,
                }))
            }
            "A" => Ok(Self::Access),
            _ => Err(PacketError("kind")),
        }
    }
}

/// Takes words and frames off the front of a payload.
struct Reader<'a> {
    payload: &'a Bytes,
    /// Bytes that were taken.
    read: usize,
}

impl<'a> Reader<'a> {
    fn left(&self) -> &'a [u8] {
        &self.payload[self.read..]
    }

    /// The next word, up to a space, a line's end or the payload's end, which it consumes.
    fn word(&mut self) -> Result<&'a str, PacketError> {
        let left = self.left();
        let end = left.iter().position(|b| b" \n".contains(b));
        let end = end.unwrap_or(left.len());
        self.read = (self.read + end + 1).min(self.payload.len());
        std::str::from_utf8(&left[..end]).map_err(|_| PacketError("header is not text"))
    }

    fn number(&mut self) -> Result<u64, PacketError> {
        self.word()?.parse().map_err(|_| PacketError("number"))
    }

    fn epoch(&mut self) -> Result<Epoch, PacketError> {
        Epoch::new(self.word()?).map_err(|_| PacketError("epoch"))
    }

    fn rest(&mut self) -> Result<Frame, PacketError> {
        self.frame(self.left().len())
    }

    fn frame(&mut self, length: usize) -> Result<Frame, PacketError> {
        if length > self.left().len() {
            return Err(PacketError("cut off"));
        }
        let begin = self.read;
        self.read += length;
        let bytes = self.payload.slice(begin..self.read);
        Frame::from_json(bytes).ok_or(PacketError("frame is not text"))
    }

    fn events(&mut self) -> Result<Packet, PacketError> {
        let (epoch, first, count) = (self.epoch()?, self.number()?, self.number()?);
        let ts = self.number()?;
        // `-`: the stream's life begins here, or nobody remembers.
        let mut previous = MessageId::new(self.word()?)
            .ok()
            .filter(|id| id.as_str() != "-");
        let mut events = Vec::new();
        for index in 0..count {
            let message = MessageId::new(self.word()?).map_err(|_| PacketError("message id"))?;
            let length = usize::try_from(self.number()?).map_err(|_| PacketError("length"))?;
            let frame = self.frame(length)?;
            let offset = first.checked_add(index).ok_or(PacketError("offset"))?;
            let position = Position {
                epoch: epoch.clone(),
                offset,
            };
            let before = previous.replace(message.clone());
            events.push(Envelope {
                position,
                message,
                previous: before,
                frame,
            });
        }
        Ok(Packet::Events { ts, events })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_with_consecutive_offsets() {
        let payload = Bytes::from_static(b"1 E k3f9 58 2 1763 -\nA1 7\n{\"a\":1}B2 4\n{  }");
        let Packet::Events { ts: 1763, events } = Packet::decode(&payload).unwrap() else {
            panic!()
        };
        let seen: Vec<_> = events
            .iter()
            .map(|e| (e.position.offset, e.message.as_str(), e.frame.as_str()))
            .collect();
        assert_eq!(seen, [(58, "A1", "{\"a\":1}"), (59, "B2", "{  }")]);
    }

    #[test]
    fn the_other_kinds_are_read() {
        let connection = ConnectionId::generate();
        let frame = Frame::from_json(Bytes::from_static(b"{\"x\":\"a b\\n\"}")).unwrap();
        let signal = Packet::encode_signal(&connection, &frame);
        assert_eq!(
            Packet::decode(&signal.into()).unwrap(),
            Packet::Signal {
                origin: connection,
                frame
            }
        );
        let reset = Packet::decode(&Bytes::from_static(b"1 R m7q2 12")).unwrap();
        assert_eq!(
            reset,
            Packet::Reset(Position {
                epoch: Epoch::new("m7q2").unwrap(),
                offset: 12
            })
        );
        let presence =
            Bytes::from_static(br#"1 P {"version":3,"count":1,"left":[{"id":"b","name":"B"}]}"#);
        let Packet::Presence(delta) = Packet::decode(&presence).unwrap() else {
            panic!()
        };
        assert_eq!((delta.version, delta.count, delta.left.len()), (3, 1, 1));
    }

    #[test]
    fn whatever_is_cut_or_foreign_is_an_error() {
        let whole = b"1 E k3f9 58 2 1763 -\nA1 7\n{\"a\":1}B2 4\n{  }";
        for end in 0..whole.len() {
            let cut = Bytes::copy_from_slice(&whole[..end]);
            assert!(Packet::decode(&cut).is_err(), "{end}");
        }
        for foreign in [
            "2 E a 1 0 1",
            "1 X",
            "hello",
            "1 E a 1 99999999999\nA1 1\n1",
        ] {
            assert!(Packet::decode(&Bytes::from(foreign)).is_err(), "{foreign}");
        }
    }
}
