//! Where a client really is: its own address, or what trusted proxies say about it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::HeaderMap;
use axum::http::header::FORWARDED;
use hubbub_outage::Outage;
use ipnet::IpNet;

const X_FORWARDED_FOR: &str = "x-forwarded-for";
const X_FORWARDED_PROTO: &str = "x-forwarded-proto";
/// More hops than this are an attack, not a network.
const MAX_HOPS: usize = 32;
/// Requests with forwarding headers that cannot be read.
static UNREADABLE: Outage = Outage::new();

/// The proxies whose headers are believed.
#[derive(Debug)]
pub(crate) struct Proxies(Vec<IpNet>);

impl Proxies {
    pub(crate) fn new(trusted: &[IpNet]) -> Self {
        Self(trusted.to_vec())
    }

    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client's address: the peer's, or, when the peer is trusted, the last address on the
    /// way here that is not. What cannot be read is not believed: then it is the peer's.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.trusts(peer) {
            return peer;
        }
        let Some(hops) = hops(headers) else {
            if let Some(now) = UNREADABLE.fail(&peer) {
                tracing::warn!(%peer, requests = now.failures,
                    "a trusted proxy sent forwarding headers that cannot be read");
            }
            return peer;
        };
        // The nearest hop stands last: walk towards the client for as long as we know the way.
        let mut client = peer;
        for hop in hops.into_iter().rev() {
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
        let proto = headers
            .get(X_FORWARDED_PROTO)
            .and_then(|value| value.to_str().ok());
        let forwarded = || headers.get_all(FORWARDED).iter().next_back()?.to_str().ok();
        match proto {
            Some(proto) => last_of(proto).eq_ignore_ascii_case("https"),
            None => forwarded().is_some_and(|text| {
                parameter(last_of(text), "proto").is_some_and(|p| p.eq_ignore_ascii_case("https"))
            }),
        }
    }
}

/// The addresses in the forwarding headers, nearest last; `None` when one is unreadable.
fn hops(headers: &HeaderMap) -> Option<Vec<IpAddr>> {
    let mut hops = Vec::new();
    if headers.contains_key(X_FORWARDED_FOR) {
        for value in headers.get_all(X_FORWARDED_FOR) {
            for hop in value.to_str().ok()?.split(',') {
                hops.push(parse_hop(hop.trim())?);
            }
        }
    } else {
        for value in headers.get_all(FORWARDED) {
            for element in value.to_str().ok()?.split(',') {
                hops.push(parse_hop(parameter(element, "for")?)?);
            }
        }
    }
    (hops.len() <= MAX_HOPS).then_some(hops)
}

fn last_of(list: &str) -> &str {
    list.rsplit(',').next().unwrap_or(list).trim()
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

    fn proxies() -> Proxies {
        Proxies::new(&["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()])
    }

    fn client(peer: &str, headers: &[(&'static str, &'static str)]) -> IpAddr {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        proxies().client(ip(peer), &map)
    }

    #[test]
    fn an_untrusted_peer_cannot_pretend() {
        let spoofed = [("x-forwarded-for", "1.2.3.4"), ("forwarded", "for=1.2.3.4")];
        assert_eq!(client("8.8.8.8", &spoofed), ip("8.8.8.8"));
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
        let forwarded = [(
            "forwarded",
            "for=6.6.6.6, For=\"[2001:db8::1]:443\";proto=https",
        )];
        assert_eq!(client("10.0.0.1", &forwarded), ip("2001:db8::1"));
        assert_eq!(
            client("fd00::1", &[("forwarded", "proto=http; for=1.2.3.4")]),
            ip("1.2.3.4")
        );
    }

    #[test]
    fn garbage_means_the_peer() {
        let long = "1.1.1.1,".repeat(40) + "2.2.2.2";
        for garbage in [
            "unknown",
            "1.2.3",
            "",
            "1.2.3.4, _hidden",
            "999.1.1.1",
            &long,
        ] {
            let headers = HeaderMap::from_iter([(
                X_FORWARDED_FOR.parse().unwrap(),
                garbage.parse().unwrap(),
            )]);
            assert_eq!(
                proxies().client(ip("10.0.0.1"), &headers),
                ip("10.0.0.1"),
                "{garbage}"
            );
        }
    }

    #[test]
    fn only_a_trusted_proxy_says_https() {
        let https =
            HeaderMap::from_iter([(X_FORWARDED_PROTO.parse().unwrap(), "https".parse().unwrap())]);
        assert!(proxies().is_secure(ip("10.0.0.1"), &https));
        assert!(!proxies().is_secure(ip("8.8.8.8"), &https));
        let http = HeaderMap::from_iter([(
            X_FORWARDED_PROTO.parse().unwrap(),
            "https, http".parse().unwrap(),
        )]);
        assert!(
            !proxies().is_secure(ip("10.0.0.1"), &http),
            "the nearest proxy stands last"
        );
        let standard =
            HeaderMap::from_iter([(FORWARDED, "for=1.1.1.1;proto=https".parse().unwrap())]);
        assert!(proxies().is_secure(ip("10.0.0.1"), &standard));
    }
}
