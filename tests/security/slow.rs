//! C20, C22 and C23: who sends crumbs, who sends too many control frames, who does not read, and who
//! goes without a word.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::{eventually, within};
use hubbub_tests::load::flood_with;
use hubbub_tests::metrics::Metrics;
use hubbub_tests::process::NodeProcess;
use hubbub_tests::procfs;
use hubbub_tests::raw::{Heard, Raw, upgrade_request};
use hubbub_tests::wire::{Frame, Read, Wire, op, upgrade};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::sleep;

/// Several times what the rows allow.
const DEADLINE: Duration = Duration::from_secs(50);

#[tokio::test]
async fn c20_a_hundred_with_endless_crumbs_leave_the_memory_flat() {
    let settings = [
        ("archive.url", ""),
        ("limits.assemble_timeout", "4s"),
        ("limits.ping_interval", "10m"),
        ("limits.pong_timeout", "5m"),
    ];
    let node = NodeProcess::start("gw-crumbs", &settings).await;
    let mut all = Vec::new();
    for _ in 0..100 {
        all.push(Wire::open(node.address()).await);
    }
    let before = procfs::rss(node.pid()).expect("it runs");
    for wire in &mut all {
        wire.send(&Frame::fragment(op::TEXT, "")).await;
        let crumbs: Vec<u8> = (0..1_000)
            .flat_map(|n| {
                Frame::fragment(op::CONTINUATION, if n % 2 == 0 { "" } else { "x" }).bytes()
            })
            .collect();
        wire.write(&crumbs).await;
    }
    let grown = procfs::rss(node.pid())
        .expect("it runs")
        .saturating_sub(before);
    println!("100 messages of 1,001 crumbs took {} KiB", grown / 1024);
    assert!(grown < 16 << 20, "{grown} bytes");
    let start = Instant::now();
    for (number, wire) in all.iter_mut().enumerate() {
        if number % 2 == 0 {
            // One more than 1,024.
            let rest = Frame::fragment(op::CONTINUATION, "").bytes().repeat(30);
            wire.write(&rest).await;
        }
        // The others fall silent.
        assert_eq!(
            within("the end", DEADLINE, wire.close_code()).await,
            1008,
            "{number}"
        );
    }
    println!("all were closed with 1008 after {:.2?}", start.elapsed());
}

#[tokio::test]
async fn c22_control_frames_above_the_rate_are_4429() {
    let cluster = Cluster::memory(1, &[]).await;
    let address = cluster.address(0);
    for kind in [op::PING, op::PONG] {
        let mut wire = Wire::open(address).await;
        // A thousand in a second; a few come in between as from honest clients.
        for _ in 0..10 {
            wire.send(&Frame::new(kind, "x")).await;
        }
        wire.write(&Frame::new(kind, "x").bytes().repeat(1_000))
            .await;
        assert_eq!(wire.close_code().await, 4429, "{kind}");
    }
    let mut calm = Wire::open(address).await;
    for _ in 0..20 {
        calm.send(&Frame::new(op::PONG, "nobody asked")).await;
    }
    calm.send(&Frame::new(op::PING, "still here")).await;
    assert_eq!(calm.read().await, Read::Pong(b"still here".to_vec()));
}

