//! Reads and checks the text of one Socket.IO v5 packet.

use std::borrow::Cow;

use bytes::Bytes;

use super::args::Args;
use super::{MAIN_NAMESPACE, MAX_ATTACHMENTS, MAX_NAMESPACE_BYTES, RESERVED_EVENTS, json};

/// A client's packet with all its attachments. JSON stays text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientPacket<'a> {
    /// The client wants to join a namespace.
    Connect {
        /// The namespace.
        namespace: String,
        /// The `auth` object. `None` if the client gave none.
        auth: Option<Cow<'a, str>>,
    },
    /// The client leaves a namespace.
    Disconnect {
        /// The namespace.
        namespace: String,
    },
    /// An event in a namespace that the client has joined.
    Event {
        /// The namespace.
        namespace: String,
        /// The number of the ack that the client wants, if it wants one.
        id: Option<u64>,
        /// The name, a string or a number, and the arguments. Binary arguments are placeholders.
        args: Args<'a>,
        /// The bytes that the placeholders stand for.
        attachments: Vec<Bytes>,
    },
    /// An ack of a server's event.
    Ack {
        /// The namespace.
        namespace: String,
        /// The number of that event.
        id: u64,
        /// The arguments.
        args: Args<'a>,
        /// The bytes that the placeholders stand for.
        attachments: Vec<Bytes>,
    },
}

impl ClientPacket<'_> {
    /// Returns an owned packet, which can be kept while its attachments are awaited.
    pub(super) fn into_owned(self) -> ClientPacket<'static> {
        match self {
            Self::Connect { namespace, auth } => ClientPacket::Connect {
                namespace,
                auth: auth.map(|auth| Cow::Owned(auth.into_owned())),
            },
            Self::Disconnect { namespace } => ClientPacket::Disconnect { namespace },
            Self::Event {
                namespace,
                id,
                args,
                attachments,
            } => ClientPacket::Event {
                namespace,
                id,
                args: args.into_owned(),
                attachments,
            },
            Self::Ack {
                namespace,
                id,
                args,
                attachments,
            } => ClientPacket::Ack {
                namespace,
                id,
                args: args.into_owned(),
                attachments,
            },
        }
    }
}

/// The reason why a packet is refused. The connection must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientPacketError {
    /// The packet has no type, or one that clients do not send.
    #[error("unknown packet type")]
    UnknownType,
    /// The number of attachments is not a number.
    #[error("the number of attachments cannot be read")]
    Attachments,
    /// The packet has more than [`MAX_ATTACHMENTS`] attachments, or more bytes than allowed.
    #[error("too many attachments")]
    TooManyAttachments,
    /// The namespace's name is longer than [`MAX_NAMESPACE_BYTES`].
    #[error("the namespace's name is too long")]
    LongNamespace,
    /// The ack's number is not a whole number below 2^53.
    #[error("an ack's number cannot be read")]
    AckId,
    /// The rest of the packet does not have the form of its type.
    #[error("the packet's payload is not valid")]
    Payload,
    /// The client's library keeps this name for itself.
    #[error("a reserved event name")]
    ReservedName,
    /// A placeholder has no attachment.
    #[error("a placeholder without an attachment")]
    Placeholder,
    /// An event, an ack or a disconnect for a namespace that the client has not joined.
    #[error("a packet for a namespace that was not joined")]
    NotJoined,
    /// A second connect to the same namespace.
    #[error("this namespace was joined before")]
    AlreadyJoined,
    /// Binary data that no packet has announced.
    #[error("binary data that was not announced")]
    UnexpectedBinary,
    /// Text came where attachments were announced.
    #[error("text between a packet and its attachments")]
    MissingBinary,
}

/// The largest number of an ack: the largest integer that JavaScript holds exactly.
const MAX_ID: u64 = (1 << 53) - 1;

/// Reads a packet. Returns it and the number of attachments that must follow.
pub(super) fn decode(text: &str) -> Result<(ClientPacket<'_>, usize), ClientPacketError> {
    let kind = text.bytes().next().ok_or(ClientPacketError::UnknownType)?;
    if !matches!(kind, b'0' | b'1' | b'2' | b'3' | b'5' | b'6') {
        return Err(ClientPacketError::UnknownType);
    }
    let rest = &text[1..];
    let (attachments, rest) = match kind {
        b'5' | b'6' => split_attachments(rest)?,
        _ => (0, rest),
    };
    let (namespace, rest) = split_namespace(rest)?;
    let (id, rest) = split_id(rest)?;
    let payload = match rest {
        "" => None,
        text => Some(json::read(text).map_err(|_| ClientPacketError::Payload)?),
    };
    let packet = match kind {
        b'0' => connect(namespace, payload)?,
        b'1' if payload.is_none() => ClientPacket::Disconnect { namespace },
        b'2' | b'5' => event(namespace, id, payload, attachments)?,
        b'3' | b'6' => ack(namespace, id, payload, attachments)?,
        _ => return Err(ClientPacketError::Payload),
    };
    Ok((packet, attachments))
}

