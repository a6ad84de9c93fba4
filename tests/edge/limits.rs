//! How much one may do: places, sends, rooms (rows C7 and C33–C36).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::eventually;
use hubbub_tests::http::{get, post_as, try_get};
use hubbub_tests::people::{SIGNED, token, token_with};
use hubbub_tests::raw::{Heard, Raw};
use serde_json::{Value, json};
use tokio::net::TcpStream;

const DEADLINE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn c34_a_full_node_says_when_to_come_back() {
    let cluster = Cluster::memory(1, &[("limits.connections", "2")]).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut raw = cluster.raw(0).await;
        raw.join("lobby").await;
        held.push(raw);
    }
    let answer = get(cluster.address(0), "/").await;
    assert_eq!(answer.status, 503);
    let seconds = answer
        .header("retry-after")
        .and_then(|text| text.parse::<u64>().ok());
    assert!(
        seconds.is_some_and(|seconds| (1..=10).contains(&seconds)),
        "{answer:?}"
    );
    assert_eq!(
        get(cluster.ops(0), "/readyz").await.status,
        200,
        "operators have their own places"
    );
    held[0].join("other").await;
}

#[tokio::test]
async fn c07_who_says_nothing_takes_one_place_in_ten() {
    let settings = [SIGNED, ("auth.mode", "jwt"), ("limits.connections", "20")];
    let cluster = Cluster::memory(1, &settings).await;
    let address = cluster.address(0);
    let mut silent = [Raw::connect(address).await, Raw::connect(address).await];
    let mut third = Raw::connect(address).await;
    assert_eq!(third.close_code().await, 1013);
    let mut known = Raw::connect_as(address, &token("alice")).await;
    known.join("lobby").await;
    silent[0]
        .write(json!({"type": "hello", "token": token("bob")}).to_string())
        .await;
    silent[0].next_of("welcome").await;
    let mut next = Raw::connect(address).await;
    next.write(json!({"type": "hello", "token": token("carol")}).to_string())
        .await;
    next.next_of("welcome").await;
}

#[tokio::test]
async fn c33_a_storm_of_connects_is_turned_away_and_the_others_go_on() {
    let cluster = Cluster::memory(1, &[("limits.accepts_per_second", "50")]).await;
    let address = cluster.address(0);
    let mut inside = cluster.raw(0).await;
    inside.join("lobby").await;
    let storm = (0..300).map(|_| try_get(address, "/"));
    let answers = futures_util::future::join_all(storm).await;
    let status = |wanted| {
        answers
            .iter()
            .flatten()
            .filter(|answer| answer.status == wanted)
            .count()
    };
    let (served, refused) = (status(200), status(503));
    println!(
        "{served} served, {refused} told to wait, {} cut off",
        300 - served - refused
    );
    assert!(served < 300 && refused > 0);
    inside.say("lobby", "still here").await;
}

#[tokio::test]
async fn c33_the_other_addresses_are_not_touched_by_one() {
    let cluster = Cluster::memory(1, &[("limits.connections_per_address", "5")]).await;
    let address = cluster.address(0);
    let mut held = Vec::new();
    for _ in 0..5 {
        let mut raw = cluster.raw(0).await;
        raw.join("lobby").await;
        held.push(raw);
    }
    assert_eq!(get(address, "/").await.status, 429);
    let other = async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([127, 0, 0, 2], 0)))?;
        let stream: TcpStream = socket.connect(address).await?;
        stream.writable().await?;
        stream.try_write(b"GET / HTTP/1.0\r\nhost: x\r\n\r\n")?;
        stream.readable().await?;
        let mut head = [0; 12];
        let read = stream.try_read(&mut head)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&head[..read]).into_owned())
    };
    assert_eq!(other.await.expect("an answer"), "HTTP/1.0 200");
}

