//! C80 to C83: commands that are refused, packets that do nothing, and connections without a session.

use std::net::SocketAddr;
use std::time::Duration;

use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::eventually;
use hubbub_tests::http::{exchange, get};
use hubbub_tests::people::SIGNED;
use hubbub_tests::raw::{Heard, Raw};
use hubbub_tests::socketio::SocketIo;
use hubbub_tests::wire::{Frame, Wire, op};
use serde_json::json;

const DEADLINE: Duration = Duration::from_secs(30);
const PATH: &str = "/socket.io/?EIO=4&transport=websocket";
/// More than any connection may send in the time that it takes to write them.
const FLOOD: usize = 2_000;

/// The code with which the server closes a native connection that sends this as fast as it can.
async fn flood(mut raw: Raw, command: &str) -> Option<u16> {
    for _ in 0..FLOOD {
        raw.write(command).await;
    }
    loop {
        match raw.hear().await {
            Heard::Text(_) => {}
            Heard::End(end) => return end.map(|(code, _)| code),
        }
    }
}

#[tokio::test]
async fn c80_refused_commands_have_the_pace_of_others() {
    let settings = [
        ("limits.sends_per_second", "10"),
        ("limits.body_bytes", "100B"),
    ];
    let cluster = Cluster::memory(1, &settings).await;
    let large = json!({"type": "send", "room": "lobby", "body": "x".repeat(200)});
    let elsewhere =
        json!({"type": "react", "room": "nowhere", "target": 1, "key": "a", "on": true});
    for command in [large, elsewhere] {
        let mut raw = cluster.raw(0).await;
        raw.join("lobby").await;
        let code = flood(raw, &command.to_string()).await;
        assert_eq!(code, Some(4429), "{command}");
    }
}

/// Nothing of it is answered with more than an error, and none of it goes on for ever.
#[tokio::test]
async fn c81_packets_that_do_nothing_have_a_pace() {
    let cluster = Cluster::memory(1, &[]).await;
    for packet in ["3", "6", "5", "430[1]", r#"42["nobody listens"]"#] {
        let mut wire = Wire::open_at(cluster.address(0), PATH).await;
        wire.send(&Frame::new(op::TEXT, "40")).await;
        let frames = Frame::new(op::TEXT, packet).bytes().repeat(FLOOD);
        wire.write(&frames).await;
        assert_eq!(wire.close_code().await, 4429, "{packet}");
    }
    // A client that answers pings and acknowledges what it gets notices nothing.
    let mut calm = SocketIo::connect(cluster.address(0)).await;
    for _ in 0..100 {
        calm.write("3").await;
    }
    calm.write(r#"427["members",{"room":"lobby"}]"#).await;
    calm.next_with("437[").await;
}

/// Whether a new Socket.IO connection gets in.
async fn gets_in(address: SocketAddr) -> bool {
    let request = format!(
        "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nhost: {address}\r\n\
         connection: close\r\n\r\n"
    );
    let answer = exchange(address, request.as_bytes()).await;
    answer.is_some_and(|answer| answer.status == 200)
}

/// A client that is closed for a fault and stays holds its place until its socket has gone.
#[tokio::test]
async fn c82_places_are_kept_until_the_socket_is_closed() {
    // A client that polls has a place, and so has the connection of its request.
    let settings = [("limits.connections_per_address", "2")];
    let cluster = Cluster::memory(1, &settings).await;
    let address = cluster.address(0);
    let mut wire = Wire::open_at(address, PATH).await;
    wire.send(&Frame::new(op::TEXT, "x")).await;
    assert_eq!(wire.close_code().await, 4500);
    assert!(!gets_in(address).await, "the socket is still there");
    drop(wire);
    eventually("the place is free", DEADLINE, async || {
        gets_in(address).await.then_some(())
    })
    .await;
}

/// A token that nobody has checked proves nothing.
#[tokio::test]
async fn c83_junk_tokens_take_one_place_in_ten() {
    let settings = [SIGNED, ("auth.mode", "jwt"), ("limits.connections", "20")];
    let cluster = Cluster::memory(1, &settings).await;
    let address = cluster.address(0);
    let junk = |number: usize| {
        let (query, header) = match number % 2 {
            0 => ("&ticket=junk", ""),
            _ => ("", "authorization: Bearer junk\r\n"),
        };
        format!(
            "GET /socket.io/?EIO=4&transport=polling{query} HTTP/1.1\r\nhost: {address}\r\n{header}\
             connection: close\r\n\r\n"
        )
    };
    let mut inside = 0;
    for number in 0..6 {
        let answer = exchange(address, junk(number).as_bytes()).await;
        inside += usize::from(answer.expect("an answer").status == 200);
    }
    assert_eq!(inside, 2, "one place in ten");
    assert_eq!(get(address, "/").await.status, 200, "others get in");
}