/// Splits off `n-`, the number of attachments.
fn split_attachments(rest: &str) -> Result<(usize, &str), ClientPacketError> {
    let (number, rest) = rest.split_once('-').ok_or(ClientPacketError::Attachments)?;
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ClientPacketError::Attachments);
    }
    match number.parse() {
        Ok(number) if number <= MAX_ATTACHMENTS => Ok((number, rest)),
        _ => Err(ClientPacketError::TooManyAttachments),
    }
}

/// Splits off `/name,`. The comma may be missing if nothing follows.
fn split_namespace(rest: &str) -> Result<(String, &str), ClientPacketError> {
    if !rest.starts_with('/') {
        return Ok((MAIN_NAMESPACE.to_owned(), rest));
    }
    let (name, rest) = rest.split_once(',').unwrap_or((rest, ""));
    if name.len() > MAX_NAMESPACE_BYTES {
        return Err(ClientPacketError::LongNamespace);
    }
    Ok((name.to_owned(), rest))
}

/// Splits off the digits before the payload.
fn split_id(rest: &str) -> Result<(Option<u64>, &str), ClientPacketError> {
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (digits, rest) = rest.split_at(end);
    if digits.is_empty() {
        return Ok((None, rest));
    }
    match digits.parse() {
        Ok(id) if id <= MAX_ID => Ok((Some(id), rest)),
        _ => Err(ClientPacketError::AckId),
    }
}

fn connect(
    namespace: String,
    payload: Option<Cow<'_, str>>,
) -> Result<ClientPacket<'_>, ClientPacketError> {
    let is_object = |auth: &Cow<'_, str>| auth.trim_ascii_start().starts_with('{');
    if payload.as_ref().is_none_or(is_object) {
        Ok(ClientPacket::Connect {
            namespace,
            auth: payload,
        })
    } else {
        Err(ClientPacketError::Payload)
    }
}

fn event(
    namespace: String,
    id: Option<u64>,
    payload: Option<Cow<'_, str>>,
    attachments: usize,
) -> Result<ClientPacket<'_>, ClientPacketError> {
    let args = list(payload, attachments)?;
    let [name, _] = args.first_two();
    match args.name() {
        Some(name) if RESERVED_EVENTS.contains(&&*name) => {
            return Err(ClientPacketError::ReservedName);
        }
        Some(_) => {}
        None => {
            let is_digit = |byte: u8| byte == b'-' || byte.is_ascii_digit();
            let is_number =
                name.is_some_and(|name| name.get().bytes().next().is_some_and(is_digit));
            if !is_number {
                return Err(ClientPacketError::Payload);
            }
        }
    }
    Ok(ClientPacket::Event {
        namespace,
        id,
        args,
        attachments: Vec::new(),
    })
}

fn ack(
    namespace: String,
    id: Option<u64>,
    payload: Option<Cow<'_, str>>,
    attachments: usize,
) -> Result<ClientPacket<'_>, ClientPacketError> {
    let id = id.ok_or(ClientPacketError::AckId)?;
    Ok(ClientPacket::Ack {
        namespace,
        id,
        args: list(payload, attachments)?,
        attachments: Vec::new(),
    })
}