#[tokio::test]
async fn a_user_has_so_many_connections_on_a_node() {
    let cluster = Cluster::memory(1, &[SIGNED, ("limits.connections_per_user", "2")]).await;
    let (mut first, mut second) = (
        cluster.user(0, "alice").await,
        cluster.user(0, "alice").await,
    );
    first.join("lobby").await;
    second.join("lobby").await;
    assert_eq!(cluster.user(0, "alice").await.close_code().await, 4505);
    cluster.user(0, "bob").await.join("lobby").await;
}

#[tokio::test]
async fn c36_who_is_here_is_a_number_where_there_are_many() {
    let settings = [SIGNED, ("limits.presence_list", "3")];
    let cluster = Cluster::memory(1, &settings).await;
    let mut raws = Vec::new();
    for number in 0..6 {
        let mut raw = cluster.user(0, &format!("user-{number}")).await;
        raw.join("square").await;
        raws.push(raw);
    }
    let ask = json!({"type": "members", "room": "square"});
    eventually("all are counted, and none is named", DEADLINE, async || {
        let members = raws[0].ask(ask.clone()).await;
        let named = members["members"].as_array().map_or(0, Vec::len);
        (members["count"] == 6 && named <= 3).then_some(())
    })
    .await;
}

#[tokio::test]
async fn c36_typing_at_any_pace_is_told_once_a_second() {
    let cluster = Cluster::memory(1, &[SIGNED]).await;
    let (mut eve, mut bob) = (cluster.user(0, "eve").await, cluster.user(0, "bob").await);
    for raw in [&mut eve, &mut bob] {
        raw.join("lobby").await;
    }
    let began = Instant::now();
    for number in 0..500 {
        let typing = json!({"type": "typing", "room": "lobby", "on": number % 2 == 0});
        eve.write(typing.to_string()).await;
    }
    eve.say("lobby", "the end").await;
    let mut told = 0;
    loop {
        let frame = bob.next().await;
        match frame["type"].as_str() {
            Some("typing") => told += 1,
            Some("message") => break,
            _ => {}
        }
    }
    let seconds = began.elapsed().as_secs();
    println!("500 typing frames were told as {told} within {seconds} s");
    assert!(told <= 2 + seconds, "{told} in {seconds} s");
}

