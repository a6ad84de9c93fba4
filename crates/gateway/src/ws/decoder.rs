//! From a client's bytes to its messages (RFC 6455): nothing is kept between messages.

use hubbub_protocol::CloseCode;

use super::wire::{Opcode, unmask};

/// The longest payload of a control frame.
const MAX_CONTROL_BYTES: usize = 125;
/// Messages up to this size are read into the connection's own memory; a longer one has to be paid for
/// first. It is what one read of a socket brings, and what a body may have by default: so hardly any
/// message of a chat has to be paid for, and all connections that one address may have hold 3 MB.
pub(crate) const FREE_BYTES: usize = 16 * 1024;

/// A message of a client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// A message of up to so many bytes is on its way: nothing more is read before
    /// [`Decoder::admit`].
    Large(usize),
    /// A whole message.
    Text(String),
    /// A whole message, where [`MessageLimits::binary`] allows it.
    Binary(Vec<u8>),
    /// To be answered by a pong with the same payload.
    Ping(Vec<u8>),
    Pong,
    /// The code, if there was one.
    Close(Option<u16>),
}

/// Turns bytes into messages. Its buffers are as large as what is incomplete, and given back as
/// soon as nothing is.
#[derive(Debug)]
pub(crate) struct Decoder {
    input: Vec<u8>,
    /// Where in `input` the next frame begins.
    start: usize,
    /// The fragments of an incomplete message, unmasked.
    message: Vec<u8>,
    /// How much of `message` is known to be UTF-8.
    checked: usize,
    /// How many fragments came; 0: no message is open.
    fragments: u32,
    /// The open message is binary.
    is_binary: bool,
    /// Bytes that the message on its way may have beyond [`FREE_BYTES`].
    admitted: usize,
    limits: MessageLimits,
}

/// The limits of one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageLimits {
    /// Beyond: close 1009, before it has arrived.
    pub(crate) bytes: usize,
    /// Beyond: close 1008; 0: any number.
    pub(crate) fragments: u32,
    /// Whether binary messages are taken; if not: close 1003.
    pub(crate) binary: bool,
}

#[derive(Debug, Clone, Copy)]
struct Header {
    fin: bool,
    opcode: Opcode,
    mask: [u8; 4],
    /// Bytes of the header itself.
    length: usize,
    payload: usize,
}

impl Decoder {
    pub(crate) fn new(limits: MessageLimits) -> Self {
        Self {
            input: Vec::new(),
            start: 0,
            message: Vec::new(),
            checked: 0,
            fragments: 0,
            is_binary: false,
            admitted: 0,
            limits,
        }
    }

    /// Lets the message that is on its way have so many bytes.
    pub(crate) fn admit(&mut self, bytes: usize) {
        self.admitted = bytes;
    }

