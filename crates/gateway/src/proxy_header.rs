//! The PROXY protocol, version 2: the first bytes on a balancer's connection, which say who the
//! client is.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const FIXED_BYTES: usize = 16;
/// The bytes that follow those; balancers send a hundred or so.
const MAX_BYTES: usize = 2048;
const TLV_SSL: u8 = 0x20;
const CLIENT_SSL: u8 = 0x01;

/// A balancer's words about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Introduced {
    /// The client; `None`: the balancer speaks for itself, as for its health checks.
    pub(crate) client: Option<SocketAddr>,
    /// Whether the client came to the balancer over TLS.
    pub(crate) tls: bool,
}

/// Why a connection has no such header.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeaderError {
    #[error("it ends within the PROXY header: {0}")]
    Io(#[from] io::Error),
    #[error("no PROXY header of version 2")]
    Absent,
    #[error("a PROXY header of version 1: let the balancer send version 2")]
    TextVersion,
    #[error("a PROXY header that breaks its rules")]
    Malformed,
}

/// Reads the header and not a byte more.
pub(crate) async fn read_header(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Introduced, HeaderError> {
    let mut fixed = [0; FIXED_BYTES];
    stream.read_exact(&mut fixed).await?;
    let length = length(&fixed)?;
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    parse(&fixed, &rest)
}

/// How many bytes follow the fixed ones.
fn length(fixed: &[u8; FIXED_BYTES]) -> Result<usize, HeaderError> {
    if fixed[..SIGNATURE.len()] != SIGNATURE {
        return Err(if fixed.starts_with(b"PROXY ") {
            HeaderError::TextVersion
        } else {
            HeaderError::Absent
        });
    }
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length <= MAX_BYTES {
        Ok(length)
    } else {
        Err(HeaderError::Malformed)
    }
}

/// The whole header, whose signature was looked at.
fn parse(fixed: &[u8; FIXED_BYTES], rest: &[u8]) -> Result<Introduced, HeaderError> {
    let nobody = Introduced {
        client: None,
        tls: false,
    };
    match fixed[12] {
        // LOCAL: whatever else stands there means nothing.
        0x20 => return Ok(nobody),
        0x21 => {}
        _ => return Err(HeaderError::Malformed),
    }
    let (client, tlvs) = match fixed[13] {
        // TCP over IPv4: two addresses, two ports.
        0x11 => {
            let (block, tlvs) = split::<12>(rest)?;
            let ip = Ipv4Addr::new(block[0], block[1], block[2], block[3]);
            let port = u16::from_be_bytes([block[8], block[9]]);
            (Some(SocketAddr::new(ip.into(), port)), tlvs)
        }
        // TCP over IPv6.
        0x21 => {
            let (block, tlvs) = split::<36>(rest)?;
            let (ip, _) = split::<16>(block)?;
            let ip = IpAddr::V6(Ipv6Addr::from(*ip)).to_canonical();
            let port = u16::from_be_bytes([block[32], block[33]]);
            (Some(SocketAddr::new(ip, port)), tlvs)
        }
        // Of a kind that the balancer cannot name.
        0x00 => return Ok(nobody),
        _ => return Err(HeaderError::Malformed),
    };
    let tls = has_tls(tlvs)?;
    Ok(Introduced { client, tls })
}

fn split<const N: usize>(bytes: &[u8]) -> Result<(&[u8; N], &[u8]), HeaderError> {
    bytes.split_first_chunk().ok_or(HeaderError::Malformed)
}

/// Looks through type, length and value, one after the other.
fn has_tls(mut tlvs: &[u8]) -> Result<bool, HeaderError> {
    let mut tls = false;
    while !tlvs.is_empty() {
        let (&[kind, high, low], rest) = split::<3>(tlvs)?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, rest) = rest
            .split_at_checked(length)
            .ok_or(HeaderError::Malformed)?;
        if kind == TLV_SSL {
            tls |= value.first().is_some_and(|flags| flags & CLIENT_SSL != 0);
        }
        tlvs = rest;
    }
    Ok(tls)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend((rest.len() as u16).to_be_bytes());
        bytes.extend(rest);
        bytes
    }

    async fn read(bytes: &[u8]) -> Result<Introduced, String> {
        let mut stream = bytes;
        let read = read_header(&mut stream).await;
        if read.is_ok() {
            assert_eq!(stream, b"", "the header was read to its end");
        }
        read.map_err(|error| error.to_string())
    }

    const V4: [u8; 12] = [203, 0, 113, 7, 10, 0, 0, 1, 0xC0, 0x01, 0, 80];

    #[tokio::test]
    async fn clients_of_both_families_are_named() {
        let v4 = read(&header(0x21, 0x11, &V4)).await.unwrap();
        assert_eq!(v4.client, Some("203.0.113.7:49153".parse().unwrap()));
        assert!(!v4.tls);
        let mut v6 = [0; 36];
        v6[..16].copy_from_slice(&"2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        v6[32..34].copy_from_slice(&443_u16.to_be_bytes());
        let v6 = read(&header(0x21, 0x21, &v6)).await.unwrap();
        assert_eq!(v6.client, Some("[2001:db8::1]:443".parse().unwrap()));
    }

    #[tokio::test]
    async fn tls_is_told_by_its_own_field() {
        let alpn = [0x01, 0, 2, b'h', b'2'];
        let over = [&[TLV_SSL, 0, 5][..], &[CLIENT_SSL, 0, 0, 0, 0]].concat();
        let without = [&[TLV_SSL, 0, 5][..], &[0, 0, 0, 0, 0]].concat();
        for (tlvs, tls) in [
            ([&alpn[..], &over].concat(), true),
            (without, false),
            (alpn.to_vec(), false),
        ] {
            let rest = [&V4[..], &tlvs].concat();
            assert_eq!(read(&header(0x21, 0x11, &rest)).await.unwrap().tls, tls);
        }
    }

    #[tokio::test]
    async fn a_balancers_own_connections_name_nobody() {
        for (command, family, rest) in [(0x20, 0, &[][..]), (0x20, 0x11, &V4), (0x21, 0, &V4)] {
            let introduced = read(&header(command, family, rest)).await.unwrap();
            assert_eq!(introduced.client, None);
        }
    }

    #[tokio::test]
    async fn what_is_no_header_says_why() {
        let why = async |bytes: &[u8]| read(bytes).await.unwrap_err();
        assert!(why(b"GET / HTTP/1.1\r\n").await.contains("no PROXY"));
        assert!(
            why(b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n")
                .await
                .contains("version 1")
        );
        let good = header(0x21, 0x11, &V4);
        for length in 0..good.len() {
            assert!(
                why(&good[..length]).await.contains("ends within"),
                "{length}"
            );
        }
        let mut huge = good.clone();
        huge[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
        let cut_tlv = [&V4[..], &[TLV_SSL, 0, 9, 1]].concat();
        for bad in [
            huge,
            header(0x22, 0x11, &V4),
            header(0x11, 0x11, &V4),
            header(0x21, 0x31, &V4),
            header(0x21, 0x11, &V4[..11]),
            header(0x21, 0x21, &V4),
            header(0x21, 0x11, &cut_tlv),
        ] {
            assert!(why(&bad).await.contains("breaks its rules"), "{bad:?}");
        }
    }
}
