//! C57 and C58: long messages. They are paid for before they are read, and JSON never becomes a tree
//! of values.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::{eventually, within};
use hubbub_tests::http::exchange;
use hubbub_tests::metrics::Metrics;
use hubbub_tests::process::NodeProcess;
use hubbub_tests::procfs;
use hubbub_tests::raw::{Heard, Raw};
use hubbub_tests::socketio::SocketIo;
use hubbub_tests::wire::{Frame, Read, Wire, op, upgrade};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep};

const DEADLINE: Duration = Duration::from_secs(30);
const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const NEIGHBOUR: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));
const MIB: u64 = 1 << 20;
/// Attackers that each send a megabyte.
const MANY: usize = 10;

/// A megabyte of JSON whose values would take forty times as much.
fn heavy(start: &str, item: &str, end: &str) -> String {
    let count = (999_900 - start.len() - end.len()) / item.len();
    format!("{start}{}{end}", item.repeat(count))
}

fn objects() -> String {
    heavy(r#"42["chat message",["#, r#"{"":0},"#, "0]]")
}

async fn reserved(ops: SocketAddr) -> f64 {
    Metrics::read(ops).await.get("reserved_bytes")
}

async fn nothing_reserved(ops: SocketAddr) {
    let free = async || (reserved(ops).await == 0.0).then_some(());
    eventually("everything is given back", DEADLINE, free).await;
}

async fn connect_from(source: IpAddr, address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    let small = socket.set_recv_buffer_size(4_096);
    small.expect("a buffer of that size");
    socket.bind(SocketAddr::new(source, 0)).expect("loopback");
    socket.connect(address).await.expect("the node listens")
}

/// The most memory that a node takes in a while, above what it had.
async fn peak(pid: u32, before: u64, time: Duration) -> u64 {
    let (start, mut most) = (Instant::now(), 0);
    while start.elapsed() < time {
        let now = procfs::rss(pid).expect("the node runs");
        most = most.max(now.saturating_sub(before));
        sleep(Duration::from_millis(20)).await;
    }
    most
}

/// A room whose page is more than an outbox takes.
async fn fill(address: SocketAddr) {
    let mut alice = Raw::connect(address).await;
    alice.join("big").await;
    let text = "x".repeat(16_000);
    for _ in 0..100 {
        alice.say("big", &text).await;
    }
}

/// JSON of a client that reads nothing waits in the kernel.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c57_json_waits_outside_while_its_sender_reads_nothing() {
    let node = NodeProcess::start("gw-unread", &[("archive.url", "")]).await;
    fill(node.address()).await;
    let mut clients = Vec::new();
    for _ in 0..MANY {
        let tcp = connect_from(ATTACKER, node.address()).await;
        let mut client = SocketIo::over(node.address(), tcp).await;
        for id in 0..8 {
            let ask = format!(r#"42{id}["history",{{"room":"big","limit":100}}]"#);
            client.write(ask).await;
        }
        clients.push(client);
    }
    let waits = async || (reserved(node.ops()).await > 1e6).then_some(());
    eventually("answers wait for their readers", DEADLINE, waits).await;
    let before = procfs::rss(node.pid()).expect("the node runs");
    let packet = objects();
    let senders: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            let packet = packet.clone();
            tokio::spawn(async move {
                client.write(packet).await;
                // Held, and not read.
                std::future::pending::<()>().await;
                drop(client);
            })
        })
        .collect();
    let grown = peak(node.pid(), before, Duration::from_secs(4)).await;
    println!(
        "{MANY} MB that nobody may send yet took {} KiB",
        grown / 1024
    );
    assert!(grown < 8 * MIB, "{grown} bytes");
    for sender in senders {
        sender.abort();
    }
    nothing_reserved(node.ops()).await;
}

