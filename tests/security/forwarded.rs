//! C31: who a client is, behind proxies and behind lies. The limit of connections an address shows
//! which address counts.

use std::net::SocketAddr;

use hubbub_tests::cluster::Cluster;
use hubbub_tests::raw::{Raw, upgrade_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};

const SETTINGS: [(&str, &str); 2] = [
    ("http.trusted_proxies", "127.0.0.1/32,10.0.0.0/8"),
    ("limits.connections_per_address", "1"),
];

/// Connects from an address of loopback with these headers; `None`: too many of that client.
async fn connect(from: [u8; 4], node: SocketAddr, headers: &[(&str, &str)]) -> Option<Raw> {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind((from, 0).into())
        .expect("all of 127.0.0.0/8 is ours");
    let tcp = socket.connect(node).await.expect("the node listens");
    let mut request = upgrade_request(node);
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header's name");
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header's value");
        request.headers_mut().append(name, value);
    }
    match Raw::open_over(request, tcp).await {
        Ok(raw) => Some(raw),
        Err(error) => {
            let refused = error.to_string();
            assert!(refused.contains("429"), "{refused}");
            None
        }
    }
}

const PROXY: [u8; 4] = [127, 0, 0, 1];
const STRANGER: [u8; 4] = [127, 0, 0, 2];

#[tokio::test]
async fn c31_an_untrusted_peer_is_who_it_is() {
    let cluster = Cluster::memory(1, &SETTINGS).await;
    let node = cluster.address(0);
    let _first = connect(STRANGER, node, &[("x-forwarded-for", "203.0.113.1")]).await;
    for lie in [
        ("x-forwarded-for", "203.0.113.2"),
        ("forwarded", "for=203.0.113.3"),
        ("x-real-ip", "203.0.113.4"),
    ] {
        // Refused at once, before a header is read: so the handshake may also just end.
        let socket = TcpSocket::new_v4().expect("a socket");
        socket
            .bind((STRANGER, 0).into())
            .expect("all of 127.0.0.0/8 is ours");
        let tcp = socket.connect(node).await.expect("the node listens");
        let mut request = upgrade_request(node);
        let value = HeaderValue::from_static(lie.1);
        request.headers_mut().insert(lie.0, value);
        let refused = Raw::open_over(request, tcp).await;
        assert!(refused.is_err(), "{lie:?} makes nobody of it");
    }
}

#[tokio::test]
async fn c31_a_chain_is_walked_from_the_right_over_trusted_proxies() {
    let cluster = Cluster::memory(1, &SETTINGS).await;
    let node = cluster.address(0);
    let chain = |client: &str| format!("6.6.6.6, {client}, 10.1.1.1, 10.2.2.2");
    let (one, two) = (chain("203.0.113.1"), chain("203.0.113.2"));
    let first = connect(PROXY, node, &[("x-forwarded-for", &one)]).await;
    assert!(first.is_some());
    let again = connect(PROXY, node, &[("x-forwarded-for", &one)]).await;
    assert!(again.is_none(), "the same client by the same way");
    // What stands left of the first untrusted address is the client's own invention.
    let spoofed = one.replace("6.6.6.6", "7.7.7.7");
    assert!(
        connect(PROXY, node, &[("x-forwarded-for", &spoofed)])
            .await
            .is_none()
    );
    // The same client over several lines.
    let lines = [
        ("x-forwarded-for", "203.0.113.1"),
        ("x-forwarded-for", "10.1.1.1"),
    ];
    assert!(connect(PROXY, node, &lines).await.is_none());
    assert!(
        connect(PROXY, node, &[("x-forwarded-for", &two)])
            .await
            .is_some()
    );
    // Subscribers of IPv6 own a /64.
    let v6 = connect(PROXY, node, &[("x-forwarded-for", "2001:db8:1:1::1")]).await;
    assert!(v6.is_some());
    let neighbour = "2001:db8:1:1:ffff::2";
    assert!(
        connect(PROXY, node, &[("x-forwarded-for", neighbour)])
            .await
            .is_none()
    );
    let other = "2001:db8:1:2::1";
    assert!(
        connect(PROXY, node, &[("x-forwarded-for", other)])
            .await
            .is_some()
    );
}

