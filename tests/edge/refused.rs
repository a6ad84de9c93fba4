//! What operators see of refused tokens and of crowds: figures by reason, and log lines that stay few.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use hubbub_tests::deadline::eventually;
use hubbub_tests::http::{Answer, exchange};
use hubbub_tests::metrics::Metrics;
use hubbub_tests::operator::{KEYED, order};
use hubbub_tests::people::{SECRET, now, token, token_with};
use hubbub_tests::process::{NodeProcess, Setting};
use hubbub_tests::raw::Raw;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);
const SIGNED_ONLY: [Setting<'_>; 3] = [("auth.mode", "jwt"), ("auth.secret", SECRET), KEYED];

/// Log lines with this message.
fn lines(node: &NodeProcess, message: &str) -> Vec<Value> {
    let log = node.log();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    lines
        .filter(|line: &Value| line["message"] == message)
        .collect()
}

async fn refused(ops: SocketAddr, door: &str, reason: &str) -> f64 {
    let name = format!("tokens_refused_total{{door=\"{door}\",reason=\"{reason}\"}}");
    Metrics::read(ops).await.sum(&name)
}

/// A connect over Socket.IO's long polling.
async fn connect_by_polling(address: SocketAddr, token: &str) {
    const PATH: &str = "/socket.io/?EIO=4&transport=polling";
    let opened = ask(address, "GET", PATH, "", "").await;
    let open: Value = serde_json::from_str(&opened.body[1..]).expect("an open packet");
    let path = format!("{PATH}&sid={}", open["sid"].as_str().expect("a session"));
    let connect = format!("40{}", json!({"token": token}));
    ask(
        address,
        "POST",
        &path,
        "content-type: text/plain\r\n",
        &connect,
    )
    .await;
    let answer = ask(address, "GET", &path, "", "").await;
    assert!(answer.body.contains("44{"), "refused: {answer:?}");
}

async fn ask(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\n{headers}content-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = exchange(address, request.as_bytes()).await;
    answer.expect("an HTTP answer")
}

#[tokio::test]
async fn refused_tokens_are_counted_and_logged_by_reason_on_every_door() {
    let node = NodeProcess::start("gw-refused", &SIGNED_ONLY).await;
    let (address, ops) = (node.address(), node.ops());
    let expired = token_with("eve", &json!({"exp": now() - 3600}));
    let forged = format!("{}x", token("eve"));
    let mut raw = Raw::connect_as(address, &forged).await;
    assert_eq!(raw.close_code().await, 4501);
    let mut raw = Raw::connect(address).await;
    raw.write(json!({"type": "hello", "token": expired}).to_string())
        .await;
    assert_eq!(raw.close_code().await, 4501);
    let mut alice = Raw::connect_as(address, &token("alice")).await;
    alice
        .write(json!({"type": "refresh", "token": "nonsense"}).to_string())
        .await;
    assert_eq!(alice.close_code().await, 4501);
    let mut raw = Raw::connect(address).await;
    raw.write(r#"{"type":"ping"}"#).await;
    assert_eq!(raw.close_code().await, 4501);

    let bearer = format!("authorization: Bearer {expired}\r\n");
    let events = "/v1/rooms/lobby/events";
    assert_eq!(ask(address, "GET", "/v1/me", &bearer, "").await.status, 401);
    assert_eq!(ask(address, "GET", events, &bearer, "").await.status, 401);
    let ticket = format!("{events}?ticket=none");
    assert_eq!(ask(address, "GET", &ticket, "", "").await.status, 401);
    assert_eq!(ask(address, "GET", "/v1/me", "", "").await.status, 401);
    connect_by_polling(address, &expired).await;
    order(ops, "POST /admin/revoke", json!({"user": "mallory"})).await;
    let mut raw =
        Raw::connect_as(address, &token_with("mallory", &json!({"iat": now() - 60}))).await;
    assert_eq!(raw.close_code().await, 4504);

    let expected = [
        ("websocket", "expired"),
        ("websocket", "malformed"),
        ("websocket", "missing"),
        ("websocket", "revoked"),
        ("rest", "expired"),
        ("rest", "missing"),
        ("sse", "expired"),
        ("sse", "ticket"),
        ("socketio", "expired"),
    ];
    for (door, reason) in expected {
        assert!(refused(ops, door, reason).await >= 1.0, "{door} {reason}");
    }
    let unsigned = refused(ops, "websocket", "signature").await;
    let malformed = refused(ops, "websocket", "malformed").await;
    assert!(unsigned + malformed >= 2.0, "the forged one and nonsense");
    let told = lines(&node, "token refused");
    for (door, reason) in expected {
        let is_it = |line: &&Value| line["door"] == door && line["reason"] == reason;
        let line = told.iter().find(is_it);
        let line = line.unwrap_or_else(|| panic!("{door} {reason} in {told:?}"));
        assert_eq!(line["client"], "127.0.0.1", "{line}");
    }
    let closed = lines(&node, "connection refused");
    assert!(
        closed.iter().any(|line| line["code"] == 4501),
        "codes are numbers: {closed:?}"
    );
    let log = node.log();
    for token in [&expired, &forged] {
        assert!(!log.contains(token.as_str()), "no token is in the log");
    }
}

/// A thousand guesses are a thousand in the figures and a few in the log.
#[tokio::test]
async fn guesses_do_not_fill_the_log() {
    let node = NodeProcess::start("gw-guesses", &SIGNED_ONLY).await;
    for _ in 0..200 {
        let bearer = "authorization: Bearer guess\r\n";
        let answer = ask(node.address(), "GET", "/v1/me", bearer, "").await;
        assert_eq!(answer.status, 401);
    }
    let refused = Metrics::read(node.ops()).await.sum("tokens_refused_total");
    assert_eq!(refused, 200.0);
    let left_out = async || {
        let told = lines(
            &node,
            "too many lines about refused tokens, some were left out",
        );
        told.iter()
            .map(|line| line["lines"].as_u64())
            .sum::<Option<u64>>()
    };
    eventually("the others are counted", SOON, async || {
        let written = lines(&node, "token refused").len() as u64;
        (written < 100 && written + left_out().await? == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_crowd_writes_few_lines_and_the_others_are_counted() {
    const CROWD: usize = 400;
    let node = NodeProcess::start("gw-crowd", &[]).await;
    let before = node.log().len();
    let connect = async |_| {
        let mut raw = Raw::connect_patiently(node.address()).await;
        raw.next_of("welcome").await;
        raw
    };
    let crowd = join_all((0..CROWD).map(connect)).await;
    join_all(crowd.into_iter().map(Raw::close)).await;
    let count = || {
        let written =
            lines(&node, "connection opened").len() + lines(&node, "connection closed").len();
        let told = lines(
            &node,
            "too many lines about connections, some were left out",
        );
        let left_out: u64 = told.iter().filter_map(|line| line["lines"].as_u64()).sum();
        (written, left_out)
    };
    eventually("all lines are written or counted", SOON, async || {
        let (written, left_out) = count();
        (written as u64 + left_out == 2 * CROWD as u64).then_some(())
    })
    .await;
    let (written, left_out) = count();
    let bytes = node.log().len() - before;
    println!("{CROWD} connections wrote {written} lines, {bytes} bytes; {left_out} were left out");
    assert!(left_out > 0 && written >= 50, "{written} and {left_out}");
    let metrics = Metrics::read(node.ops()).await;
    assert_eq!(metrics.get("connections_opened_total"), CROWD as f64);
}
