//! Access to the gateway's inside for fuzz targets (`tests/fuzz`); nothing in the product calls it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use futures_util::FutureExt as _;
use hubbub_node::address_key;
use hubbub_protocol::CloseCode;
use ipnet::IpNet;

use crate::address::Proxies;
use crate::config::ForwardedHeader;
use crate::proxy_header::read_header;
use crate::rest::{messages, search};
use crate::ws::decoder::{Decoder, Incoming, MessageLimits};

/// The result of reading a client's bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Frames {
    /// One line a message or control frame, in their order.
    pub heard: Vec<String>,
    /// Bytes of the longest message.
    pub longest: usize,
    /// The violation that ends it.
    pub end: Option<CloseCode>,
}

/// Reads WebSocket frames that come in pieces of so many bytes.
#[must_use]
pub fn read_frames(bytes: &[u8], piece: usize, max_bytes: usize, binary: bool) -> Frames {
    let mut decoder = Decoder::new(MessageLimits {
        bytes: max_bytes,
        fragments: 8,
        binary,
    });
    let mut frames = Frames {
        heard: Vec::new(),
        longest: 0,
        end: None,
    };
    for piece in bytes.chunks(piece.max(1)) {
        decoder.push(piece);
        loop {
            match decoder.next() {
                Ok(Some(incoming)) => frames.add(&incoming),
                Ok(None) => break,
                Err(code) => {
                    frames.end = Some(code);
                    return frames;
                }
            }
        }
    }
    frames
}

impl Frames {
    fn add(&mut self, incoming: &Incoming) {
        let length = match incoming {
            Incoming::Text(text) => text.len(),
            Incoming::Binary(bytes) | Incoming::Ping(bytes) => bytes.len(),
            Incoming::Large(_) | Incoming::Pong | Incoming::Close(_) => 0,
        };
        self.longest = self.longest.max(length);
        self.heard.push(format!("{incoming:?}"));
    }
}

/// The client's address by lines of `X-Forwarded-For` and `Forwarded`, of which the first line's header is read, and whether it came over
/// TLS: first as a trusted proxy's word, then as a stranger's. The proxy is 10.0.0.1, the stranger
/// 8.8.8.8.
#[must_use]
pub fn read_forwarded(lines: &[(bool, &[u8])]) -> [(IpAddr, bool); 2] {
    let mut headers = HeaderMap::new();
    for (is_standard, value) in lines {
        let name = if *is_standard {
            "forwarded"
        } else {
            "x-forwarded-for"
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    let trusted: IpNet = "10.0.0.0/8".parse().expect("a network");
    let is_standard = lines.first().is_some_and(|(is_standard, _)| *is_standard);
    let header = if is_standard {
        ForwardedHeader::Forwarded
    } else {
        ForwardedHeader::XForwardedFor
    };
    let proxies = Proxies::new(&[trusted], header);
    [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(8, 8, 8, 8)].map(|peer| {
        let client = proxies.client(peer.into(), &headers);
        (client, proxies.is_secure(peer.into(), &headers))
    })
}

/// Reads a balancer's PROXY header: the client that it names, whether that came over TLS, and how many
/// bytes follow the header. `None`: it is none, or not whole.
#[must_use]
pub fn read_proxy_header(bytes: &[u8]) -> Option<(Option<SocketAddr>, bool, usize)> {
    let mut rest = bytes;
    let read = read_header(&mut rest).now_or_never();
    let introduced = read.expect("bytes need no waiting").ok()?;
    Some((introduced.client, introduced.tls, rest.len()))
}

/// The address that counts as one client.
#[must_use]
pub fn key_of(address: IpAddr) -> IpAddr {
    address_key(address)
}

/// Reads a query string as that of a page of history, then of a search: what either is taken for.
#[must_use]
pub fn read_query(query: &str) -> Option<[Option<String>; 2]> {
    let uri: Uri = format!("/?{query}").parse().ok()?;
    Some([messages::read(&uri), search::read(&uri)])
}
