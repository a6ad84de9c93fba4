//! TLS in the binary: who may come, what is spoken inside, certificates that change, and what an
//! idle connection costs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hubbub_client::{Client, ClientConfig, ClientEvent, Start};
use hubbub_protocol::RoomId;
use hubbub_tests::certificates::{Authority, text};
use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::{eventually, within};
use hubbub_tests::http::get;
use hubbub_tests::metrics::Metrics;
use hubbub_tests::process::{NodeProcess, run};
use hubbub_tests::procfs;
use hubbub_tests::raw::Raw;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::rustls::ProtocolVersion;

use crate::secure::{connect, connect_with, guest};

/// Several times the two seconds between two looks at the files.
const RELOAD: Duration = Duration::from_secs(15);
const DEADLINE: Duration = Duration::from_secs(20);

/// A node with a certificate of this authority.
async fn node(authority: &Authority, more: &[(&str, &str)]) -> Cluster {
    let (cert, key) = authority.sign_local("node");
    let mut settings = vec![("http.tls_cert", text(&cert)), ("http.tls_key", text(&key))];
    settings.extend_from_slice(more);
    Cluster::memory(1, &settings).await
}

#[tokio::test]
async fn people_talk_over_both_versions_and_large_messages_arrive_whole() {
    let authority = Authority::new();
    let cluster = node(&authority, &[]).await;
    let address = cluster.address(0);
    for version in [ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_3] {
        let config = authority.client_of(&["http/1.1"], &[version]);
        let stream = connect_with(address, config).await.expect("a handshake");
        let (_, session) = stream.get_ref();
        assert_eq!(session.protocol_version(), Some(version));
        assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
    }
    let (mut alice, mut bob) = (
        guest(address, &authority).await,
        guest(address, &authority).await,
    );
    alice.join("lobby").await;
    bob.join("lobby").await;
    for number in 0..300 {
        let body = json!({ "number": number, "text": "x".repeat(15_000) });
        alice
            .write(json!({"type": "send", "room": "lobby", "body": body}).to_string())
            .await;
    }
    for number in 0..300 {
        let message = bob.next_of("message").await;
        assert_eq!(message["body"]["number"], number);
        assert_eq!(message["body"]["text"].as_str().map(str::len), Some(15_000));
    }
}

#[tokio::test]
async fn the_rust_client_talks_over_tls_to_those_whom_it_trusts() {
    let authority = Authority::new();
    let cluster = node(&authority, &[]).await;
    let url = format!("https://localhost:{}", cluster.address(0).port());
    let config = |authority: &Authority| {
        let mut config = ClientConfig::new([&url]).with_guest_name("Ann");
        config.tls = Some(Arc::new(authority.client(&["http/1.1"])));
        config
    };
    let (client, mut events) = Client::start(config(&authority)).expect("good settings");
    let lobby = RoomId::new("lobby").expect("a room");
    client.join(&lobby, Start::Now).await.expect("let in");
    let text = "x".repeat(15_000);
    for number in 0..20 {
        let body = json!({"number": number, "text": text});
        client.send(&lobby, &body).await.expect("kept");
    }
    for expected in 0..20 {
        let heard = loop {
            match within("an event", DEADLINE, events.recv()).await {
                Some(ClientEvent::Event(event)) => break event,
                Some(_) => {}
                None => panic!("the client has ended"),
            }
        };
        assert_eq!(heard.body.expect("a body")["number"], expected);
    }
    client.close().await;

    let (_stranger, mut events) = Client::start(config(&Authority::new())).expect("good settings");
    let reason = within("a refusal", DEADLINE, async {
        loop {
            match events.recv().await {
                Some(ClientEvent::Disconnected { reason, .. }) => return reason,
                other => assert!(other.is_some(), "it tries again"),
            }
        }
    });
    let reason = reason.await;
    assert!(reason.contains("certificate"), "{reason}");
}

#[tokio::test]
async fn who_reads_slowly_over_tls_gets_everything_in_order() {
    let authority = Authority::new();
    let cluster = node(&authority, &[]).await;
    let address = cluster.address(0);
    let (mut writer, mut reader) = (
        guest(address, &authority).await,
        guest(address, &authority).await,
    );
    reader.join("lobby").await;
    writer.join("lobby").await;
    // More than sockets and outbox hold: the reader falls behind and is brought up to date.
    for number in 0..1_000 {
        let body = json!({ "number": number, "text": "x".repeat(12_000) });
        let sent = writer
            .ask(json!({"type": "send", "room": "lobby", "body": body}))
            .await;
        assert_eq!(sent["type"], "sent", "{sent}");
    }
    for number in 0..1_000 {
        assert_eq!(reader.next_of("message").await["body"]["number"], number);
    }
}