#[tokio::test]
async fn c22_what_comes_after_close_is_not_heard_and_the_socket_ends() {
    let cluster = Cluster::memory(1, &[]).await;
    let mut watcher = cluster.raw(0).await;
    watcher.join("lobby").await;
    let mut wire = Wire::open(cluster.address(0)).await;
    wire.send(&Frame::new(
        op::TEXT,
        r#"{"type":"join","id":1,"room":"lobby"}"#,
    ))
    .await;
    assert!(matches!(wire.read().await, Read::Text(_)));
    wire.send(&Frame::close(1000, b"")).await;
    wire.send(&Frame::new(
        op::TEXT,
        r#"{"type":"send","room":"lobby","body":"after the end"}"#,
    ))
    .await;
    assert_eq!(wire.close_code().await, 1000);
    let start = Instant::now();
    within("the socket ends", DEADLINE, wire.wait_end()).await;
    println!(
        "the socket ended {:.2?} after the goodbye, the goal is 5 s",
        start.elapsed()
    );
    watcher.say("lobby", "only this").await;
    let message = watcher.next_of("message").await;
    assert_eq!(message["body"]["text"], "only this");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c23_who_never_reads_and_who_reads_drop_by_drop_are_closed_and_their_memory_freed() {
    let settings = [("archive.url", ""), ("limits.write_timeout", "2s")];
    let node = NodeProcess::start("gw-slow", &settings).await;
    let mut silent = Vec::new();
    for _ in 0..10 {
        let mut raw = Raw::connect_with_small_buffer(node.address()).await;
        raw.join("flood").await;
        silent.push(raw);
    }
    let dripping = tokio::spawn(drip(node.address()));
    let in_room =
        async || (Metrics::read(node.ops()).await.get("connections") >= 11.0).then_some(());
    eventually("all are in", DEADLINE, in_room).await;
    let before = procfs::rss(node.pid()).expect("it runs");
    let client = hubbub_client::ClientConfig::new([format!("http://{}", node.address())]);
    let writer = hubbub_tests::recorder::Recorder::resuming("writer", client, "flood").await;
    let body = json!({ "text": "x".repeat(15 * 1024) });
    flood_with(writer.client(), "flood", "s", 1_500, &body).await;
    let gone = async || {
        let metrics = Metrics::read(node.ops()).await;
        (metrics.get("connections") <= 1.0).then_some(metrics)
    };
    let (metrics, took) = eventually("those who read nothing are gone", DEADLINE, gone).await;
    println!("ten who never read and one who drips were gone after {took:.2?}, the goal is 10 s");
    assert!(metrics.sum("closes_total") >= 10.0, "{metrics:?}");
    let flat = async || {
        let now = procfs::rss(node.pid()).expect("it runs");
        (now.saturating_sub(before) < 160 << 20).then_some(now)
    };
    eventually("their memory is free", DEADLINE, flat).await;
    drop(silent);
    dripping.abort();
}

/// Joins, and reads some bytes a second of what is said there.
async fn drip(address: SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    let small = socket.set_recv_buffer_size(16 * 1024);
    small.expect("a buffer of that size");
    let mut tcp = socket.connect(address).await.expect("the node listens");
    let mut bytes = upgrade(address, "").into_bytes();
    bytes.extend(Frame::new(op::TEXT, r#"{"type":"join","room":"flood"}"#).bytes());
    tcp.write_all(&bytes).await.expect("the node reads");
    while tcp.read_u8().await.is_ok() {
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn c23_who_goes_without_a_word_has_left_soon() {
    // Members are taken for reloading pages for this long; the rest is the node's own doing.
    let cluster = Cluster::memory(1, &[]).await;
    let address = cluster.address(0);
    for (how, reset) in [("FIN", false), ("RST", true)] {
        let mut watcher = cluster.raw(0).await;
        watcher.join(how).await;
        let tcp = TcpStream::connect(address).await.expect("the node listens");
        if reset {
            tcp.set_zero_linger().expect("a socket of ours");
        }
        let opened = Raw::open_over(upgrade_request(address), tcp).await;
        let mut leaver = opened.expect("an upgrade");
        leaver.join(how).await;
        let here = async |watcher: &mut Raw| {
            let members = watcher.ask(json!({"type": "members", "room": how})).await;
            members["count"].as_u64()
        };
        assert_eq!(here(&mut watcher).await, Some(2), "{how}");
        drop(leaver);
        let start = Instant::now();
        let left = async {
            loop {
                let Heard::Text(text) = watcher.hear().await else {
                    panic!("the watcher's connection ended")
                };
                let frame: serde_json::Value = serde_json::from_str(&text).expect("JSON");
                if frame["left"]
                    .as_array()
                    .is_some_and(|left| !left.is_empty())
                {
                    return;
                }
            }
        };
        within("the leave", DEADLINE, left).await;
        println!(
            "{how}: the leave came after {:.2?}, 5 s of which are for reloads",
            start.elapsed()
        );
    }
}