#[tokio::test]
async fn c31_an_unreadable_hop_next_to_the_proxy_means_the_proxy() {
    let cluster = Cluster::memory(1, &SETTINGS).await;
    let node = cluster.address(0);
    let held = connect(PROXY, node, &[("x-forwarded-for", "unknown")]).await;
    assert!(held.is_some());
    for garbage in ["203.0.113", "203.0.113.1, _hidden", "", "' OR 1=1", "\u{1}"] {
        let Ok(value) = HeaderValue::from_str(garbage) else {
            continue;
        };
        let value = value.to_str().expect("it is ASCII");
        let refused = connect(PROXY, node, &[("x-forwarded-for", value)]).await;
        assert!(refused.is_none(), "{garbage:?} counts as the proxy itself");
    }
}

#[tokio::test]
async fn c46_nothing_that_a_client_writes_before_its_address_hides_it() {
    let cluster = Cluster::memory(1, &SETTINGS).await;
    let node = cluster.address(0);
    let held = connect(PROXY, node, &[("x-forwarded-for", "203.0.113.7")]).await;
    assert!(held.is_some());
    let many = "9.9.9.9, ".repeat(40);
    for before in [
        "x, ",
        "-,",
        "unknown, ",
        "9.9.9.9, ",
        ",,",
        "' OR 1=1, ",
        &many,
    ] {
        let appended = format!("{before}203.0.113.7");
        let again = connect(PROXY, node, &[("x-forwarded-for", &appended)]).await;
        assert!(again.is_none(), "{before:?} hides the client");
    }
    let lines = [
        ("x-forwarded-for", "unknown"),
        ("x-forwarded-for", "203.0.113.7"),
    ];
    assert!(connect(PROXY, node, &lines).await.is_none());
    // A byte that is no text, in a line of its own and in the line to which the proxy appends.
    for before in [&b"\xff"[..], &b"\xff, 203.0.113.7"[..]] {
        let mut request = upgrade_request(node);
        let value = HeaderValue::from_bytes(before).expect("a header may hold any byte");
        let ours = HeaderValue::from_static("203.0.113.7");
        request.headers_mut().append("x-forwarded-for", value);
        request.headers_mut().append("x-forwarded-for", ours);
        assert!(Raw::try_open(request).await.is_err(), "{before:?}");
    }
}

/// A proxy that writes one header passes the other on as the client wrote it.
#[tokio::test]
async fn c77_only_the_header_that_the_proxies_write_is_read() {
    let cluster = Cluster::memory(1, &SETTINGS).await;
    let node = cluster.address(0);
    let ours = ("x-forwarded-for", "203.0.113.1");
    let _held = connect(PROXY, node, &[ours]).await;
    for lie in ["for=203.0.113.2", "for=203.0.113.3, for=203.0.113.4"] {
        let both = [("forwarded", lie), ours];
        assert!(connect(PROXY, node, &both).await.is_none(), "{lie}");
    }
    let [proxies, limit] = SETTINGS;
    let settings = [proxies, limit, ("http.forwarded_header", "forwarded")];
    let cluster = Cluster::memory(1, &settings).await;
    let node = cluster.address(0);
    let standard = "for=7.7.7.7, for=\"203.0.113.1:4711\";proto=https, for=10.1.1.1";
    let ours = ("forwarded", standard);
    let _held = connect(PROXY, node, &[ours]).await;
    for lie in ["203.0.113.2", "unknown"] {
        let both = [("x-forwarded-for", lie), ours];
        assert!(connect(PROXY, node, &both).await.is_none(), "{lie}");
    }
    for before in ["x, ", "unknown, ", "9.9.9.9, "] {
        let appended = format!("for={before} for=203.0.113.1");
        let again = connect(PROXY, node, &[("forwarded", &appended)]).await;
        assert!(again.is_none(), "{before:?} hides the client");
    }
}