#[tokio::test]
async fn plain_http_unknown_authorities_and_silence_are_refused() {
    let authority = Authority::new();
    let cluster = node(&authority, &[("limits.header_timeout", "1s")]).await;
    let address = cluster.address(0);
    assert!(
        hubbub_tests::http::try_get(address, "/").await.is_none(),
        "no HTTP without TLS"
    );
    let stranger = Authority::new();
    assert!(
        connect(address, &stranger).await.is_err(),
        "another authority"
    );
    let mut silent = TcpStream::connect(address).await.expect("the node listens");
    let ended = within(
        "the end of a handshake that never began",
        DEADLINE,
        silent.read_u8(),
    );
    assert!(ended.await.is_err());
    let rejected = Metrics::read(cluster.ops(0)).await;
    assert!(rejected.sum("rejected_total") >= 3.0, "{rejected:?}");
    guest(address, &authority).await.join("lobby").await;
}

#[tokio::test]
async fn c44_only_http_1_is_spoken() {
    let authority = Authority::new();
    let cluster = node(&authority, &[]).await;
    let address = cluster.address(0);
    let only_2 = connect_with(address, authority.client(&["h2"])).await;
    assert!(only_2.is_err(), "h2 is not negotiated");
    let both = connect_with(address, authority.client(&["h2", "http/1.1"])).await;
    let both = both.expect("a handshake");
    assert_eq!(both.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    // A client that speaks it without asking.
    let plain = Cluster::memory(1, &[]).await;
    let mut socket = TcpStream::connect(plain.address(0))
        .await
        .expect("the node listens");
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    socket.write_all(preface).await.expect("it reads");
    let mut answer = Vec::new();
    let read = within("the end", DEADLINE, socket.read_to_end(&mut answer));
    let _ = read.await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
        "{answer}"
    );
}

#[tokio::test]
async fn the_nodes_own_pages_are_https_now() {
    let authority = Authority::new();
    let cluster = node(&authority, &[]).await;
    let address = cluster.address(0);
    for (origin, status) in [("https", "101"), ("http", "403")] {
        let mut stream = connect(address, &authority).await.expect("a handshake");
        let request =
            hubbub_tests::wire::upgrade(address, &format!("origin: {origin}://{address}\r\n"));
        stream
            .write_all(request.as_bytes())
            .await
            .expect("it reads");
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.expect("an answer");
        assert!(head.ends_with(status.as_bytes()), "{origin}: {head:?}");
    }
}

/// The serial number of the certificate that new connections get.
async fn served(cluster: &Cluster, authority: &Authority) -> Vec<u8> {
    let stream = connect(cluster.address(0), authority)
        .await
        .expect("a handshake");
    let (_, session) = stream.get_ref();
    session.peer_certificates().expect("a certificate")[0].to_vec()
}

