//! One Socket.IO v5 packet's text, read and checked before anybody acts on it.

use std::borrow::Cow;

use bytes::Bytes;

use super::args::Args;
use super::{MAIN_NAMESPACE, MAX_ATTACHMENTS, MAX_NAMESPACE_BYTES, RESERVED_EVENTS, json};

/// A client's packet with all its attachments. JSON stays text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard<'a> {
    /// It wants to come into a namespace.
    Connect {
        /// Which one.
        namespace: String,
        /// An object, or `None` when it says nothing.
        auth: Option<Cow<'a, str>>,
    },
    /// It leaves a namespace.
    Disconnect {
        /// Which one.
        namespace: String,
    },
    /// An event, in a namespace that it is in.
    Event {
        /// Which one.
        namespace: String,
        /// It wants an ack under this number.
        id: Option<u64>,
        /// The name, a string or a number, and the arguments; binary ones as placeholders.
        args: Args<'a>,
        /// The bytes that the placeholders stand for.
        attachments: Vec<Bytes>,
    },
    /// An ack of an event from us.
    Ack {
        /// Which namespace.
        namespace: String,
        /// Our event's number.
        id: u64,
        /// The arguments.
        args: Args<'a>,
        /// The bytes that the placeholders stand for.
        attachments: Vec<Bytes>,
    },
}

impl Heard<'_> {
    /// The same, for as long as its attachments are awaited.
    pub(super) fn into_owned(self) -> Heard<'static> {
        match self {
            Self::Connect { namespace, auth } => Heard::Connect {
                namespace,
                auth: auth.map(|auth| Cow::Owned(auth.into_owned())),
            },
            Self::Disconnect { namespace } => Heard::Disconnect { namespace },
            Self::Event {
                namespace,
                id,
                args,
                attachments,
            } => Heard::Event {
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
            } => Heard::Ack {
                namespace,
                id,
                args: args.into_owned(),
                attachments,
            },
        }
    }
}

/// Why a packet cannot be taken: the connection must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// No type, or one that clients do not send.
    #[error("unknown packet type")]
    UnknownType,
    /// Their number is no number.
    #[error("the number of attachments cannot be read")]
    Attachments,
    /// More than [`MAX_ATTACHMENTS`], or more bytes than one packet may have.
    #[error("too many attachments")]
    TooManyAttachments,
    /// Longer than [`MAX_NAMESPACE_BYTES`].
    #[error("the namespace's name is too long")]
    LongNamespace,
    /// No whole number below 2^53.
    #[error("an ack's number cannot be read")]
    AckId,
    /// The rest of the packet does not have the form of its type.
    #[error("the packet's payload is not valid")]
    Payload,
    /// The client's library keeps this name for itself.
    #[error("a reserved event name")]
    ReservedName,
    /// A placeholder stands for no attachment.
    #[error("a placeholder without an attachment")]
    Placeholder,
    /// An event, an ack or a leave for a namespace that the client is not in.
    #[error("a packet for a namespace that was not joined")]
    NotJoined,
    /// A second connect to the same namespace.
    #[error("this namespace was joined before")]
    AlreadyJoined,
    /// Bytes that no packet has announced.
    #[error("binary data that was not announced")]
    UnexpectedBinary,
    /// Text where attachments were announced.
    #[error("text between a packet and its attachments")]
    MissingBinary,
}

/// The largest number that an ack may have: JavaScript counts no further.
const MAX_ID: u64 = (1 << 53) - 1;

/// A packet as read, and how many attachments it still waits for.
pub(super) fn decode(text: &str) -> Result<(Heard<'_>, usize), PacketError> {
    let kind = text.bytes().next().ok_or(PacketError::UnknownType)?;
    if !matches!(kind, b'0' | b'1' | b'2' | b'3' | b'5' | b'6') {
        return Err(PacketError::UnknownType);
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
        text => Some(json::read(text).map_err(|_| PacketError::Payload)?),
    };
    let heard = match kind {
        b'0' => connect(namespace, payload)?,
        b'1' if payload.is_none() => Heard::Disconnect { namespace },
        b'2' | b'5' => event(namespace, id, payload, attachments)?,
        b'3' | b'6' => ack(namespace, id, payload, attachments)?,
        _ => return Err(PacketError::Payload),
    };
    Ok((heard, attachments))
}

/// `n-` before everything else.
fn split_attachments(rest: &str) -> Result<(usize, &str), PacketError> {
    let (number, rest) = rest.split_once('-').ok_or(PacketError::Attachments)?;
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err(PacketError::Attachments);
    }
    match number.parse() {
        Ok(number) if number <= MAX_ATTACHMENTS => Ok((number, rest)),
        _ => Err(PacketError::TooManyAttachments),
    }
}

/// `/name,`; the comma may be missing where nothing follows.
fn split_namespace(rest: &str) -> Result<(String, &str), PacketError> {
    if !rest.starts_with('/') {
        return Ok((MAIN_NAMESPACE.to_owned(), rest));
    }
    let (name, rest) = rest.split_once(',').unwrap_or((rest, ""));
    if name.len() > MAX_NAMESPACE_BYTES {
        return Err(PacketError::LongNamespace);
    }
    Ok((name.to_owned(), rest))
}

/// Digits before the payload.
fn split_id(rest: &str) -> Result<(Option<u64>, &str), PacketError> {
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (digits, rest) = rest.split_at(end);
    if digits.is_empty() {
        return Ok((None, rest));
    }
    match digits.parse() {
        Ok(id) if id <= MAX_ID => Ok((Some(id), rest)),
        _ => Err(PacketError::AckId),
    }
}

