//! Engine.IO v4: packets, and how several of them share one HTTP body.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

use crate::Frame;

/// Stands between the packets of one HTTP body.
const SEPARATOR: char = '\u{1e}';
/// Clients of other languages leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A message of the server: one packet, ready for the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A whole packet, its type first.
    Text(Frame),
    /// The bytes of a binary message.
    Binary(Bytes),
}

impl Message {
    /// A packet without content.
    #[must_use]
    pub fn bare(text: &'static str) -> Self {
        Self::text(text.to_owned())
    }

    /// A packet written by hand, its type first.
    #[must_use]
    pub fn text(packet: String) -> Self {
        Self::Text(Frame::from_text(packet))
    }

    /// Its length on a WebSocket, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Text(frame) => frame.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether there is nothing in it: only a binary message can be empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A packet of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnginePacket<'a> {
    /// `1`: it goes.
    Close,
    /// `2probe`: it tries out a WebSocket.
    Probe,
    /// `3`: the answer to a ping.
    Pong,
    /// `4…`: text for the layer above.
    Text(&'a str),
    /// Bytes for the layer above.
    Binary(Bytes),
    /// `5`: it goes on over the WebSocket that it has tried out.
    Upgrade,
    /// `0…` or `6`: nothing that a client has to say.
    Idle,
}

/// Why something is no packet: nothing further can be read from that client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// No type.
    #[error("a packet is empty")]
    Empty,
    /// A type beyond 6.
    #[error("a packet's type must be a digit from 0 to 6")]
    UnknownType,
    /// A ping that is no probe: here the server pings.
    #[error("only the server pings")]
    ClientPing,
    /// The text after `b` is not base64.
    #[error("a binary packet must be base64")]
    Base64,
}

/// Reads the text of one packet. On a WebSocket binary messages come by themselves, in HTTP as
/// `b` and base64.
///
/// # Errors
/// [`EngineError`]: the connection must end.
pub fn decode_packet(text: &str) -> Result<EnginePacket<'_>, EngineError> {
    let kind = text.chars().next().ok_or(EngineError::Empty)?;
    let rest = &text[kind.len_utf8()..];
    match kind {
        '0' | '6' => Ok(EnginePacket::Idle),
        '1' => Ok(EnginePacket::Close),
        '2' if rest == "probe" => Ok(EnginePacket::Probe),
        '2' => Err(EngineError::ClientPing),
        '3' => Ok(EnginePacket::Pong),
        '4' => Ok(EnginePacket::Text(rest)),
        '5' => Ok(EnginePacket::Upgrade),
        'b' => BASE64
            .decode(rest)
            .map(|bytes| EnginePacket::Binary(bytes.into()))
            .map_err(|_| EngineError::Base64),
        _ => Err(EngineError::UnknownType),
    }
}

/// Reads the packets of one HTTP body, one after the other.
pub fn decode_payload(body: &str) -> impl Iterator<Item = Result<EnginePacket<'_>, EngineError>> {
    body.split(SEPARATOR).map(decode_packet)
}

/// Writes packets as one HTTP body.
#[must_use]
pub fn encode_payload(messages: &[Message]) -> String {
    let length = messages.iter().map(|message| message.len() * 4 / 3 + 8);
    let mut body = String::with_capacity(length.sum());
    for (index, message) in messages.iter().enumerate() {
        if index > 0 {
            body.push(SEPARATOR);
        }
        match message {
            Message::Text(frame) => body.push_str(frame.as_str()),
            Message::Binary(bytes) => {
                body.push('b');
                BASE64.encode_string(bytes, &mut body);
            }
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn packets_are_told_by_their_first_character() {
        for (text, packet) in [
            ("0{}", EnginePacket::Idle),
            ("1", EnginePacket::Close),
            ("2probe", EnginePacket::Probe),
            ("3", EnginePacket::Pong),
            ("3probe", EnginePacket::Pong),
            ("4", EnginePacket::Text("")),
            ("42[\"ä\"]", EnginePacket::Text("2[\"ä\"]")),
            ("5", EnginePacket::Upgrade),
            ("6", EnginePacket::Idle),
            (
                "bAQID",
                EnginePacket::Binary(Bytes::from_static(&[1, 2, 3])),
            ),
            ("bAQ", EnginePacket::Binary(Bytes::from_static(&[1]))),
            ("bAQ==", EnginePacket::Binary(Bytes::from_static(&[1]))),
            ("b", EnginePacket::Binary(Bytes::new())),
        ] {
            assert_eq!(decode_packet(text), Ok(packet), "{text}");
        }
        for (text, error) in [
            ("", EngineError::Empty),
            ("7", EngineError::UnknownType),
            ("abc", EngineError::UnknownType),
            ("ä", EngineError::UnknownType),
            ("2", EngineError::ClientPing),
            ("2probes", EngineError::ClientPing),
            ("b!", EngineError::Base64),
        ] {
            assert_eq!(decode_packet(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_body_holds_packets_between_separators() {
        let packets: Vec<_> = decode_payload("4a\u{1e}bAQ==\u{1e}3").collect();
        assert_eq!(
            packets,
            [
                Ok(EnginePacket::Text("a")),
                Ok(EnginePacket::Binary(Bytes::from_static(&[1]))),
                Ok(EnginePacket::Pong)
            ]
        );
        assert_eq!(
            decode_payload("").collect::<Vec<_>>(),
            [Err(EngineError::Empty)]
        );
        let messages = [
            Message::bare("2"),
            Message::Binary(Bytes::from_static(&[1, 2, 3, 4])),
            Message::bare("4x"),
        ];
        assert_eq!(encode_payload(&messages), "2\u{1e}bAQIDBA==\u{1e}4x");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[0-7b]?\\PC{0,40}") {
            drop(decode_packet(&text));
            drop(decode_payload(&text).collect::<Vec<_>>());
        }

        #[test]
        fn what_is_written_is_read_again(texts in prop::collection::vec("[^\u{1e}]{0,20}", 1..5), bytes: Vec<u8>) {
            let mut messages: Vec<Message> = texts.iter().map(|text| Message::text(format!("4{text}"))).collect();
            messages.push(Message::Binary(bytes.clone().into()));
            let body = encode_payload(&messages);
            let mut expected: Vec<_> = texts.iter().map(|text| Ok(EnginePacket::Text(text))).collect();
            expected.push(Ok(EnginePacket::Binary(bytes.into())));
            prop_assert_eq!(decode_payload(&body).collect::<Vec<_>>(), expected);
        }
    }
}