/// Reads the arguments. A packet without attachments has no placeholders.
fn list(payload: Option<Cow<'_, str>>, attachments: usize) -> Result<Args<'_>, ClientPacketError> {
    let args = payload
        .and_then(Args::new)
        .ok_or(ClientPacketError::Payload)?;
    if attachments > 0 && !args.has_only(attachments) {
        return Err(ClientPacketError::Placeholder);
    }
    Ok(args)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event<'a>(namespace: &str, id: Option<u64>, args: &'a str) -> ClientPacket<'a> {
        ClientPacket::Event {
            namespace: namespace.to_owned(),
            id,
            args: Args::read(args).unwrap(),
            attachments: Vec::new(),
        }
    }

    #[test]
    fn packets_are_read_as_the_protocol_writes_them() {
        let connect = |namespace: &str, auth: Option<&'static str>| ClientPacket::Connect {
            namespace: namespace.to_owned(),
            auth: auth.map(Cow::Borrowed),
        };
        for (text, packet) in [
            ("0", connect("/", None)),
            ("0{}", connect("/", Some("{}"))),
            ("0/a,{\"t\":1}", connect("/a", Some(r#"{"t":1}"#))),
            ("0/a", connect("/a", None)),
            ("0/a,", connect("/a", None)),
            ("2[\"hi\"]", event("/", None, r#"["hi"]"#)),
            ("2[7,null]", event("/", None, "[7,null]")),
            ("2/a,12[\"hi\",{}]", event("/a", Some(12), r#"["hi",{}]"#)),
            ("50-[\"hi\"]", event("/", None, r#"["hi"]"#)),
        ] {
            assert_eq!(decode(text), Ok((packet, 0)), "{text}");
        }
        let left = ClientPacket::Disconnect {
            namespace: "/a".to_owned(),
        };
        assert_eq!(decode("1/a,"), Ok((left, 0)));
        assert!(matches!(
            decode("3/a,7[1]"),
            Ok((ClientPacket::Ack { id: 7, .. }, 0))
        ));
        let text = r#"52-["x",{"_placeholder":true,"num":1},[{"_placeholder":true,"num":0}]]"#;
        assert!(matches!(decode(text), Ok((ClientPacket::Event { .. }, 2))));
    }

    #[test]
    fn every_kind_of_invalid_packet_has_its_error() {
        let placeholder = |num: &str| format!(r#"51-["x",{{"_placeholder":true,"num":{num}}}]"#);
        let long = format!("0/{}", "n".repeat(10 * 1024));
        for (text, error) in [
            ("", ClientPacketError::UnknownType),
            ("4", ClientPacketError::UnknownType),
            ("4{}", ClientPacketError::UnknownType),
            ("7", ClientPacketError::UnknownType),
            ("9[\"a\"]", ClientPacketError::UnknownType),
            ("ä", ClientPacketError::UnknownType),
            ("2", ClientPacketError::Payload),
            ("2[]", ClientPacketError::Payload),
            ("2{}", ClientPacketError::Payload),
            ("2[null]", ClientPacketError::Payload),
            ("2[{}]", ClientPacketError::Payload),
            ("2[\"a\"", ClientPacketError::Payload),
            ("2[\"a\"]x", ClientPacketError::Payload),
            ("2abc[\"a\"]", ClientPacketError::Payload),
            ("2-1[\"a\"]", ClientPacketError::Payload),
            ("2/a", ClientPacketError::Payload),
            ("0null", ClientPacketError::Payload),
            ("0[]", ClientPacketError::Payload),
            ("0\"x\"", ClientPacketError::Payload),
            ("1{}", ClientPacketError::Payload),
            ("3[1]", ClientPacketError::AckId),
            ("3abc[]", ClientPacketError::Payload),
            ("31{}", ClientPacketError::Payload),
            ("31", ClientPacketError::Payload),
            ("299999999999999999999[\"a\"]", ClientPacketError::AckId),
            ("29007199254740992[\"a\"]", ClientPacketError::AckId),
            ("2[\"connect\"]", ClientPacketError::ReservedName),
            ("2[\"disconnecting\"]", ClientPacketError::ReservedName),
            ("5[\"a\"]", ClientPacketError::Attachments),
            ("5-[\"a\"]", ClientPacketError::Attachments),
            ("5x-[\"a\"]", ClientPacketError::Attachments),
            ("5+1-[\"a\"]", ClientPacketError::Attachments),
            ("599999-[\"a\"]", ClientPacketError::TooManyAttachments),
            (
                "599999999999999999999999-[\"a\"]",
                ClientPacketError::TooManyAttachments,
            ),
            ("511-[\"a\"]", ClientPacketError::TooManyAttachments),
            (&placeholder("-1"), ClientPacketError::Placeholder),
            (&placeholder("\"x\""), ClientPacketError::Placeholder),
            (&placeholder("9"), ClientPacketError::Placeholder),
            (&placeholder("0.5"), ClientPacketError::Placeholder),
            (&long, ClientPacketError::LongNamespace),
        ] {
            let shown: String = text.chars().take(60).collect();
            assert_eq!(decode(text).map(drop), Err(error), "{shown}");
        }
        let deep = format!("2[\"a\",{}", "[".repeat(100_000));
        assert_eq!(decode(&deep).map(drop), Err(ClientPacketError::Payload));
    }
}
