//! Those who say nothing, too little or too late.

use std::time::{Duration, Instant};

use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::within;
use hubbub_tests::raw::Raw;
use hubbub_tests::wire::{Frame, Read, Wire, op, upgrade};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

/// Five times the settings of these tests and some.
const DEADLINE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn half_a_request_and_a_slow_one_are_closed() {
    let cluster = Cluster::memory(1, &[("limits.header_timeout", "1s")]).await;
    let address = cluster.address(0);
    let request = upgrade(address, "");
    let start = Instant::now();
    let mut half = TcpStream::connect(address).await.expect("the node listens");
    half.write_all(&request.as_bytes()[..40])
        .await
        .expect("it reads");
    let slow = async {
        let mut slow = TcpStream::connect(address).await.expect("the node listens");
        for byte in request.bytes() {
            if slow.write_all(&[byte]).await.is_err() {
                return start.elapsed();
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("a request of one byte each 100 ms was read to its end");
    };
    let half = async {
        let mut answer = Vec::new();
        // Closed with or without a word.
        let _ = half.read_to_end(&mut answer).await;
        start.elapsed()
    };
    let (half, slow) = within("both are closed", DEADLINE, async {
        tokio::join!(half, slow)
    })
    .await;
    println!("half a request was closed after {half:.2?}, a slow one after {slow:.2?}");
    assert!(
        half >= Duration::from_millis(900),
        "not before its time: {half:?}"
    );
}

#[tokio::test]
async fn no_hello_in_time_is_4506() {
    let settings = [
        ("auth.mode", "jwt"),
        ("auth.secret", "0123456789abcdef0123456789abcdef"),
        ("limits.hello_timeout", "500ms"),
    ];
    let cluster = Cluster::memory(1, &settings).await;
    let start = Instant::now();
    let mut raw = Raw::connect(cluster.address(0)).await;
    assert_eq!(raw.close_code().await, 4506);
    assert!((Duration::from_millis(450)..DEADLINE).contains(&start.elapsed()));
}

#[tokio::test]
async fn pings_come_and_no_pong_is_4409() {
    let settings = [
        ("limits.ping_interval", "500ms"),
        ("limits.pong_timeout", "500ms"),
    ];
    let cluster = Cluster::memory(1, &settings).await;
    let mut alive = Wire::open(cluster.address(0)).await;
    for _ in 0..3 {
        let ping = loop {
            match alive.read().await {
                Read::Ping(payload) => break payload,
                Read::Text(_) => {}
                other => panic!("{other:?}"),
            }
        };
        alive.send(&Frame::new(op::PONG, ping)).await;
    }
    let start = Instant::now();
    let mut dead = Wire::open(cluster.address(0)).await;
    assert_eq!(dead.close_code().await, 4409);
    let took = start.elapsed();
    println!("no pong was noticed after {took:.2?}");
    assert!(
        took >= Duration::from_millis(700),
        "a ping and its time first: {took:?}"
    );
    assert!(took < DEADLINE, "{took:?}");
}

#[tokio::test]
async fn one_that_takes_no_byte_is_cut_off() {
    let settings = [("limits.write_timeout", "1s")];
    let cluster = Cluster::memory(1, &settings).await;
    let mut stuck = Raw::connect_with_small_buffer(cluster.address(0)).await;
    stuck.join("stuck").await;
    let writer = cluster.record(0, "stuck").await;
    let body = serde_json::json!({ "text": "x".repeat(15 * 1024) });
    hubbub_tests::load::flood_with(writer.client(), "stuck", "s", 1500, &body).await;
    // It reads nothing for well above its time; the node ends it then.
    sleep(Duration::from_secs(3)).await;
    let end = within("the end", DEADLINE, async {
        loop {
            if let hubbub_tests::raw::Heard::End(close) = stuck.hear().await {
                return close;
            }
        }
    })
    .await;
    // A socket that takes no byte takes no close frame either: an abrupt end is allowed.
    assert!(
        end.is_none() || end.as_ref().is_some_and(|(code, _)| *code == 4408),
        "{end:?}"
    );
    assert_eq!(
        writer.notes().disconnects,
        [] as [String; 0],
        "its neighbour is well"
    );
}

#[tokio::test]
async fn a_message_that_is_never_finished_is_1008() {
    let cluster = Cluster::memory(1, &[("limits.assemble_timeout", "500ms")]).await;
    let half = Frame::new(op::TEXT, "x".repeat(100));
    let fragment = Frame::fragment(op::TEXT, r#"{"type":"#);
    for (case, cut) in [("a fragment and no more", 0), ("half a frame", 40)] {
        let mut wire = Wire::open(cluster.address(0)).await;
        wire.send(&Frame::new(op::TEXT, r#"{"type":"ping"}"#)).await;
        assert!(matches!(wire.read().await, Read::Text(_)), "{case}");
        let start = Instant::now();
        if cut > 0 {
            wire.write(&half.bytes()[..cut]).await;
        } else {
            wire.send(&fragment).await;
            wire.send(&Frame::new(op::PING, "still here")).await;
            assert!(matches!(wire.read().await, Read::Pong(_)), "{case}");
        }
        let code = within(case, DEADLINE, wire.close_code()).await;
        assert_eq!(code, 1008, "{case}");
        println!("{case}: closed after {:.2?}", start.elapsed());
    }
}