    /// Takes what came from the socket.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.input.drain(..self.start);
            self.start = 0;
        }
        self.input.extend_from_slice(bytes);
    }

    /// Whether a part of something is here and the rest is not, once [`Self::next`] has given all
    /// there is.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.fragments > 0 || !self.input.is_empty()
    }

    /// The next message or control frame, if it is here as a whole.
    ///
    /// # Errors
    /// The code to close with: after a violation nothing further can be read.
    pub(crate) fn next(&mut self) -> Result<Option<Incoming>, CloseCode> {
        loop {
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            if let Some(bytes) = self.unpaid(header) {
                return Ok(Some(Incoming::Large(bytes)));
            }
            let begin = self.start + header.length;
            let end = begin + header.payload;
            if end > self.input.len() {
                return Ok(None);
            }
            let incoming = if header.opcode.is_control() {
                Some(control(
                    header.opcode,
                    unmask(&self.input[begin..end], header.mask),
                )?)
            } else {
                self.data(header, begin..end)?
            };
            self.consume(end);
            if incoming.is_some() {
                if !header.opcode.is_control() {
                    self.admitted = 0;
                }
                return Ok(incoming);
            }
        }
    }

    /// The size of a message that has to be paid for first. One in fragments may become as long as any.
    fn unpaid(&self, header: Header) -> Option<usize> {
        let bytes = self.message.len() + header.payload;
        if header.opcode.is_control() || bytes <= FREE_BYTES.max(self.admitted) {
            return None;
        }
        Some(if header.fin { bytes } else { self.limits.bytes })
    }

    fn consume(&mut self, end: usize) {
        self.start = end;
        if end == self.input.len() {
            self.input = Vec::new();
            self.start = 0;
        }
    }

    /// Reads and checks the header, before the payload is here.
    fn header(&self) -> Result<Option<Header>, CloseCode> {
        let bytes = &self.input[self.start..];
        let &[first, second, ref delay @ ..] = bytes else {
            return Ok(None);
        };
        let opcode = Opcode::from_bits(first & 0x0F).ok_or(CloseCode::ProtocolError)?;
        let (fin, reserved, masked) = (first & 0x80 != 0, first & 0x70, second & 0x80 != 0);
        if reserved != 0 || !masked {
            return Err(CloseCode::ProtocolError);
        }
        let short = usize::from(second & 0x7F);
        if opcode.is_control() && (!fin || short > MAX_CONTROL_BYTES) {
            return Err(CloseCode::ProtocolError);
        }
        self.check_order(opcode)?;
        let (claimed, delay) = match short {
            126 => match delay.split_first_chunk() {
                Some((length, delay)) => (u64::from(u16::from_be_bytes(*length)), delay),
                None => return Ok(None),
            },
            127 => match delay.split_first_chunk() {
                Some((length, delay)) => (u64::from_be_bytes(*length), delay),
                None => return Ok(None),
            },
            short => (short as u64, delay),
        };
        let payload = self.check_size(opcode, claimed)?;
        let Some((&mask, delay)) = delay.split_first_chunk() else {
            return Ok(None);
        };
        Ok(Some(Header {
            fin,
            opcode,
            mask,
            length: bytes.len() - delay.len(),
            payload,
        }))
    }

    /// A continuation must continue something, and nothing else may come in between.
    fn check_order(&self, opcode: Opcode) -> Result<(), CloseCode> {
        let open = self.fragments > 0;
        match opcode {
            Opcode::Continuation if !open => Err(CloseCode::ProtocolError),
            Opcode::Text | Opcode::Binary if open => Err(CloseCode::ProtocolError),
            Opcode::Binary if !self.limits.binary => Err(CloseCode::Unsupported),
            Opcode::Continuation if self.fragments == self.limits.fragments => {
                Err(CloseCode::Policy)
            }
            Opcode::Continuation
            | Opcode::Text
            | Opcode::Binary
            | Opcode::Close
            | Opcode::Ping
            | Opcode::Pong => Ok(()),
        }
    }

    fn check_size(&self, opcode: Opcode, claimed: u64) -> Result<usize, CloseCode> {
        if claimed >> 63 != 0 {
            return Err(CloseCode::ProtocolError);
        }
        let room = if opcode.is_control() {
            MAX_CONTROL_BYTES
        } else {
            self.limits.bytes - self.message.len()
        };
        match usize::try_from(claimed) {
            Ok(payload) if payload <= room => Ok(payload),
            _ => Err(CloseCode::TooBig),
        }
    }

    fn data(
        &mut self,
        header: Header,
        payload: std::ops::Range<usize>,
    ) -> Result<Option<Incoming>, CloseCode> {
        let payload = unmask(&self.input[payload], header.mask);
        if header.opcode != Opcode::Continuation {
            self.is_binary = header.opcode == Opcode::Binary;
        }
        if header.fin && self.fragments == 0 {
            return self.message(payload).map(Some);
        }
        self.fragments += 1;
        self.message.extend_from_slice(&payload);
        if !self.is_binary {
            self.check_utf8()?;
        }
        if !header.fin {
            return Ok(None);
        }
        self.fragments = 0;
        self.checked = 0;
        let payload = std::mem::take(&mut self.message);
        self.message(payload).map(Some)
    }

    fn message(&self, payload: Vec<u8>) -> Result<Incoming, CloseCode> {
        if self.is_binary {
            Ok(Incoming::Binary(payload))
        } else {
            text(payload)
        }
    }

    /// Finds bad text at once; a character cut by the fragment's end may still be completed.
    fn check_utf8(&mut self) -> Result<(), CloseCode> {
        match std::str::from_utf8(&self.message[self.checked..]) {
            Ok(_) => self.checked = self.message.len(),
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(CloseCode::BadData),
        }
        Ok(())
    }
}