/// JSON that is read takes little more than its text.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c57_json_takes_little_more_than_its_text() {
    let node = NodeProcess::start("gw-json", &[("archive.url", "")]).await;
    let packets = [
        objects(),
        heavy(r#"42["chat message","#, "0,", "0]"),
        heavy(r#"421["join",{"since":{"x":["#, "0,", "0]}}]"),
        heavy(r#"421["send",{"id":["#, r#"{"":0},"#, "0]}]"),
        heavy(r#"42["nobody","#, "[],", "0]"),
    ];
    let mut client = SocketIo::connect(node.address()).await;
    let before = procfs::rss(node.pid()).expect("the node runs");
    for packet in &packets {
        client.write(packet.clone()).await;
        let answer = loop {
            match client.hear().await {
                Heard::Text(text) if text.contains(r#""type":"error""#) => break text,
                Heard::Text(_) => {}
                Heard::End(end) => panic!("the connection ended: {end:?}"),
            }
        };
        assert!(answer.contains(r#""code":"too_large""#), "{answer}");
    }
    let grown = procfs::rss(node.pid()).expect("the node runs");
    let grown = grown.saturating_sub(before);
    println!("megabytes of lists and objects took {} KiB", grown / 1024);
    assert!(grown < 12 * MIB, "{grown} bytes");
    nothing_reserved(node.ops()).await;
}

/// The same over HTTP: a long body is reserved before it has come, and given back with its session.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c57_long_posts_are_paid_for_by_their_address() {
    let node = NodeProcess::start("gw-posts", &[("archive.url", "")]).await;
    let address = node.address();
    let begin =
        |path: &str| format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let mut posts = Vec::new();
    for _ in 0..2 * MANY {
        let handshake = begin("/socket.io/?EIO=4&transport=polling");
        let answer = exchange(address, handshake.as_bytes()).await;
        let greeting = answer.expect("an answer").body;
        let greeting: Value = serde_json::from_str(&greeting[1..]).expect("a greeting");
        let sid = greeting["sid"].as_str().expect("a session").to_owned();
        let head = format!(
            "POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nhost: {address}\r\n\
             content-length: 1000000\r\n\r\n"
        );
        let mut socket = connect_from(ATTACKER, address).await;
        socket.write_all(head.as_bytes()).await.expect("it reads");
        posts.push(socket);
    }
    let holds = async || (reserved(node.ops()).await >= 2e7).then_some(());
    eventually("bodies are awaited", DEADLINE, holds).await;
    let most = reserved(node.ops()).await;
    assert!(
        most <= 32.0 * 1024.0 * 1024.0,
        "one address holds {most} bytes"
    );
    drop(posts);
    nothing_reserved(node.ops()).await;
}

/// Long messages that never end hold up their own address only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c58_messages_that_never_end_are_paid_for_by_their_address() {
    let node = NodeProcess::start("gw-endless", &[("archive.url", "")]).await;
    let address = node.address();
    let before = procfs::rss(node.pid()).expect("the node runs");
    let whole = Frame::new(op::TEXT, objects()).bytes();
    let mut tasks = Vec::new();
    for _ in 0..10 * MANY {
        let tcp = connect_from(ATTACKER, address).await;
        let part = whole[..900_000].to_vec();
        tasks.push(tokio::spawn(never_end(address, tcp, part)));
    }
    let holds = async || (reserved(node.ops()).await >= 2e7).then_some(());
    eventually("messages are awaited", DEADLINE, holds).await;
    // The neighbour's is read at once.
    let tcp = connect_from(NEIGHBOUR, address).await;
    let mut neighbour = SocketIo::over(address, tcp).await;
    let long = format!(r#"421["chat message","{}"]"#, "x".repeat(60_000));
    neighbour.write(long).await;
    let answer = neighbour.next_with("431[").await;
    assert!(answer.contains("too_large"), "{answer:.200}");
    let most = reserved(node.ops()).await;
    assert!(
        most <= 33.0 * 1024.0 * 1024.0,
        "one address holds {most} bytes"
    );
    let grown = procfs::rss(node.pid()).expect("the node runs");
    let grown = grown.saturating_sub(before);
    println!(
        "100 messages of 1 MB that never end took {} KiB",
        grown / 1024
    );
    assert!(grown < 64 * MIB, "{grown} bytes");
    for task in tasks {
        task.abort();
    }
    nothing_reserved(node.ops()).await;
}

/// Begins a long message and does not end it.
async fn never_end(address: SocketAddr, mut tcp: TcpStream, part: Vec<u8>) {
    let path = "/socket.io/?EIO=4&transport=websocket";
    let request = upgrade(address, "").replacen("/v1/ws", path, 1);
    // The node may close it meanwhile: then this address has had enough.
    if tcp.write_all(request.as_bytes()).await.is_ok() && tcp.write_all(&part).await.is_ok() {
        std::future::pending::<()>().await;
    }
}

/// Lists where something else was expected, on the native door and over REST.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c58_lists_and_depth_are_refused_and_leave_the_memory_flat() {
    let node = NodeProcess::start("gw-lists", &[("archive.url", "")]).await;
    let address = node.address();
    let list = "0,".repeat(30_000);
    let frames = [
        format!(r#"{{"type":"ping","id":[{list}0]}}"#),
        format!(r#"{{"type":"send","room":"lobby","body":1,"ack":[{list}0]}}"#),
        format!(r#"{{"type":"join","room":"lobby","since":{{"x":[{list}0]}}}}"#),
        format!(
            r#"{{"type":"send","room":"lobby","body":{}"#,
            "[".repeat(60_000)
        ),
        format!(
            r#"{{"type":"send","room":"lobby","body":{}"#,
            r#"{"":"#.repeat(14_000)
        ),
    ];
    let before = procfs::rss(node.pid()).expect("the node runs");
    for frame in &frames {
        let mut raw = Raw::connect(address).await;
        raw.join("lobby").await;
        for _ in 0..15 {
            raw.write(frame.clone()).await;
            assert_eq!(
                raw.next_of("error").await["code"],
                "bad_frame",
                "{frame:.60}"
            );
        }
    }
    let mut raw = Raw::connect(address).await;
    raw.join("lobby").await;
    let large = json!({"type": "send", "room": "lobby", "body": vec![0; 30_000]});
    assert_eq!(raw.ask(large).await["code"], "too_large");
    // Long, and in fragments of which no one is long.
    let mut wire = Wire::open(address).await;
    let text = format!(r#"{{"type":"ping","x":"{}"}}"#, "x".repeat(40_000));
    let parts: Vec<&[u8]> = text.as_bytes().chunks(1_000).collect();
    wire.send(&Frame::fragment(op::TEXT, parts[0])).await;
    for part in &parts[1..] {
        wire.send(&Frame::fragment(op::CONTINUATION, *part)).await;
    }
    wire.send(&Frame::new(op::CONTINUATION, "")).await;
    let pong = within("a pong", DEADLINE, wire.read()).await;
    assert!(
        matches!(&pong, Read::Text(text) if text.contains("pong")),
        "{pong:?}"
    );

    let guest = hubbub_tests::http::post(address, "/v1/guests", &json!({}))
        .await
        .json();
    let token = guest["token"].as_str().expect("a token");
    for (path, body) in [
        ("/v1/messages", heavy(r#"{"messages":["#, "0,", "0]}")),
        (
            "/v1/messages",
            heavy(
                r#"{"messages":[{"room":"lobby","body":["#,
                r#"{"":0},"#,
                "0]}]}",
            ),
        ),
        (
            "/v1/rooms/lobby/messages",
            format!(r#"{{"body":1,"nonce":[{list}0]}}"#),
        ),
        (
            "/v1/rooms/lobby/messages",
            format!(r#"{{"body":{}}}"#, "[".repeat(60_000)),
        ),
        ("/v1/rooms", format!(r#"{{"settings":{{"x":[{list}0]}}}}"#)),
    ] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let answer = exchange(address, request.as_bytes())
            .await
            .expect("an answer");
        let is_refused = matches!(answer.status, 400 | 413);
        let is_batch = answer.status == 200 && answer.body.contains("too_large");
        assert!(is_refused || is_batch, "{path} {body:.60}: {answer:?}");
    }
    let grown = procfs::rss(node.pid()).expect("the node runs");
    let grown = grown.saturating_sub(before);
    println!("lists and depth took {} KiB", grown / 1024);
    assert!(grown < 16 * MIB, "{grown} bytes");
    nothing_reserved(node.ops()).await;
}

/// A long first message of somebody who has no session yet is paid for too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c58_a_long_first_message_is_handled() {
    let cluster = Cluster::memory(1, &[]).await;
    let mut wire = Wire::open_silent(cluster.address(0)).await;
    let text = format!(r#"{{"type":"ping","id":1,"x":"{}"}}"#, "x".repeat(60_000));
    wire.send(&Frame::new(op::TEXT, text)).await;
    loop {
        match within("the pong", DEADLINE, wire.read()).await {
            Read::Text(text) if text.contains(r#""type":"pong""#) => break,
            Read::Text(_) => {}
            other => panic!("{other:?}"),
        }
    }
    nothing_reserved(cluster.ops(0)).await;
}
