//! C70 to C75 and C85: work is paid for before it is done. Each attacker keeps within all other limits, and
//! somebody at another address does not notice.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::eventually;
use hubbub_tests::metrics::Metrics;
use hubbub_tests::people::{SIGNED, token};
use hubbub_tests::postgres::Postgres;
use hubbub_tests::raw::{Heard, Raw, upgrade_request};
use serde_json::json;
use sqlx::{Connection, PgConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(30);
/// Messages of a page, and the bytes of each.
const MESSAGES: usize = 300;
const BODY: usize = 16_000;
const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const NEIGHBOUR: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

/// Fills a room with one long page.
async fn fill(cluster: &Cluster, room: &str) {
    let mut alice = cluster.user(0, "alice").await;
    alice.join(room).await;
    let text = "x".repeat(BODY);
    for _ in 0..MESSAGES {
        alice.say(room, &text).await;
    }
}

async fn reserved(cluster: &Cluster) -> f64 {
    Metrics::read(cluster.ops(0)).await.get("reserved_bytes")
}

async fn connect_from(source: IpAddr, address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::new(source, 0)).expect("loopback");
    socket.connect(address).await.expect("somebody listens")
}

/// The status of one request from `source`.
async fn status(source: IpAddr, address: SocketAddr, request: &str) -> u16 {
    let mut socket = connect_from(source, address).await;
    socket.write_all(request.as_bytes()).await.expect("taken");
    let mut head = [0; 12];
    let read = timeout(DEADLINE, socket.read_exact(&mut head)).await;
    read.expect("an answer in time").expect("an answer");
    let head = String::from_utf8_lossy(&head);
    head[9..].parse().expect("a status")
}

fn get(address: SocketAddr, path: &str, user: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\
         Connection: close\r\n\r\n",
        token(user)
    )
}

/// Answers that are being made for a client end with it, here while Redis does not answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c70_answers_end_with_their_client() {
    let settings = [SIGNED, ("limits.send_timeout", "60s")];
    let cluster = Cluster::redis(1, &settings).await;
    cluster.user(0, "alice").await.join("big").await;
    let mut clients = Vec::new();
    for number in 0..3 {
        let mut raw = cluster.user(0, &format!("mallory-{number}")).await;
        raw.join("big").await;
        clients.push(raw);
    }
    cluster.redis_ref().pause();
    for raw in &mut clients {
        raw.write(json!({"type": "history", "room": "big", "limit": 300}).to_string())
            .await;
    }
    let holds = async || (reserved(&cluster).await > 0.0).then_some(());
    eventually("answers wait", DEADLINE, holds).await;
    drop(clients);
    let free = async || (reserved(&cluster).await == 0.0).then_some(());
    let ((), took) = eventually("everything is given back", DEADLINE, free).await;
    println!(
        "given back {:.1} s after the last client",
        took.as_secs_f64()
    );
    cluster.redis_ref().resume();
}

/// A page of one message does not read a page of three hundred, and long pages have a pace.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c71_a_read_costs_redis_what_was_asked_for() {
    const READS: u64 = 100;
    let cluster = Cluster::redis(1, &[SIGNED]).await;
    fill(&cluster, "big").await;
    let output = async || {
        let stats: String = cluster.redis_ref().command(&["INFO", "stats"]).await;
        let line = stats.lines().find_map(|line| {
            let value = line.strip_prefix("total_net_output_bytes:")?;
            value.trim().parse::<u64>().ok()
        });
        line.expect("redis counts its output")
    };
    let mut mallory = cluster.user(0, "mallory").await;
    let before = output().await;
    for _ in 0..READS {
        let page = mallory
            .ask(json!({"type": "history", "room": "big", "limit": 1}))
            .await;
        assert_eq!(page["events"].as_array().map(Vec::len), Some(1), "{page}");
    }
    let each = (output().await - before) / READS;
    println!("redis gave {each} bytes for one message of {BODY}");
    assert!(each < 4 * BODY as u64, "{each} bytes for one message");
    // A user reads 16 MiB at once and then 4 MiB a second: these are 37.
    let start = Instant::now();
    for _ in 0..8 {
        let page = mallory
            .ask(json!({"type": "history", "room": "big", "limit": 300}))
            .await;
        assert_eq!(page["type"], "history", "{}", page["code"]);
    }
    assert!(
        start.elapsed() > Duration::from_secs(2),
        "long pages have a pace"
    );
}