fn text(payload: Vec<u8>) -> Result<Incoming, CloseCode> {
    String::from_utf8(payload)
        .map(Incoming::Text)
        .map_err(|_| CloseCode::BadData)
}

fn control(opcode: Opcode, payload: Vec<u8>) -> Result<Incoming, CloseCode> {
    match opcode {
        Opcode::Ping => Ok(Incoming::Ping(payload)),
        Opcode::Close => match payload.split_first_chunk() {
            None if payload.is_empty() => Ok(Incoming::Close(None)),
            None => Err(CloseCode::ProtocolError),
            Some((&code, reason)) => {
                let code = u16::from_be_bytes(code);
                if !is_sendable(code) {
                    return Err(CloseCode::ProtocolError);
                }
                std::str::from_utf8(reason).map_err(|_| CloseCode::BadData)?;
                Ok(Incoming::Close(Some(code)))
            }
        },
        Opcode::Pong | Opcode::Continuation | Opcode::Text | Opcode::Binary => Ok(Incoming::Pong),
    }
}

/// Codes that may stand in a close frame; 1004 to 1006 and 1015 are for local use only.
fn is_sendable(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::super::wire::encode;
    use super::*;

    const MAX: usize = 1000;
    const LIMITS: MessageLimits = MessageLimits {
        bytes: MAX,
        fragments: 100,
        binary: false,
    };

    /// A frame as a client sends it; `first` is the header's first byte.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(Opcode::Text, payload, &mut bytes);
        bytes[0] = first;
        bytes[1] |= 0x80;
        let header = bytes.len() - payload.len();
        let mask = [0x37, 0xFA, 0x21, 0x3D];
        let masked: Vec<u8> = unmask(payload, mask);
        bytes.truncate(header);
        bytes.extend_from_slice(&mask);
        bytes.extend_from_slice(&masked);
        bytes
    }

    /// Everything that comes out, up to the violation if there is one.
    fn decode(bytes: &[u8]) -> (Vec<Incoming>, Option<CloseCode>) {
        decode_within(LIMITS, bytes)
    }

    fn decode_within(limits: MessageLimits, bytes: &[u8]) -> (Vec<Incoming>, Option<CloseCode>) {
        let mut decoder = Decoder::new(limits);
        decoder.push(bytes);
        let mut all = Vec::new();
        loop {
            match decoder.next() {
                Ok(Some(incoming)) => all.push(incoming),
                Ok(None) => return (all, None),
                Err(code) => return (all, Some(code)),
            }
        }
    }

    fn violation(bytes: &[u8]) -> CloseCode {
        decode(bytes).1.expect("a violation")
    }

    fn texts(expected: &[&str]) -> Vec<Incoming> {
        expected
            .iter()
            .map(|&text| Incoming::Text(text.to_owned()))
            .collect()
    }

    #[test]
    fn messages_come_out_however_the_bytes_are_cut() {
        let mut bytes = frame(0x81, "Hellö".as_bytes());
        bytes.extend(frame(0x81, b""));
        bytes.extend(frame(0x81, &[b'x'; 500]));
        let expected = texts(&["Hellö", "", &"x".repeat(500)]);
        for size in 1..bytes.len() {
            let mut decoder = Decoder::new(LIMITS);
            let mut all = Vec::new();
            for piece in bytes.chunks(size) {
                decoder.push(piece);
                while let Some(incoming) = decoder.next().unwrap() {
                    all.push(incoming);
                }
            }
            assert_eq!(all, expected, "pieces of {size}");
            assert_eq!(
                decoder.input.capacity(),
                0,
                "nothing is kept between messages"
            );
        }
    }

    #[test]
    fn fragments_are_joined_and_control_frames_come_in_between() {
        let mut bytes = frame(0x01, &"ä€".as_bytes()[..3]);
        bytes.extend(frame(0x89, b"ping"));
        bytes.extend(frame(0x00, &"ä€".as_bytes()[3..]));
        bytes.extend(frame(0x8A, b""));
        bytes.extend(frame(0x80, b"!"));
        bytes.extend(frame(0x81, b"next"));
        let (all, end) = decode(&bytes);
        assert_eq!(end, None);
        let mut expected = vec![Incoming::Ping(b"ping".to_vec()), Incoming::Pong];
        expected.extend(texts(&["ä€!", "next"]));
        assert_eq!(all, expected);
    }

    #[test]
    fn a_long_message_is_paid_for_before_it_is_read() {
        const LONG: usize = 3 * FREE_BYTES;
        let limits = MessageLimits {
            bytes: 4 * FREE_BYTES,
            ..LIMITS
        };
        let text = "x".repeat(LONG);
        let mut decoder = Decoder::new(limits);
        // The header alone tells.
        decoder.push(&frame(0x81, text.as_bytes())[..20]);
        assert_eq!(decoder.next(), Ok(Some(Incoming::Large(LONG))));
        assert_eq!(decoder.next(), Ok(Some(Incoming::Large(LONG))), "again");
        decoder.admit(LONG);
        assert_eq!(decoder.next(), Ok(None));
        decoder.push(&frame(0x81, text.as_bytes())[20..]);
        assert_eq!(decoder.next(), Ok(Some(Incoming::Text(text.clone()))));
        // The next one is another one.
        decoder.push(&frame(0x81, text.as_bytes()));
        assert_eq!(decoder.next(), Ok(Some(Incoming::Large(LONG))));
        decoder.admit(LONG);
        assert_eq!(decoder.next(), Ok(Some(Incoming::Text(text))));

        let part = vec![b'x'; FREE_BYTES];
        let mut decoder = Decoder::new(limits);
        decoder.push(&frame(0x01, &part));
        assert_eq!(decoder.next(), Ok(None), "as much as is free");
        decoder.push(&frame(0x00, b"x"));
        let any = Incoming::Large(limits.bytes);
        assert_eq!(decoder.next(), Ok(Some(any)));
        decoder.admit(limits.bytes);
        decoder.push(&frame(0x89, b"ping"));
        assert_eq!(decoder.next(), Ok(Some(Incoming::Ping(b"ping".to_vec()))));
        decoder.push(&frame(0x80, &part));
        let whole = "x".repeat(2 * FREE_BYTES + 1);
        assert_eq!(decoder.next(), Ok(Some(Incoming::Text(whole))));
    }

    #[test]
    fn what_breaks_the_protocol_is_1002() {
        let unmasked = b"\x81\x05Hello";
        assert_eq!(violation(unmasked), CloseCode::ProtocolError);
        for first in [
            0xC1, 0xA1, 0x91, 0x83, 0x84, 0x85, 0x86, 0x87, 0x8B, 0x8F, 0x09, 0x08, 0x80, 0x00,
        ] {
            assert_eq!(
                violation(&frame(first, b"a")),
                CloseCode::ProtocolError,
                "{first:#x}"
            );
        }
        for first in [0x88, 0x89, 0x8A] {
            assert_eq!(
                violation(&frame(first, &[b'a'; 126])),
                CloseCode::ProtocolError
            );
        }
        let interrupted = [frame(0x01, b"a"), frame(0x81, b"b")].concat();
        assert_eq!(violation(&interrupted), CloseCode::ProtocolError);
        let negative = [&[0x81, 0xFF][..], &u64::MAX.to_be_bytes(), &[0; 4]].concat();
        assert_eq!(violation(&negative), CloseCode::ProtocolError);
    }

    #[test]
    fn binary_is_1003() {
        assert_eq!(violation(&frame(0x82, b"a")), CloseCode::Unsupported);
        assert_eq!(violation(&frame(0x02, b"a")), CloseCode::Unsupported);
    }

    #[test]
    fn binary_is_taken_where_it_is_allowed() {
        let limits = MessageLimits {
            binary: true,
            ..LIMITS
        };
        let mut bytes = frame(0x82, b"\xFF\x00");
        bytes.extend(frame(0x02, b"\xCE"));
        bytes.extend(frame(0x80, b"\xFF"));
        bytes.extend(frame(0x81, b"text"));
        let (all, end) = decode_within(limits, &bytes);
        assert_eq!(end, None);
        let [first, second] = [b"\xFF\x00", b"\xCE\xFF"].map(|b| Incoming::Binary(b.to_vec()));
        assert_eq!(all, [first, second, Incoming::Text("text".to_owned())]);
        let bad_text = [frame(0x82, b"\xFF"), frame(0x81, b"\xFF")].concat();
        assert_eq!(decode_within(limits, &bad_text).1, Some(CloseCode::BadData));
    }

    #[test]
    fn bad_text_is_1007_as_soon_as_it_is_there() {
        for bad in [
            &b"\xC0\xAF"[..],
            b"\xED\xA0\x80",
            b"\xF4\x90\x80\x80",
            b"abc\xFF",
            b"\xCE",
        ] {
            assert_eq!(violation(&frame(0x81, bad)), CloseCode::BadData, "{bad:?}");
        }
        assert_eq!(
            violation(&frame(0x01, b"ok\xFF")),
            CloseCode::BadData,
            "before the end"
        );
        let cut = [frame(0x01, b"\xCE"), frame(0x80, b"")].concat();
        assert_eq!(violation(&cut), CloseCode::BadData);
        assert_eq!(
            violation(&frame(0x88, b"\x03\xE8\xFF")),
            CloseCode::BadData,
            "close reason"
        );
    }

    #[test]
    fn too_large_is_1009_before_it_has_arrived() {
        assert_eq!(decode(&frame(0x81, &[b'a'; MAX])).1, None);
        let header = &frame(0x81, &[b'a'; MAX + 1])[..8];
        assert_eq!(violation(header), CloseCode::TooBig);
        let huge = [&[0x81, 0xFF][..], &(1u64 << 62).to_be_bytes()].concat();
        assert_eq!(violation(&huge), CloseCode::TooBig);
        let sum = [frame(0x01, &[b'a'; 600]), frame(0x80, &[b'a'; 401])].concat();
        assert_eq!(violation(&sum), CloseCode::TooBig);
    }

    #[test]
    fn endless_fragments_are_1008() {
        let mut bytes = frame(0x01, b"");
        for _ in 1..LIMITS.fragments {
            bytes.extend(frame(0x00, b""));
        }
        assert_eq!(decode(&bytes).1, None);
        bytes.extend(frame(0x00, b""));
        assert_eq!(violation(&bytes), CloseCode::Policy);
    }

    #[test]
    fn a_close_has_no_code_or_a_real_one() {
        assert_eq!(decode(&frame(0x88, b"")).0, [Incoming::Close(None)]);
        let close = |code: u16| decode(&frame(0x88, &[&code.to_be_bytes()[..], b"bye"].concat()));
        for good in [1000, 1001, 1003, 1007, 1012, 3000, 4408, 4999] {
            assert_eq!(close(good).0, [Incoming::Close(Some(good))]);
        }
        for bad in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
            assert_eq!(close(bad).1, Some(CloseCode::ProtocolError), "{bad}");
        }
        assert_eq!(violation(&frame(0x88, b"\x03")), CloseCode::ProtocolError);
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let mut bytes: Vec<u8> = (0..random.usize(..64)).map(|_| random.u8(..)).collect();
            if let Some(second) = bytes.get_mut(1) {
                *second |= 0x80;
            }
            drop(decode(&bytes));
        }
    }
}
