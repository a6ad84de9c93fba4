//! C32: a balancer that names its clients by the PROXY protocol, and who only pretends to be one.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use hubbub_tests::certificates::{Authority, text};
use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::within;
use hubbub_tests::haproxy::HaProxy;
use hubbub_tests::process::NodeProcess;
use hubbub_tests::raw::{Raw, upgrade_request};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// What the row allows.
const CLOSED: Duration = Duration::from_secs(3);
/// Five times that.
const DEADLINE: Duration = Duration::from_secs(15);
const TRUSTING: [(&str, &str); 2] = [
    ("http.proxy_protocol", "true"),
    ("http.trusted_proxies", "127.0.0.1/32"),
];

/// A header of version 2 for a client of this address; `tls`: it came over TLS.
fn header(client: Ipv4Addr, tls: bool) -> Vec<u8> {
    let mut rest = client.octets().to_vec();
    rest.extend([127, 0, 0, 1, 0xC0, 0x01, 0x0B, 0xB8]);
    if tls {
        rest.extend([0x20, 0, 5, 0x01, 0, 0, 0, 0]);
    }
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
    bytes.extend((rest.len() as u16).to_be_bytes());
    bytes.extend(rest);
    bytes
}

/// Connects, writes, and says what came back until the end and after how long that was.
async fn say(address: SocketAddr, bytes: &[u8]) -> (String, Duration) {
    let start = Instant::now();
    let mut socket = TcpStream::connect(address).await.expect("the node listens");
    let _ = socket.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = within("the end", DEADLINE, socket.read_to_end(&mut answer)).await;
    (
        String::from_utf8_lossy(&answer).into_owned(),
        start.elapsed(),
    )
}

async fn guest_of(address: SocketAddr, header: &[u8]) -> Result<Raw, String> {
    let mut tcp = TcpStream::connect(address).await.expect("the node listens");
    tcp.write_all(header).await.expect("it reads");
    let opened = Raw::open_over(upgrade_request(address), tcp).await;
    opened.map_err(|error| error.to_string())
}

