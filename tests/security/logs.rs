//! C30: what clients write into names, rooms and headers stays inside one short log line, and what
//! they say stays out.

use std::time::Duration;

use hubbub_tests::deadline::eventually;
use hubbub_tests::http::{exchange, post};
use hubbub_tests::people::{SECRET, token_with};
use hubbub_tests::process::{Launch, NodeProcess};
use hubbub_tests::raw::{Raw, upgrade_request};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::http::HeaderValue;

/// Well above 256 bytes, and above what the node adds of its own.
const LONGEST_LINE: usize = 1_500;
const CANARY: &str = "canary-of-this-test";

#[tokio::test]
async fn c30_logs_are_one_json_line_each_without_secrets_or_words() {
    let mut launch = Launch::new("gw-logs", &[("archive.url", ""), ("auth.secret", SECRET)]);
    launch.env.push(("RUST_LOG".to_owned(), "trace".to_owned()));
    let mut node = NodeProcess::launch(launch);
    node.ready().await;
    let address = node.address();

    let name = "Eve\r\n{\"level\":\"INFO\",\"message\":\"forged\"}\u{1b}[31m\u{202e}";
    let token = token_with("eve", &json!({ "name": name }));
    let mut eve = Raw::connect_as(address, &token).await;
    eve.write(json!({"type": "join", "room": "a\r\nforged\u{1b}[2J"}).to_string())
        .await;
    eve.join("lobby").await;
    let words = format!("{CANARY}-words \u{1b}[31m\r\nforged");
    eve.ask(json!({"type": "send", "room": "lobby", "body": {"text": words}}))
        .await;
    eve.ask(json!({"type": "history", "room": "lobby"})).await;
    eve.write(format!("not json {CANARY}-garbage")).await;
    let forged_token = format!("{token}{CANARY}");
    let mut refused = Raw::connect_as(address, &forged_token).await;
    assert_eq!(refused.close_code().await, 4501);

    let mut foreign = upgrade_request(address);
    let origin = format!("https://{}.example", "e".repeat(8_000));
    let origin = HeaderValue::from_str(&origin).expect("a header's value");
    foreign.headers_mut().insert("origin", origin);
    assert!(Raw::try_open(foreign).await.is_err());
    let huge = format!(
        "GET /{} HTTP/1.1\r\nhost: {address}\r\nuser-agent: {}\r\nconnection: close\r\n\r\n",
        "p".repeat(7_000),
        "u".repeat(7_000)
    );
    exchange(address, huge.as_bytes()).await;
    let in_query = format!(
        "GET /v1/ws?token={CANARY}-query HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    );
    exchange(address, in_query.as_bytes()).await;
    post(address, "/v1/guests", &json!({ "name": name })).await;
    eve.close().await;

    let closed = async || node.log().contains("connection closed").then_some(());
    eventually("the log has it all", Duration::from_secs(20), closed).await;
    let log = node.log();
    for line in log.lines() {
        let parsed: Result<Value, _> = serde_json::from_str(line);
        let entry = parsed.unwrap_or_else(|error| panic!("no JSON: {error}: {line}"));
        assert_ne!(entry["message"], "forged");
        assert!(
            line.len() <= LONGEST_LINE,
            "{} bytes: {line:.300}",
            line.len()
        );
        assert!(!line.contains('\u{1b}'), "{line}");
    }
    for secret in [CANARY, &token, SECRET] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}