#[tokio::test]
async fn new_files_are_taken_without_dropping_anyone_and_bad_ones_are_not() {
    let authority = Authority::new();
    let (cert, key) = authority.sign_local("node");
    let settings = [("http.tls_cert", text(&cert)), ("http.tls_key", text(&key))];
    let cluster = Cluster::memory(1, &settings).await;
    let ops = cluster.ops(0);
    let mut stays = guest(cluster.address(0), &authority).await;
    stays.join("lobby").await;
    let first = served(&cluster, &authority).await;

    // Not a certificate, then one whose key is another's: the old one is still in use.
    let problem = async || {
        let text = get(ops, "/readyz").await;
        assert_eq!(text.status, 200, "the node serves on: {text:?}");
        let line = text
            .body
            .lines()
            .find(|line| line.starts_with("tls: "))?
            .to_owned();
        (line != "tls: ok").then_some(line)
    };
    write(&cert, b"nonsense");
    let (line, _) = eventually("the file is found bad", RELOAD, problem).await;
    assert!(
        line.contains("http.tls_cert") && line.contains("PEM"),
        "{line}"
    );
    assert_eq!(Metrics::read(ops).await.get("tls_certificate_problem"), 1.0);
    let (other, _) = authority.sign_local("other");
    write(&cert, &std::fs::read(&other).expect("it was written"));
    let mismatch = async || problem().await.filter(|line| line.contains("http.tls_key"));
    eventually("the key is found to be another's", RELOAD, mismatch).await;
    assert_eq!(served(&cluster, &authority).await, first);

    // Both new.
    let (new_cert, new_key) = authority.sign_local("new");
    for (from, to) in [(&new_key, &key), (&new_cert, &cert)] {
        write(to, &std::fs::read(from).expect("it was written"));
    }
    let changed = async || (served(&cluster, &authority).await != first).then_some(());
    let (_, took) = eventually("the new certificate is served", RELOAD, changed).await;
    println!("a new certificate was in use after {took:.2?}");
    let well = async || problem().await.is_none().then_some(());
    eventually("nothing is wrong any more", RELOAD, well).await;
    assert_eq!(
        stays.ask(json!({"type": "ping"})).await["type"],
        "pong",
        "nobody was dropped"
    );
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("there is room for a file");
}

#[test]
fn files_that_cannot_work_end_the_start_with_their_name() {
    let authority = Authority::new();
    let (cert, key) = authority.sign_local("node");
    let (_, other) = authority.sign_local("other");
    let cases = [
        (text(&cert), "/nowhere/key.pem", "/nowhere/key.pem"),
        ("/dev/null", text(&key), "http.tls_cert"),
        (text(&cert), "/dev/null", "http.tls_key"),
        (text(&cert), text(&other), "cannot be used"),
        (text(&cert), "", "belong together"),
    ];
    for (cert, key, why) in cases {
        let settings = [
            ("http.bind", "127.0.0.1:0"),
            ("ops.bind", ""),
            ("archive.url", ""),
            ("http.tls_cert", cert),
            ("http.tls_key", key),
        ];
        let ended = run(&settings, &["serve"]);
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(
            !ended.status.success() && said.contains(why),
            "{cert} {key}: {said}"
        );
        assert!(!said.contains("BEGIN"), "{said}");
    }
}

#[tokio::test]
async fn too_many_over_tls_are_told_so_too() {
    let authority = Authority::new();
    let cluster = node(&authority, &[("limits.connections_per_address", "2")]).await;
    let address = cluster.address(0);
    let _held = [
        guest(address, &authority).await,
        guest(address, &authority).await,
    ];
    let mut third = connect(address, &authority).await.expect("a handshake");
    let request = format!("GET / HTTP/1.1\r\nhost: {address}\r\n\r\n");
    third.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = Vec::new();
    let _ = within("the answer", DEADLINE, third.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
}

/// Idle connections of one kind, and what each costs the node in bytes.
async fn idle_cost(node: &NodeProcess, open: impl AsyncFn() -> Raw) -> (Vec<Raw>, u64) {
    const COUNT: u64 = 400;
    let mut held = Vec::new();
    for _ in 0..50 {
        held.push(open().await);
    }
    let before = procfs::rss(node.pid()).expect("the node runs");
    for _ in 0..COUNT {
        held.push(open().await);
    }
    let after = procfs::rss(node.pid()).expect("the node runs");
    (held, after.saturating_sub(before) / COUNT)
}

#[tokio::test]
async fn an_idle_connection_over_tls_costs_a_few_kilobytes_more() {
    let authority = Authority::new();
    let (cert, key) = authority.sign_local("node");
    let more = [
        ("archive.url", ""),
        ("http.tls_cert", text(&cert)),
        ("http.tls_key", text(&key)),
    ];
    let secure = NodeProcess::start("gw-tls", &more).await;
    let plain = NodeProcess::start("gw-plain", &more[..1]).await;
    let (_plain, without) = idle_cost(&plain, async || {
        joined(Raw::connect(plain.address()).await).await
    })
    .await;
    let (_secure, with) = idle_cost(&secure, async || {
        joined(guest(secure.address(), &authority).await).await
    })
    .await;
    println!("an idle connection in a room: {without} bytes plain, {with} bytes over TLS (RSS)");
    assert!(with < 5 * 16 * 1024, "{with} bytes");
}

async fn joined(mut raw: Raw) -> Raw {
    raw.join("lobby").await;
    raw
}