/// Handshakes that are refused take nothing from other addresses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c72_one_address_does_not_spend_the_accepts_of_others() {
    let settings = [("limits.connections_per_address", "200")];
    let cluster = Cluster::memory(1, &settings).await;
    let address = cluster.address(0);
    let mut attacker = connect_from(ATTACKER, address).await;
    let one =
        format!("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let many = one.repeat(50);
    let (mut reader, mut writer) = attacker.split();
    let attack = async {
        loop {
            if writer.write_all(many.as_bytes()).await.is_err() {
                return;
            }
        }
    };
    let drain = async {
        let mut buffer = vec![0; 1 << 16];
        while matches!(reader.read(&mut buffer).await, Ok(read) if read > 0) {}
    };
    let neighbour = async {
        let request =
            format!("GET /sdk/hubbub.js HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        let mut served = 0;
        for _ in 0..100 {
            served += u32::from(status(NEIGHBOUR, address, &request).await == 200);
        }
        served
    };
    let served = tokio::select! {
        served = neighbour => served,
        ((), ()) = async { tokio::join!(attack, drain) } => panic!("the attacker was closed"),
    };
    assert_eq!(served, 100, "of 100 connections of another address");
}

/// Every frame has a pace, whatever it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c73_frames_that_store_nothing_have_a_pace() {
    let cluster = Cluster::memory(1, &[SIGNED]).await;
    for frame in [
        json!({"type": "ping"}),
        json!({"type": "typing", "room": "lobby", "on": true}),
        json!({"type": "hello"}),
        json!({"type": "leave", "room": "lobby"}),
    ] {
        let mut raw = cluster.user(0, "mallory").await;
        raw.join("lobby").await;
        let text = frame.to_string();
        let flood = async {
            for _ in 0..200_000 {
                raw.write(text.clone()).await;
            }
        };
        // The server ends it in the middle.
        drop(timeout(Duration::from_secs(5), flood).await);
        let code = timeout(DEADLINE, end_of(&mut raw)).await;
        let code = code.expect("the server closes in time");
        assert!(code.is_none_or(|code| code == 4429), "{frame}: {code:?}");
    }
    let metrics = Metrics::read(cluster.ops(0)).await;
    let closed = metrics.sum("closes_total{by=\"server\",code=\"4429\"}");
    println!("closed with 4429: {closed}");
}

async fn end_of(raw: &mut Raw) -> Option<u16> {
    loop {
        match raw.hear().await {
            Heard::End(end) => return end.map(|(code, _)| code),
            Heard::Text(_) => {}
        }
    }
}

/// Bodies that never come hold up their own address only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c74_slow_bodies_hold_up_nobody_else() {
    let cluster = Cluster::memory(1, &[SIGNED]).await;
    let address = cluster.address(0);
    let batch = |length: usize, body: &str, user: &str| {
        format!(
            "POST /v1/messages HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}",
            token(user)
        )
    };
    let mut slow = Vec::new();
    for number in 0..100 {
        let mut socket = connect_from(ATTACKER, address).await;
        let head = batch(1_000_000, "{", &format!("mallory-{number}"));
        socket.write_all(head.as_bytes()).await.expect("taken");
        slow.push(socket);
    }
    let holds = async || (reserved(&cluster).await > 0.0).then_some(());
    eventually("bodies are awaited", DEADLINE, holds).await;
    let body = json!({"messages": [{"room": "lobby", "body": {"text": "hi"}}]}).to_string();
    let request = batch(body.len(), &body, "bob");
    assert_eq!(status(NEIGHBOUR, address, &request).await, 200);
    drop(slow);
    let free = async || (reserved(&cluster).await == 0.0).then_some(());
    eventually("everything is given back", DEADLINE, free).await;
}

