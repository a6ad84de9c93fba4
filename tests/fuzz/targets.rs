//! What must hold for any bytes from outside, one function a target. The fuzzer runs them, and
//! `tests/edge/kept.rs` with the kept corpus.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::FutureExt;
use hubbub_gateway::AuthSection;
use hubbub_gateway::auth::Auth;
use hubbub_gateway::auth::name::{check_name, without_turns};
use hubbub_gateway::fuzzing::{key_of, read_forwarded, read_frames, read_proxy_header, read_query};
use hubbub_node::Identity;
use hubbub_protocol::socketio::{
    ClientPacket, EnginePacket, MAX_ATTACHMENTS, MAX_NAMESPACE_BYTES, Message, PacketReader,
    RESERVED_EVENTS, decode_packet, decode_payload, encode_payload,
};
use hubbub_protocol::{CloseCode, RoomId, decode_command};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::Value;

/// A target: its name is its corpus's folder too.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// As `cargo xtask fuzz` takes it.
    pub(crate) name: &'static str,
    /// Panics when something does not hold.
    pub(crate) run: fn(&[u8]),
}

/// All of them.
pub(crate) static ALL: [Target; 8] = [
    Target {
        name: "frames",
        run: frames,
    },
    Target {
        name: "socketio",
        run: socketio,
    },
    Target {
        name: "command",
        run: command,
    },
    Target {
        name: "claims",
        run: claims,
    },
    Target {
        name: "forwarded",
        run: forwarded,
    },
    Target {
        name: "proxy",
        run: proxy,
    },
    Target {
        name: "query",
        run: query,
    },
    Target {
        name: "room",
        run: room,
    },
];

/// The target of that name.
pub(crate) fn find(name: &str) -> Option<Target> {
    ALL.into_iter().find(|target| target.name == name)
}

/// However the bytes are cut, the same comes out, within the limits. The first byte chooses.
fn frames(data: &[u8]) {
    const MAX_BYTES: usize = 300;
    let Some((&choice, bytes)) = data.split_first() else {
        return;
    };
    let is_binary = choice & 1 != 0;
    let whole = read_frames(bytes, usize::MAX, MAX_BYTES, is_binary);
    let cut = read_frames(bytes, usize::from(choice >> 1), MAX_BYTES, is_binary);
    assert_eq!(whole, cut);
    assert!(whole.longest <= MAX_BYTES);
    if let Some(end) = whole.end {
        use CloseCode::{BadData, Policy, ProtocolError, TooBig, Unsupported};
        assert!([BadData, Policy, ProtocolError, TooBig, Unsupported].contains(&end));
    }
}

/// The bytes as a polled body, and each packet in its turn as a WebSocket's message. Connects are
/// let in, so that what follows is looked at too.
fn socketio(data: &[u8]) {
    let Ok(body) = std::str::from_utf8(data) else {
        return;
    };
    let mut reader = PacketReader::new(200);
    let mut written = Vec::new();
    for (packet, text) in decode_payload(body).zip(body.split('\u{1e}')) {
        assert_eq!(packet, decode_packet(text));
        let packet = match packet {
            Ok(EnginePacket::Text(text)) => {
                written.push(Message::text(format!("4{text}")));
                reader.read_text(text)
            }
            Ok(EnginePacket::Binary(bytes)) => {
                written.push(Message::Binary(bytes.clone()));
                reader.read_binary(bytes)
            }
            Ok(_) => continue,
            Err(_) => break,
        };
        match packet {
            Ok(Some(packet)) => check_packet(&mut reader, packet),
            Ok(None) => {}
            Err(_) => break,
        }
    }
    check_round_trip(&written);
}

fn check_packet(reader: &mut PacketReader, packet: ClientPacket<'_>) {
    let namespace = match packet {
        ClientPacket::Connect { namespace, auth } => {
            assert!(auth.is_none_or(|auth| auth.trim_start().starts_with('{')));
            reader.enter(&namespace);
            namespace
        }
        ClientPacket::Disconnect { namespace } => {
            reader.leave(&namespace);
            namespace
        }
        ClientPacket::Event {
            namespace,
            id,
            args,
            attachments,
        } => {
            assert!(id.is_none_or(|id| id < 1 << 53));
            let args: Vec<Value> = serde_json::from_str(args.as_str()).expect("a list");
            let name = args.first().expect("an event has a name");
            assert!(name.is_string() || name.is_number());
            assert!(
                name.as_str()
                    .is_none_or(|name| !RESERVED_EVENTS.contains(&name))
            );
            check_attachments(&attachments);
            namespace
        }
        ClientPacket::Ack {
            namespace,
            id,
            attachments,
            ..
        } => {
            assert!(id < 1 << 53);
            check_attachments(&attachments);
            namespace
        }
    };
    assert!(namespace.starts_with('/') && namespace.len() <= MAX_NAMESPACE_BYTES);
}