fn connect(namespace: String, payload: Option<Cow<'_, str>>) -> Result<Heard<'_>, PacketError> {
    let is_object = |auth: &Cow<'_, str>| auth.trim_ascii_start().starts_with('{');
    match payload.is_none() || payload.as_ref().is_some_and(is_object) {
        true => Ok(Heard::Connect {
            namespace,
            auth: payload,
        }),
        false => Err(PacketError::Payload),
    }
}

fn event(
    namespace: String,
    id: Option<u64>,
    payload: Option<Cow<'_, str>>,
    attachments: usize,
) -> Result<Heard<'_>, PacketError> {
    let args = list(payload, attachments)?;
    let [name, _] = args.first_two();
    match args.name() {
        Some(name) if RESERVED_EVENTS.contains(&&*name) => return Err(PacketError::ReservedName),
        Some(_) => {}
        None => {
            let is_digit = |byte: u8| byte == b'-' || byte.is_ascii_digit();
            let is_number =
                name.is_some_and(|name| name.get().bytes().next().is_some_and(is_digit));
            if !is_number {
                return Err(PacketError::Payload);
            }
        }
    }
    Ok(Heard::Event {
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
) -> Result<Heard<'_>, PacketError> {
    let id = id.ok_or(PacketError::AckId)?;
    Ok(Heard::Ack {
        namespace,
        id,
        args: list(payload, attachments)?,
        attachments: Vec::new(),
    })
}

/// The arguments. In a packet without attachments nothing is a placeholder.
fn list(payload: Option<Cow<'_, str>>, attachments: usize) -> Result<Args<'_>, PacketError> {
    let args = payload.and_then(Args::new).ok_or(PacketError::Payload)?;
    if attachments > 0 && !args.has_only(attachments) {
        return Err(PacketError::Placeholder);
    }
    Ok(args)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event<'a>(namespace: &str, id: Option<u64>, args: &'a str) -> Heard<'a> {
        Heard::Event {
            namespace: namespace.to_owned(),
            id,
            args: Args::read(args).unwrap(),
            attachments: Vec::new(),
        }
    }

    #[test]
    fn packets_are_read_as_the_protocol_writes_them() {
        let connect = |namespace: &str, auth: Option<&'static str>| Heard::Connect {
            namespace: namespace.to_owned(),
            auth: auth.map(Cow::Borrowed),
        };
        for (text, heard) in [
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
            assert_eq!(decode(text), Ok((heard, 0)), "{text}");
        }
        let left = Heard::Disconnect {
            namespace: "/a".to_owned(),
        };
        assert_eq!(decode("1/a,"), Ok((left, 0)));
        assert!(matches!(
            decode("3/a,7[1]"),
            Ok((Heard::Ack { id: 7, .. }, 0))
        ));
        let text = r#"52-["x",{"_placeholder":true,"num":1},[{"_placeholder":true,"num":0}]]"#;
        assert!(matches!(decode(text), Ok((Heard::Event { .. }, 2))));
    }

    #[test]
    fn whatever_is_wrong_has_a_name() {
        let placeholder = |num: &str| format!(r#"51-["x",{{"_placeholder":true,"num":{num}}}]"#);
        let long = format!("0/{}", "n".repeat(10 * 1024));
        for (text, error) in [
            ("", PacketError::UnknownType),
            ("4", PacketError::UnknownType),
            ("4{}", PacketError::UnknownType),
            ("7", PacketError::UnknownType),
            ("9[\"a\"]", PacketError::UnknownType),
            ("ä", PacketError::UnknownType),
            ("2", PacketError::Payload),
            ("2[]", PacketError::Payload),
            ("2{}", PacketError::Payload),
            ("2[null]", PacketError::Payload),
            ("2[{}]", PacketError::Payload),
            ("2[\"a\"", PacketError::Payload),
            ("2[\"a\"]x", PacketError::Payload),
            ("2abc[\"a\"]", PacketError::Payload),
            ("2-1[\"a\"]", PacketError::Payload),
            ("2/a", PacketError::Payload),
            ("0null", PacketError::Payload),
            ("0[]", PacketError::Payload),
            ("0\"x\"", PacketError::Payload),
            ("1{}", PacketError::Payload),
            ("3[1]", PacketError::AckId),
            ("3abc[]", PacketError::Payload),
            ("31{}", PacketError::Payload),
            ("31", PacketError::Payload),
            ("299999999999999999999[\"a\"]", PacketError::AckId),
            ("29007199254740992[\"a\"]", PacketError::AckId),
            ("2[\"connect\"]", PacketError::ReservedName),
            ("2[\"disconnecting\"]", PacketError::ReservedName),
            ("5[\"a\"]", PacketError::Attachments),
            ("5-[\"a\"]", PacketError::Attachments),
            ("5x-[\"a\"]", PacketError::Attachments),
            ("5+1-[\"a\"]", PacketError::Attachments),
            ("599999-[\"a\"]", PacketError::TooManyAttachments),
            (
                "599999999999999999999999-[\"a\"]",
                PacketError::TooManyAttachments,
            ),
            ("511-[\"a\"]", PacketError::TooManyAttachments),
            (&placeholder("-1"), PacketError::Placeholder),
            (&placeholder("\"x\""), PacketError::Placeholder),
            (&placeholder("9"), PacketError::Placeholder),
            (&placeholder("0.5"), PacketError::Placeholder),
            (&long, PacketError::LongNamespace),
        ] {
            let shown: String = text.chars().take(60).collect();
            assert_eq!(decode(text).map(drop), Err(error), "{shown}");
        }
        let deep = format!("2[\"a\",{}", "[".repeat(100_000));
        assert_eq!(decode(&deep).map(drop), Err(PacketError::Payload));
    }
}