/// Pages that nobody reads are counted, and their address has no more than its part.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c75_pages_that_are_not_read_are_counted() {
    let cluster = Cluster::memory(1, &[SIGNED]).await;
    fill(&cluster, "big").await;
    let address = cluster.address(0);
    let path = "/v1/rooms/big/messages?limit=300";
    let mut unread = Vec::new();
    for number in 0..20 {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4_096).expect("a small buffer");
        socket.bind(SocketAddr::new(ATTACKER, 0)).expect("loopback");
        let mut socket = socket.connect(address).await.expect("it listens");
        let request = get(address, path, &format!("mallory-{number}"));
        socket.write_all(request.as_bytes()).await.expect("taken");
        unread.push(socket);
    }
    let holds = async || (reserved(&cluster).await > 1e6).then_some(());
    eventually("pages wait", DEADLINE, holds).await;
    let request = get(address, path, "bob");
    assert_eq!(status(NEIGHBOUR, address, &request).await, 200);
    let most = reserved(&cluster).await;
    assert!(most < 48e6, "one address holds {most} bytes");
    drop(unread);
    let free = async || (reserved(&cluster).await == 0.0).then_some(());
    let ((), took) = eventually("everything is given back", DEADLINE, free).await;
    println!(
        "at most {most} bytes, given back after {:.1} s",
        took.as_secs_f64()
    );
}

/// A member of a room who comes from `source`.
async fn member_from(source: IpAddr, cluster: &Cluster, user: &str) -> Raw {
    let mut request = upgrade_request(cluster.address(0));
    let bearer = format!("Bearer {}", token(user));
    let bearer = bearer.parse().expect("a token is a header value");
    request.headers_mut().insert("authorization", bearer);
    let socket = connect_from(source, cluster.address(0)).await;
    let mut raw = Raw::open_over(request, socket).await.expect("let in");
    raw.next_of("welcome").await;
    raw.join("room").await;
    raw
}

/// A reaction is compared with those that the message has: a read, which its address pays for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c85_reactions_of_one_address_leave_reads_to_others() {
    /// The bytes of one such read, and the reads that one address may have under way.
    const READ: f64 = 200.0 * 1024.0;
    const SHARE: f64 = 8.0;
    let postgres = Postgres::shared().await;
    let url = postgres.database().await;
    let settings = [
        SIGNED,
        ("archive.url", url.as_str()),
        ("archive.statement_timeout", "60s"),
        ("limits.send_timeout", "60s"),
    ];
    let cluster = Cluster::redis(1, &settings).await;
    let mut alice = cluster.user(0, "alice").await;
    alice.join("room").await;
    alice.say("room", "hello").await;
    let react = json!({"type": "react", "room": "room", "target": 1, "key": "+1", "on": true});
    let mut crowd = Vec::new();
    for number in 0..20 {
        crowd.push(member_from(ATTACKER, &cluster, &format!("mallory-{number}")).await);
    }
    let mut bob = member_from(NEIGHBOUR, &cluster, "bob").await;
    let mut other = PgConnection::connect(&url).await.expect("it is there");
    let lock = "BEGIN; LOCK TABLE reactions IN ACCESS EXCLUSIVE MODE";
    let locked = sqlx::raw_sql(lock).execute(&mut other).await;
    locked.expect("nobody else has locked it");
    for raw in &mut crowd {
        raw.write(react.to_string()).await;
    }
    let all = async || (reserved(&cluster).await >= SHARE * READ).then_some(());
    eventually("the address has its part", DEADLINE, all).await;
    bob.write(react.to_string()).await;
    let more = async || (reserved(&cluster).await > SHARE * READ).then_some(());
    eventually("another address gets a read", DEADLINE, more).await;
    assert!(reserved(&cluster).await <= (SHARE + 1.0) * READ);
    let unlocked = sqlx::raw_sql("ROLLBACK").execute(&mut other).await;
    unlocked.expect("the lock was held");
    assert_eq!(bob.next_of("sent").await["type"], "sent");
    for raw in &mut crowd {
        raw.next_of("sent").await;
    }
    let free = async || (reserved(&cluster).await == 0.0).then_some(());
    eventually("everything is given back", DEADLINE, free).await;
}
