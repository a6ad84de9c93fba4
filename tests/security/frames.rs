//! Bytes that break the WebSocket protocol: each gets its close code, sent by us.

use hubbub_tests::cluster::Cluster;
use hubbub_tests::raw::Raw;
use hubbub_tests::wire::{Frame, Read, Wire, op};

/// Each case on a connection of its own; the node is well after all of them.
async fn expect_close(code: u16, cases: Vec<(&str, Vec<Frame>)>) {
    let cluster = Cluster::memory(1, &[]).await;
    let address = cluster.address(0);
    for (case, frames) in cases {
        let mut wire = Wire::open(address).await;
        for frame in &frames {
            wire.send(frame).await;
        }
        assert_eq!(wire.close_code().await, code, "{case}");
        wire.wait_end().await;
    }
    Raw::connect(address).await.join("lobby").await;
}

fn text(payload: &[u8]) -> Frame {
    Frame::new(op::TEXT, payload)
}

#[tokio::test]
async fn c16_violations_are_1002() {
    let with_first = |first: u8| Frame {
        first,
        ..text(b"{}")
    };
    let unmasked = Frame {
        masked: false,
        ..text(b"{}")
    };
    let mut cases = vec![
        ("unmasked", vec![unmasked]),
        ("RSV1", vec![with_first(0xC1)]),
        ("RSV2", vec![with_first(0xA1)]),
        ("RSV3", vec![with_first(0x91)]),
        ("a fragmented ping", vec![Frame::fragment(op::PING, "")]),
        (
            "a ping above 125 bytes",
            vec![Frame::new(op::PING, vec![0; 126])],
        ),
        (
            "a continuation first",
            vec![Frame::new(op::CONTINUATION, "x")],
        ),
        (
            "text inside a message",
            vec![Frame::fragment(op::TEXT, "{"), text(b"}")],
        ),
        ("half a close code", vec![Frame::new(op::CLOSE, vec![3])]),
    ];
    for opcode in [0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF] {
        cases.push(("an unknown opcode", vec![with_first(0x80 | opcode)]));
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 2999] {
        cases.push((
            "a close code that nobody may send",
            vec![Frame::close(code, b"")],
        ));
    }
    expect_close(1002, cases).await;
}

#[tokio::test]
async fn c17_bad_utf8_is_1007() {
    let cut = "€".as_bytes();
    let cases = vec![
        ("overlong", vec![text(b"\xC0\xAF")]),
        ("a surrogate", vec![text(b"\xED\xA0\x80")]),
        ("too high", vec![text(b"\xF4\x90\x80\x80")]),
        ("cut at the end", vec![text(&cut[..2])]),
        (
            "cut at a fragment's border and then something else",
            vec![
                Frame::fragment(op::TEXT, &cut[..2]),
                Frame::new(op::CONTINUATION, "x"),
            ],
        ),
        ("in a close reason", vec![Frame::close(1000, b"\xFF")]),
    ];
    expect_close(1007, cases).await;
}

#[tokio::test]
async fn c18_binary_is_1003() {
    let cases = vec![
        ("binary", vec![Frame::new(op::BINARY, "{}")]),
        ("a binary fragment", vec![Frame::fragment(op::BINARY, "{")]),
    ];
    expect_close(1003, cases).await;
}

#[tokio::test]
async fn c19_too_large_is_1009_before_it_has_come() {
    const LIMIT: usize = 64 * 1024;
    let claims = |length: u64| Frame {
        claim: Some(length),
        ..text(b"")
    };
    let cases = vec![
        ("one byte too many", vec![text(&vec![b'x'; LIMIT + 1])]),
        (
            "fragments that add up",
            vec![
                Frame::fragment(op::TEXT, vec![b'x'; LIMIT / 2]),
                Frame::fragment(op::CONTINUATION, vec![b'x'; LIMIT / 2]),
                Frame::new(op::CONTINUATION, "x"),
            ],
        ),
        ("a claim of 2^62 bytes", vec![claims(1 << 62)]),
        (
            "a claim of one byte too many",
            vec![claims(LIMIT as u64 + 1)],
        ),
    ];
    expect_close(1009, cases).await;
}

#[tokio::test]
async fn c20_endless_empty_fragments_are_1008() {
    let mut frames = vec![Frame::fragment(op::TEXT, "")];
    frames.extend((0..1100).map(|_| Frame::fragment(op::CONTINUATION, "")));
    expect_close(1008, vec![("1,101 fragments", frames)]).await;
}

#[tokio::test]
async fn fragments_pings_and_a_goodbye_are_answered() {
    let cluster = Cluster::memory(1, &[]).await;
    let mut wire = Wire::open(cluster.address(0)).await;
    wire.send(&Frame::fragment(op::TEXT, r#"{"type":"pi"#))
        .await;
    wire.send(&Frame::new(op::PING, "in between")).await;
    wire.send(&Frame::new(op::CONTINUATION, r#"ng","id":"ä"}"#))
        .await;
    assert_eq!(wire.read().await, Read::Pong(b"in between".to_vec()));
    assert_eq!(
        wire.read().await,
        Read::Text(r#"{"type":"pong","id":"ä"}"#.to_owned())
    );
    // A pong that nobody asked for is passed over.
    wire.send(&Frame::new(op::PONG, "x")).await;
    wire.send(&Frame::close(1000, b"bye")).await;
    assert_eq!(wire.close_code().await, 1000);
    wire.wait_end().await;
}

#[tokio::test]
async fn c21_deflate_is_not_negotiated() {
    let cluster = Cluster::memory(1, &[]).await;
    let address = cluster.address(0);
    let offer = "sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n\
                 x-test: 1\r\n";
    let request = hubbub_tests::wire::upgrade(address, offer);
    let mut socket = tokio::net::TcpStream::connect(address)
        .await
        .expect("the node listens");
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    socket
        .write_all(request.as_bytes())
        .await
        .expect("it reads");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.expect("an answer"));
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    assert!(head.starts_with("http/1.1 101"), "{head}");
    assert!(!head.contains("extensions"), "{head}");
}