#[tokio::test]
async fn c32_truncated_absent_and_other_headers_are_closed_in_time() {
    let cluster = Cluster::memory(1, &TRUSTING).await;
    let address = cluster.address(0);
    let good = header(Ipv4Addr::new(203, 0, 113, 7), false);
    let request = format!("GET / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let mut huge = good.clone();
    huge[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
    let cases = [
        ("nothing", Vec::new()),
        ("absent", request.clone().into_bytes()),
        ("cut in the signature", good[..7].to_vec()),
        ("cut in the address", good[..20].to_vec()),
        (
            "version 1",
            format!("PROXY TCP4 203.0.113.7 127.0.0.1 1 2\r\n{request}").into_bytes(),
        ),
        ("an endless one", huge),
        (
            "another version",
            [&good[..12], b"\x31", &good[13..]].concat(),
        ),
    ];
    for (case, bytes) in cases {
        let (answer, took) = say(address, &bytes).await;
        assert_eq!(answer, "", "{case}");
        println!("{case}: closed after {took:.2?}, the goal is {CLOSED:?}");
    }
    let (answer, _) = say(address, &[&good[..], request.as_bytes()].concat()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn c32_only_trusted_proxies_may_connect() {
    let cluster = Cluster::memory(1, &TRUSTING).await;
    let address = cluster.address(0);
    let socket = TcpSocket::new_v4().expect("a socket");
    let other = SocketAddr::from(([127, 0, 0, 2], 0));
    socket.bind(other).expect("all of 127.0.0.0/8 is ours");
    let mut untrusted = socket.connect(address).await.expect("the node listens");
    let request = format!("GET / HTTP/1.1\r\nhost: {address}\r\n\r\n");
    let bytes = [
        &header(Ipv4Addr::new(203, 0, 113, 7), false)[..],
        request.as_bytes(),
    ]
    .concat();
    let _ = untrusted.write_all(&bytes).await;
    let mut answer = Vec::new();
    let _ = within("the end", DEADLINE, untrusted.read_to_end(&mut answer)).await;
    assert_eq!(answer, b"");
}

#[tokio::test]
async fn c32_a_plain_listener_never_reads_such_a_header() {
    let trusted = [("http.trusted_proxies", "127.0.0.1/32")];
    let cluster = Cluster::memory(1, &trusted).await;
    let address = cluster.address(0);
    let request = format!("GET / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let v1 = format!("PROXY TCP4 203.0.113.7 127.0.0.1 1 2\r\n{request}");
    let v2 = [
        &header(Ipv4Addr::new(203, 0, 113, 7), false)[..],
        request.as_bytes(),
    ]
    .concat();
    for bytes in [v1.as_bytes(), &v2] {
        let (answer, _) = say(address, bytes).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn c32_each_client_behind_the_balancer_counts_as_itself() {
    let mut settings = TRUSTING.to_vec();
    settings.push(("limits.connections_per_address", "1"));
    let cluster = Cluster::memory(1, &settings).await;
    let address = cluster.address(0);
    let [one, two] = [7, 8].map(|last| header(Ipv4Addr::new(203, 0, 113, last), false));
    let mut first = guest_of(address, &one)
        .await
        .expect("the first of its address");
    first.join("lobby").await;
    let refused = guest_of(address, &one)
        .await
        .expect_err("the second of that address");
    assert!(refused.contains("429"), "{refused}");
    guest_of(address, &two)
        .await
        .expect("another address")
        .join("lobby")
        .await;
    // What the client itself says about its address counts for nothing.
    let spoofed = format!("GET / HTTP/1.1\r\nhost: {address}\r\nx-forwarded-for: 1.2.3.4\r\n\r\n");
    let (answer, _) = say(address, &[&one[..], spoofed.as_bytes()].concat()).await;
    assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
}

/// An HAProxy that passes bytes on and says who sent them.
async fn balancer(node: SocketAddr, bind: &str, send: &str) -> HaProxy {
    HaProxy::start(&format!(
        "global\n    maxconn 500\n\
         defaults\n    mode tcp\n    timeout connect 2s\n    timeout client 60s\n    timeout server 60s\n\
         frontend clients\n    bind 127.0.0.1:$FRONT {bind}\n    default_backend nodes\n\
         backend nodes\n    server node {node} {send}\n"
    ))
    .await
}

#[tokio::test]
async fn c32_haproxy_with_send_proxy_v2_is_understood() {
    let mut settings = TRUSTING.to_vec();
    settings.push(("archive.url", ""));
    let node = NodeProcess::start("gw-proxied", &settings).await;
    let haproxy = balancer(node.address(), "", "send-proxy-v2").await;
    let socket = TcpSocket::new_v4().expect("a socket");
    let here = SocketAddr::from(([127, 0, 0, 9], 0));
    socket.bind(here).expect("all of 127.0.0.0/8 is ours");
    let tcp = socket
        .connect(haproxy.address())
        .await
        .expect("haproxy listens");
    let opened = Raw::open_over(upgrade_request(haproxy.address()), tcp).await;
    let mut guest = opened.expect("an upgrade");
    guest.join("lobby").await;
    assert!(
        node.log().contains("127.0.0.9"),
        "the node knows the client: {}",
        node.log()
    );
    // HAProxy's own TLS, told in the header: pages of this origin are https then.
    let authority = Authority::new();
    let (cert, key) = authority.sign_local("front");
    let both = [&cert, &key].map(|path| std::fs::read_to_string(path).expect("it was written"));
    let pem = cert.with_extension("both");
    std::fs::write(&pem, both.concat()).expect("there is room for a file");
    let bind = format!("ssl crt {}", text(&pem));
    let front = balancer(node.address(), &bind, "send-proxy-v2-ssl").await;
    for (scheme, status) in [("https", "101"), ("http", "403")] {
        let address = front.address();
        let mut stream = crate::secure::connect(address, &authority)
            .await
            .expect("a handshake");
        let origin = format!("origin: {scheme}://{address}\r\n");
        let request = hubbub_tests::wire::upgrade(address, &origin);
        stream
            .write_all(request.as_bytes())
            .await
            .expect("it reads");
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.expect("an answer");
        assert!(head.ends_with(status.as_bytes()), "{scheme}: {head:?}");
    }
    assert_eq!(guest.ask(json!({"type": "ping"})).await["type"], "pong");
}