/// What becomes of sends as fast as they go, until the deadline or the end: stored, and the code of
/// the end.
async fn flood(mut raw: Raw, until: Instant) -> (u64, Option<u16>) {
    raw.join("lobby").await;
    let (mut sent, mut waiting) = (0, 0_u32);
    while Instant::now() < until {
        while waiting < 16 {
            raw.write(r#"{"type":"send","room":"lobby","body":1}"#)
                .await;
            waiting += 1;
        }
        match raw.hear().await {
            Heard::Text(text) if text.starts_with(r#"{"type":"sent""#) => {
                sent += 1;
                waiting -= 1;
            }
            Heard::Text(text) if text.starts_with(r#"{"type":"error""#) => {
                assert!(
                    text.contains("rate_limited") && text.contains("retry_after_ms"),
                    "{text}"
                );
                waiting -= 1;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Heard::Text(_) => {}
            Heard::End(end) => return (sent, end.map(|(code, _)| code)),
        }
    }
    (sent, None)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c35_a_user_sends_at_one_rate_on_all_nodes() {
    let settings = [
        SIGNED,
        ("limits.sends_per_second", "1000"),
        ("limits.sends_burst", "100000"),
        ("limits.user_sends_per_second", "20"),
    ];
    let cluster = Cluster::redis(3, &settings).await;
    // Each knows that there are three.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let began = Instant::now();
    let until = began + Duration::from_secs(6);
    let mut floods = Vec::new();
    for number in 0..3 {
        floods.push(flood(cluster.user(number, "alice").await, until));
    }
    let sent: u64 = futures_util::future::join_all(floods)
        .await
        .iter()
        .map(|(sent, _)| sent)
        .sum();
    let seconds = began.elapsed().as_secs_f64();
    let limit = 60.0 + 20.0 * seconds;
    println!("{sent} sends of one user on three nodes in {seconds:.1} s; the limit is {limit:.0}");
    #[expect(clippy::cast_precision_loss, reason = "few")]
    let sent = sent as f64;
    assert!(sent <= limit * 1.1, "{sent} of {limit}");
    assert!(sent >= limit * 0.5, "{sent} of {limit}");
    let mut bob = cluster.user(0, "bob").await;
    bob.join("lobby").await;
    bob.say("lobby", "not alice").await;
}

#[tokio::test]
async fn c35_who_floods_is_closed_with_4429() {
    let settings = [
        ("limits.sends_per_second", "5"),
        ("limits.sends_burst", "10"),
    ];
    let cluster = Cluster::memory(1, &settings).await;
    let until = Instant::now() + Duration::from_secs(30);
    let (sent, code) = flood(cluster.raw(0).await, until).await;
    assert_eq!(code, Some(4429), "{sent} sent");
}

#[tokio::test]
async fn c36_a_user_begins_so_many_rooms_a_minute() {
    let settings = [
        SIGNED,
        ("limits.user_new_rooms_per_minute", "20"),
        ("limits.rooms_per_connection", "0"),
    ];
    let cluster = Cluster::memory(2, &settings).await;
    let began = Instant::now();
    let mut begun = 0;
    let mut refused: Option<Value> = None;
    for number in 0..60 {
        let mut raw = cluster.user(number % 2, "alice").await;
        raw.next_of("welcome").await;
        let join = json!({"type": "join", "room": format!("room-{number}")});
        let reply = raw.ask(join).await;
        if reply["type"] == "joined" {
            begun += 1
        } else {
            refused = Some(reply)
        }
    }
    println!("{begun} rooms begun");
    // One comes free every three seconds, and each node gives a few before it asks.
    let most = 25 + began.elapsed().as_secs() / 3;
    assert!((20..=most).contains(&begun), "{begun} of {most}");
    let refused = refused.expect("a refusal");
    assert_eq!(refused["code"], "rate_limited", "{refused}");
    assert!(refused["retry_after_ms"].as_u64() > Some(0), "{refused}");
    let mut alice = cluster.user(0, "alice").await;
    alice.join("room-0").await;
    cluster.user(0, "bob").await.join("bobs-room").await;
}

#[tokio::test]
async fn c36_rooms_begun_over_rest_count_too() {
    let settings = [SIGNED, ("limits.user_new_rooms_per_minute", "5")];
    let cluster = Cluster::sqlite(1, &settings).await;
    let alice = token("alice");
    let post_by = async |token: &str, path: &str, body: Value| {
        let answer = post_as(cluster.address(0), token, path, &body).await;
        answer.status
    };
    let post = async |path: &str, body: Value| post_by(&alice, path, body).await;
    let began = Instant::now();
    let (mut begun, mut refused) = (0, 0);
    for number in 0..12 {
        let status = match number % 2 {
            0 => {
                post(
                    &format!("/v1/rooms/room-{number}/messages"),
                    json!({"body": 1}),
                )
                .await
            }
            _ => post("/v1/rooms", json!({"room": format!("room-{number}")})).await,
        };
        match status {
            201 => begun += 1,
            429 => refused += 1,
            other => panic!("{other}"),
        }
    }
    // One comes free every twelve seconds.
    let most = 5 + began.elapsed().as_secs() / 12;
    assert!((5..=most).contains(&begun), "{begun} of {most}");
    assert!(refused > 0);
    let again = post("/v1/rooms/room-0/messages", json!({"body": 2})).await;
    assert_eq!(again, 201, "it is there already");
    let backend = token_with("backend", &json!({"rooms": {"*": "rwp"}}));
    for number in 0..12 {
        let room = json!({"room": format!("backends-{number}")});
        assert_eq!(post_by(&backend, "/v1/rooms", room).await, 201);
    }
}
