//! The parts of a client's address that limits count by.

use std::net::{IpAddr, Ipv6Addr};

/// The length of the IPv6 network that one subscriber owns at least.
const SUBNET: u8 = 64;
/// The length of the IPv6 network that a home line gets.
const LINE: u8 = 56;
/// The length of the IPv6 network that a site gets.
const SITE: u8 = 48;

/// A network of clients that together have a share of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ClientNetwork {
    first: IpAddr,
    length: u8,
}

impl ClientNetwork {
    /// The networks of an address, from the narrowest to the widest: an IPv4 address alone, or the /64, the
    /// /56 and the /48 network of an IPv6 address.
    pub(crate) fn all_of(address: IpAddr) -> impl Iterator<Item = Self> {
        let address = address.to_canonical();
        let count = if address.is_ipv4() { 1 } else { 3 };
        [SUBNET, LINE, SITE]
            .into_iter()
            .take(count)
            .map(move |length| Self {
                first: masked(address, length),
                length,
            })
    }

    /// How many times the share of one address the network may have.
    pub(crate) fn shares(self) -> u32 {
        if self.length == SITE { 2 } else { 1 }
    }
}

/// Returns the key under which limits count an address: an IPv4 address itself, or the /64 network that
/// one IPv6 subscriber owns.
#[must_use]
pub fn address_key(address: IpAddr) -> IpAddr {
    masked(address.to_canonical(), SUBNET)
}

/// Returns an IPv4 address itself, or the /56 network of an IPv6 address: the line that pays for what stays
/// stored.
pub(crate) fn line_of(address: IpAddr) -> IpAddr {
    masked(address.to_canonical(), LINE)
}

/// The first address of the network of that length, which is at least 1. An IPv4 address stays itself.
fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let host = 128 - u32::from(length);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> host << host))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_ipv6_address_has_three_networks() {
        let all = |address| ClientNetwork::all_of(ip(address)).collect::<Vec<_>>();
        assert_eq!(all("::ffff:1.2.3.4"), all("1.2.3.4"));
        assert_eq!(all("1.2.3.4").len(), 1);
        let first = all("2001:db8:1:2ff::1");
        let same = |other| {
            let other = all(other).into_iter();
            first.iter().zip(other).filter(|(a, b)| *a == b).count()
        };
        assert_eq!(same("2001:db8:1:2ff:9::1"), 3);
        assert_eq!(same("2001:db8:1:200::1"), 2, "the line and the site");
        assert_eq!(same("2001:db8:1:3ff::1"), 1, "the site");
        assert_eq!(same("2001:db8:2:2ff::1"), 0);
        assert_eq!(line_of(ip("2001:db8:1:2ff::1")), ip("2001:db8:1:200::"));
    }

    #[test]
    fn an_ipv6_subscriber_is_one_address() {
        assert_eq!(
            address_key(ip("2001:db8:1:2:3:4:5:6")),
            address_key(ip("2001:db8:1:2::1"))
        );
        assert_ne!(
            address_key(ip("2001:db8:1:2::1")),
            address_key(ip("2001:db8:1:3::1"))
        );
        assert_eq!(address_key(ip("::ffff:1.2.3.4")), ip("1.2.3.4"));
        assert_ne!(address_key(ip("1.2.3.4")), address_key(ip("1.2.3.5")));
    }
}