/// On a socket of both families an IPv4 client has an IPv6 form, which is the same client.
#[tokio::test]
async fn c78_an_ipv4_proxy_is_trusted_on_a_socket_of_both_families() {
    let [proxies, limit] = SETTINGS;
    let settings = [proxies, limit, ("http.bind", "[::ffff:127.0.0.1]:0")];
    let cluster = Cluster::memory(1, &settings).await;
    let node = SocketAddr::from((PROXY, cluster.address(0).port()));
    let one = connect(PROXY, node, &[("x-forwarded-for", "203.0.113.1")]).await;
    assert!(one.is_some());
    let again = connect(PROXY, node, &[("x-forwarded-for", "203.0.113.1")]).await;
    assert!(again.is_none(), "the same client");
    let other = connect(PROXY, node, &[("x-forwarded-for", "203.0.113.2")]).await;
    assert!(other.is_some(), "another client behind the same proxy");
}

/// Sends a request by the proxy for `client`. Returns the status and the connection.
async fn request(node: SocketAddr, client: &str, head: &str) -> (u16, TcpStream) {
    let mut socket = TcpStream::connect(node).await.expect("the node listens");
    let request = format!(
        "{head} HTTP/1.1\r\nHost: {node}\r\nX-Forwarded-For: {client}\r\nContent-Length: 0\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.expect("taken");
    let mut start = [0; 12];
    socket.read_exact(&mut start).await.expect("an answer");
    let status = String::from_utf8_lossy(&start[9..]);
    (status.parse().expect("a status"), socket)
}

/// The first two of a client are served, the third is refused, and another client is served.
async fn has_two(node: SocketAddr, clients: [&str; 2], head: &str, served: u16) {
    let mut held = Vec::new();
    for (client, expected) in [
        (clients[0], served),
        (clients[0], served),
        (clients[0], 429),
        (clients[1], served),
    ] {
        let (status, socket) = request(node, client, head).await;
        assert_eq!(status, expected, "{head} of {client}");
        held.push(socket);
    }
}

#[tokio::test]
async fn c86_each_client_behind_a_proxy_has_limits_of_its_own_on_every_door() {
    let proxy = SETTINGS[0];
    let two = ("limits.connections_per_address", "2");
    let cluster = Cluster::memory(1, &[proxy, two]).await;
    let node = cluster.address(0);
    let stream = "GET /v1/rooms/lobby/events";
    has_two(node, ["203.0.113.1", "203.0.113.2"], stream, 200).await;
    let polling = "GET /socket.io/?EIO=4&transport=polling";
    has_two(node, ["203.0.113.3", "203.0.113.4"], polling, 200).await;
    let guests = ("limits.guests_per_minute", "2");
    let cluster = Cluster::memory(1, &[proxy, guests]).await;
    let clients = ["203.0.113.5", "203.0.113.6"];
    has_two(cluster.address(0), clients, "POST /v1/guests", 201).await;
}

#[tokio::test]
async fn c86_refused_handshakes_behind_a_proxy_spend_their_own_share_only() {
    let accepts = ("limits.accepts_per_second", "80");
    let cluster = Cluster::memory(1, &[SETTINGS[0], SETTINGS[1], accepts]).await;
    let node = cluster.address(0);
    let attacker = [("x-forwarded-for", "203.0.113.1")];
    let held = connect(PROXY, node, &attacker).await;
    assert!(held.is_some());
    for _ in 0..200 {
        assert!(connect(PROXY, node, &attacker).await.is_none());
    }
    let other = connect(PROXY, node, &[("x-forwarded-for", "203.0.113.2")]).await;
    assert!(other.is_some(), "another client behind the same proxy");
}
