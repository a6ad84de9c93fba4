//! Tests of each fault.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::*;
use crate::deadline::within;

const SOON: Duration = Duration::from_secs(10);

/// A proxy in front of a server that echoes all bytes.
async fn echo() -> (Proxy, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap()).await;
    let server = tokio::spawn(async move {
        let mut sockets = JoinSet::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            sockets.spawn(async move {
                let (mut read, mut write) = socket.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    (proxy, AbortOnDropHandle::new(server))
}

async fn round(socket: &mut TcpStream) -> io::Result<Duration> {
    let start = Instant::now();
    socket.write_all(b"x").await?;
    socket.read_exact(&mut [0]).await?;
    Ok(start.elapsed())
}

#[tokio::test]
async fn bytes_pass_wait_and_go_on() {
    let (proxy, _server) = echo().await;
    let mut socket = TcpStream::connect(proxy.address()).await.unwrap();
    within("pass", SOON, round(&mut socket)).await.unwrap();
    proxy.set(Direction::ToClient, Fault::Hold);
    socket.write_all(b"x").await.unwrap();
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(100), socket.read(&mut byte)).await;
    assert!(early.is_err(), "held");
    proxy.set(Direction::Both, Fault::Pass);
    within("go on", SOON, socket.read_exact(&mut byte))
        .await
        .unwrap();
}

#[tokio::test]
async fn dropped_bytes_never_come() {
    let (proxy, _server) = echo().await;
    let mut socket = TcpStream::connect(proxy.address()).await.unwrap();
    within("pass", SOON, round(&mut socket)).await.unwrap();
    proxy.set(Direction::ToServer, Fault::Drop);
    socket.write_all(b"lost").await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), socket.read_u8()).await;
    assert!(early.is_err(), "discarded");
    proxy.set(Direction::Both, Fault::Pass);
    socket.write_all(b"y").await.unwrap();
    let next = within("go on", SOON, socket.read_u8()).await.unwrap();
    assert_eq!(next, b'y');
}

#[tokio::test]
async fn a_stranded_connection_hangs_and_a_new_one_passes() {
    let (proxy, _server) = echo().await;
    let mut old = TcpStream::connect(proxy.address()).await.unwrap();
    within("pass", SOON, round(&mut old)).await.unwrap();
    proxy.strand();
    let mut new = TcpStream::connect(proxy.address()).await.unwrap();
    within("pass", SOON, round(&mut new)).await.unwrap();
    old.write_all(b"x").await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), old.read_u8()).await;
    assert!(early.is_err(), "hangs");
}

#[tokio::test]
async fn stall_and_throttle_take_their_time() {
    let (proxy, _server) = echo().await;
    let mut socket = TcpStream::connect(proxy.address()).await.unwrap();
    proxy.set(
        Direction::ToServer,
        Fault::Stall(1, Duration::from_millis(80)),
    );
    let took = within("stalled", SOON, round(&mut socket)).await.unwrap();
    assert!(took >= Duration::from_millis(80), "{took:?}");
    proxy.set(Direction::ToServer, Fault::Throttle(10_000));
    let start = Instant::now();
    socket.write_all(&[1; 2_000]).await.unwrap();
    let mut back = [0; 2_000];
    within("throttled", SOON, socket.read_exact(&mut back))
        .await
        .unwrap();
    assert!(start.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn a_reset_is_a_reset_and_a_refusal_a_refusal() {
    let (proxy, _server) = echo().await;
    let mut socket = TcpStream::connect(proxy.address()).await.unwrap();
    within("pass", SOON, round(&mut socket)).await.unwrap();
    proxy.reset();
    let end = within("reset", SOON, socket.read_u8()).await.unwrap_err();
    assert_eq!(end.kind(), io::ErrorKind::ConnectionReset);
    proxy.refuse(true);
    let refused = async || {
        let refused = TcpStream::connect(proxy.address()).await.err()?;
        (refused.kind() == io::ErrorKind::ConnectionRefused).then_some(())
    };
    crate::deadline::eventually("refused", SOON, refused).await;
    proxy.refuse(false);
    let back = async || TcpStream::connect(proxy.address()).await.ok();
    let (mut socket, _) = crate::deadline::eventually("listens again", SOON, back).await;
    within("pass", SOON, round(&mut socket)).await.unwrap();
}
