//! Where a client really is: its own address, or what trusted proxies say about it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::header::{FORWARDED, HeaderName};
use axum::http::{HeaderMap, HeaderValue};
use hubbub_outage::Outage;
use ipnet::IpNet;

use crate::config::ForwardedHeader;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// Requests of which the hop nearest to a trusted proxy cannot be read.
static UNREADABLE: Outage = Outage::new();

/// The proxies whose headers are believed, and the header that they write.
#[derive(Debug)]
pub(crate) struct Proxies {
    trusted: Vec<IpNet>,
    header: ForwardedHeader,
}

impl Proxies {
    pub(crate) fn new(trusted: &[IpNet], header: ForwardedHeader) -> Self {
        Self {
            trusted: trusted.to_vec(),
            header,
        }
    }

    /// An IPv4 address counts as such in its IPv6 form too, as a socket of both families shows it.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted
            .iter()
            .any(|network| network.contains(&address))
    }

    /// The client's address: the peer's, or, when the peer is trusted, the last address on the way here
    /// that is not.
    ///
    /// Each proxy appends the address from which the request came to it, so the right end of the list is
    /// ours and the left end is the client's to write. The walk goes from the right and ends at the first
    /// hop that is not trusted: nothing to the left of it is read. A hop that cannot be read ends the walk
    /// too, and the trusted proxy before it counts. The other header is the client's to write, since no
    /// trusted proxy touches it, and is not read.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return peer;
        }
        let mut client = peer;
        let name = match self.header {
            ForwardedHeader::XForwardedFor => X_FORWARDED_FOR,
            ForwardedHeader::Forwarded => FORWARDED,
        };
        for element in elements_from_right(headers, &name) {
            let hop = match self.header {
                ForwardedHeader::XForwardedFor => parse_hop(element),
                ForwardedHeader::Forwarded => parameter(element, "for").and_then(parse_hop),
            };
            let Some(hop) = hop else {
                if let Some(now) = UNREADABLE.fail(&peer) {
                    tracing::warn!(%peer, requests = now.failures, header = %name,
                        "a trusted proxy does not say where a request comes from, the proxy's own address counts");
                }
                return client;
            };
            client = hop;
            if !self.trusts(hop) {
                break;
            }
        }
        client
    }

    /// Whether the client came over TLS, as far as a trusted proxy says so.
    pub(crate) fn is_secure(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        if !self.trusts(peer) {
            return false;
        }
        let proto = match self.header {
            ForwardedHeader::XForwardedFor => {
                elements_from_right(headers, &X_FORWARDED_PROTO).next()
            }
            ForwardedHeader::Forwarded => elements_from_right(headers, &FORWARDED)
                .next()
                .and_then(|nearest| parameter(nearest, "proto")),
        };
        proto.is_some_and(|proto| proto.eq_ignore_ascii_case("https"))
    }
}

/// A network of IPv4 addresses in their IPv6 form as the IPv4 network that it is; others as they are.
pub(crate) fn canonical(network: IpNet) -> IpNet {
    /// Bits before an IPv4 address in its IPv6 form.
    const MAPPED: u8 = 96;
    let length = network.prefix_len().checked_sub(MAPPED);
    match (network.network().to_canonical(), length) {
        (address @ IpAddr::V4(_), Some(length)) if matches!(network, IpNet::V6(_)) => {
            IpNet::new(address, length).unwrap_or(network)
        }
        _ => network,
    }
}

/// The elements of a list header over all its lines, the last one first. An element that is no text is
/// empty; it does not spoil the others.
fn elements_from_right<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).iter().rev();
    let elements =
        lines.flat_map(|line: &HeaderValue| line.as_bytes().rsplit(|byte| *byte == b','));
    elements.map(|element| std::str::from_utf8(element).unwrap_or_default().trim())
}

/// The value of `name=` in one element of `Forwarded`, without its quotes.
fn parameter<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    element.split(';').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.trim()
            .eq_ignore_ascii_case(name)
            .then(|| value.trim().trim_matches('"'))
    })
}