fn check_attachments(attachments: &[Bytes]) {
    assert!(attachments.len() <= MAX_ATTACHMENTS);
    assert!(attachments.iter().map(Bytes::len).sum::<usize>() <= 200);
}

fn check_round_trip(written: &[Message]) {
    if written.is_empty() {
        return;
    }
    let body = encode_payload(written);
    let again = decode_payload(&body).map(|packet| match packet {
        Ok(EnginePacket::Text(text)) => Message::text(format!("4{text}")),
        Ok(EnginePacket::Binary(bytes)) => Message::Binary(bytes),
        other => panic!("{other:?} was not written"),
    });
    assert_eq!(again.collect::<Vec<_>>(), written);
}

/// A command or an error that can be sent.
fn command(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match decode_command(text) {
        Ok(_) => assert!(serde_json::from_str::<Value>(text).is_ok_and(|json| json.is_object())),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";

static AUTH: LazyLock<Auth> = LazyLock::new(|| {
    let section = AuthSection {
        secret: SECRET.to_owned().into(),
        ..AuthSection::default()
    };
    Auth::new(&section, &[]).expect("the secret is long enough")
});

fn verify(token: &str) -> Option<Identity> {
    let verified = AUTH.verify(token).now_or_never();
    verified.expect("a secret needs no waiting").ok()
}

/// `HEADER\nCLAIMS`, well signed: whoever is let in has an id and a name that can be shown, and a token
/// that ends. Then the bytes as a token that nobody has signed.
fn claims(data: &[u8]) {
    #[derive(serde::Deserialize)]
    struct Said {
        sub: String,
        #[expect(dead_code, reason = "it must be there")]
        exp: serde::de::IgnoredAny,
    }

    let (header, claims) = match data.iter().position(|&byte| byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (&br#"{"alg":"HS256"}"#[..], data),
    };
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::HS256)
        .expect("a secret signs anything");
    if let Some(identity) = verify(&format!("{signed}.{signature}")) {
        // What nobody reads may be no UTF-8, and a number that no machine holds.
        let said = String::from_utf8_lossy(claims);
        let said: Said = serde_json::from_str(&said).expect("claims are JSON");
        assert_eq!(said.sub, identity.user.id.as_str());
        let name = &identity.user.name;
        assert!(check_name(name).is_ok() || **name == without_turns(&said.sub));
    }
    if let Ok(token) = std::str::from_utf8(data) {
        assert!(verify(token).is_none(), "nobody has signed it");
    }
}

/// Lines of `X-Forwarded-For`, or of `Forwarded` behind a `;`: a stranger's are never believed.
fn forwarded(data: &[u8]) {
    let lines: Vec<(bool, &[u8])> = data
        .split(|&byte| byte == b'\n')
        .map(|line| match line.strip_prefix(b";") {
            Some(line) => (true, line),
            None => (false, line),
        })
        .collect();
    let [(client, _), stranger] = read_forwarded(&lines);
    assert_eq!(client, client.to_canonical());
    assert_eq!(key_of(key_of(client)), key_of(client));
    assert_eq!(
        (stranger.0.to_string().as_str(), stranger.1),
        ("8.8.8.8", false)
    );
}

/// The start of a connection on a port that wants a PROXY header: a header is as long as it says, and
/// who it names does not hang on what follows.
fn proxy(data: &[u8]) {
    let Some((client, tls, rest)) = read_proxy_header(data) else {
        return;
    };
    let header = &data[..data.len() - rest];
    assert!(header.starts_with(b"\r\n\r\n\0\r\nQUIT\n"));
    let claimed = usize::from(u16::from_be_bytes([header[14], header[15]]));
    assert_eq!(header.len(), 16 + claimed);
    assert_eq!(read_proxy_header(header), Some((client, tls, 0)));
    let cut = &header[..header.len() - 1];
    assert_eq!(read_proxy_header(cut), None, "it is not whole");
    if let Some(client) = client {
        assert_eq!(client.ip(), client.ip().to_canonical());
    }
}

/// Read or refused, and twice the same.
fn query(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        assert_eq!(read_query(text), read_query(text));
    }
}

/// A room's name is what it was made of, and needs no escape in a URL, in JSON or in Redis.
fn room(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(room) = RoomId::new(text) else {
        return;
    };
    assert_eq!(room.as_str(), text);
    assert!((1..=128).contains(&text.len()));
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    assert!(text.bytes().all(is_plain));
    let json = serde_json::to_string(&room).expect("a name");
    assert_eq!(json, format!("\"{text}\""));
    assert_eq!(serde_json::from_str::<RoomId>(&json).ok(), Some(room));
}