/// `1.2.3.4`, `1.2.3.4:5`, `::1`, `[::1]` or `[::1]:5`.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let address = hop
        .parse()
        .ok()
        .or_else(|| hop.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
        .or_else(|| {
            hop.strip_prefix('[')?
                .strip_suffix(']')?
                .parse::<Ipv6Addr>()
                .ok()
                .map(IpAddr::V6)
        })?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn proxies_with(header: ForwardedHeader) -> Proxies {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
        Proxies::new(&trusted, header)
    }

    fn proxies() -> Proxies {
        proxies_with(ForwardedHeader::XForwardedFor)
    }

    fn read(proxies: &Proxies, peer: &str, headers: &[(&'static str, &'static str)]) -> IpAddr {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        proxies.client(ip(peer), &map)
    }

    fn client(peer: &str, headers: &[(&'static str, &'static str)]) -> IpAddr {
        read(&proxies(), peer, headers)
    }

    fn forwarded(peer: &str, value: &'static str) -> IpAddr {
        let proxies = proxies_with(ForwardedHeader::Forwarded);
        read(&proxies, peer, &[("forwarded", value)])
    }

    #[test]
    fn the_header_that_no_proxy_writes_is_the_clients() {
        let both = [("x-forwarded-for", "6.6.6.6"), ("forwarded", "for=1.2.3.4")];
        assert_eq!(client("10.0.0.1", &both), ip("6.6.6.6"));
        let proxies = proxies_with(ForwardedHeader::Forwarded);
        assert_eq!(read(&proxies, "10.0.0.1", &both), ip("1.2.3.4"));
        assert_eq!(client("10.0.0.1", &both[1..]), ip("10.0.0.1"));
        let mut headers = HeaderMap::new();
        headers.append(X_FORWARDED_PROTO, "https".parse().unwrap());
        assert!(!proxies.is_secure(ip("10.0.0.1"), &headers));
    }

    #[test]
    fn an_ipv4_proxy_is_trusted_on_a_socket_of_both_families() {
        let chain = [("x-forwarded-for", "1.2.3.4")];
        assert_eq!(client("::ffff:10.0.0.1", &chain), ip("1.2.3.4"));
        assert_eq!(client("::ffff:8.8.8.8", &chain), ip("8.8.8.8"));
    }

    #[test]
    fn an_untrusted_peer_cannot_pretend() {
        let spoofed = [("x-forwarded-for", "1.2.3.4"), ("forwarded", "for=1.2.3.4")];
        assert_eq!(client("8.8.8.8", &spoofed), ip("8.8.8.8"));
    }

    #[test]
    fn an_ipv4_network_in_its_ipv6_form_is_the_ipv4_network() {
        let network = |text: &str| text.parse::<IpNet>().unwrap();
        for (mapped, plain) in [
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.1.2.3/128", "10.1.2.3/32"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
        ] {
            assert_eq!(canonical(network(mapped)), network(plain));
        }
        for other in ["10.0.0.0/8", "2001:db8::/32", "::/0", "::ffff:0:0/95"] {
            assert_eq!(canonical(network(other)), network(other));
        }
    }

    #[test]
    fn a_chain_is_walked_from_the_right_over_trusted_hops() {
        let chain = [("x-forwarded-for", "6.6.6.6, 1.2.3.4, 10.1.1.1")];
        assert_eq!(client("10.0.0.1", &chain), ip("1.2.3.4"));
        let split = [
            ("x-forwarded-for", "6.6.6.6, 1.2.3.4"),
            ("x-forwarded-for", "10.1.1.1"),
        ];
        assert_eq!(client("10.0.0.1", &split), ip("1.2.3.4"));
        assert_eq!(
            client("10.0.0.1", &[("x-forwarded-for", "10.2.2.2")]),
            ip("10.2.2.2")
        );
        assert_eq!(client("10.0.0.1", &[]), ip("10.0.0.1"));
    }

    #[test]
    fn the_standard_header_works_too() {
        let list = "for=6.6.6.6, For=\"[2001:db8::1]:443\";proto=https";
        assert_eq!(forwarded("10.0.0.1", list), ip("2001:db8::1"));
        assert_eq!(
            forwarded("fd00::1", "proto=http; for=1.2.3.4"),
            ip("1.2.3.4")
        );
    }

    #[test]
    fn an_unreadable_hop_next_to_a_trusted_proxy_means_that_proxy() {
        for garbage in [
            "unknown",
            "1.2.3",
            "",
            "1.2.3.4, _hidden",
            "999.1.1.1",
            "1.2.3.4,",
        ] {
            assert_eq!(
                client("10.0.0.1", &[("x-forwarded-for", garbage)]),
                ip("10.0.0.1"),
                "{garbage}"
            );
        }
        let behind_another = [("x-forwarded-for", "1.2.3.4, unknown, 10.1.1.1")];
        assert_eq!(client("10.0.0.1", &behind_another), ip("10.1.1.1"));
        assert_eq!(forwarded("10.0.0.1", "proto=https"), ip("10.0.0.1"));
    }

    #[test]
    fn nothing_to_the_left_of_the_client_matters() {
        let long = "9.9.9.9,".repeat(500) + "1.2.3.4";
        for list in [
            "-, 1.2.3.4",
            "unknown,1.2.3.4",
            ",, ,1.2.3.4",
            "x, 1.2.3.4, 10.1.1.1",
            &long,
        ] {
            let headers =
                HeaderMap::from_iter([(X_FORWARDED_FOR, HeaderValue::from_str(list).unwrap())]);
            assert_eq!(
                proxies().client(ip("10.0.0.1"), &headers),
                ip("1.2.3.4"),
                "{list}"
            );
        }
        // A byte that is no text, in the same line and in one of its own.
        let mut headers = HeaderMap::new();
        headers.append(X_FORWARDED_FOR, HeaderValue::from_bytes(b"\xff").unwrap());
        headers.append(
            X_FORWARDED_FOR,
            HeaderValue::from_bytes(b"\xff, 1.2.3.4").unwrap(),
        );
        assert_eq!(proxies().client(ip("10.0.0.1"), &headers), ip("1.2.3.4"));
        let list = "for=unknown;by=\"x, for=_y, for=1.2.3.4;proto=https";
        assert_eq!(forwarded("10.0.0.1", list), ip("1.2.3.4"));
    }

    #[test]
    fn only_a_trusted_proxy_says_https() {
        let https = HeaderMap::from_iter([(X_FORWARDED_PROTO, "https".parse().unwrap())]);
        assert!(proxies().is_secure(ip("10.0.0.1"), &https));
        assert!(!proxies().is_secure(ip("8.8.8.8"), &https));
        let http = HeaderMap::from_iter([(X_FORWARDED_PROTO, "https, http".parse().unwrap())]);
        assert!(
            !proxies().is_secure(ip("10.0.0.1"), &http),
            "the nearest proxy stands last"
        );
        let mut two_lines = HeaderMap::new();
        two_lines.append(X_FORWARDED_PROTO, "https".parse().unwrap());
        two_lines.append(X_FORWARDED_PROTO, "http".parse().unwrap());
        assert!(
            !proxies().is_secure(ip("10.0.0.1"), &two_lines),
            "in a line of its own too"
        );
        let standard =
            HeaderMap::from_iter([(FORWARDED, "for=1.1.1.1;proto=https".parse().unwrap())]);
        assert!(
            !proxies().is_secure(ip("10.0.0.1"), &standard),
            "not written by the proxies"
        );
        let proxies = proxies_with(ForwardedHeader::Forwarded);
        assert!(proxies.is_secure(ip("10.0.0.1"), &standard));
    }
}
