//! `token`, `healthcheck` and a node's start as operators see them.

use hubbub_tests::process::{NodeProcess, run};
use hubbub_tests::raw::Raw;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn a_minted_token_opens_the_door() {
    let settings = [("auth.mode", "jwt"), ("auth.secret", SECRET)];
    let node = NodeProcess::start("gw-token", &settings).await;
    let output = run(
        &settings,
        &["token", "--sub", "alice", "--name", "Alice", "--ttl", "1h"],
    );
    assert!(output.status.success(), "{output:?}");
    let token = String::from_utf8(output.stdout).expect("a token is text");
    let mut raw = Raw::connect_as(node.address(), token.trim()).await;
    let welcome = raw.next_of("welcome").await;
    assert_eq!(welcome["user"]["id"], "alice");
    assert_eq!(welcome["user"]["name"], "Alice");
    assert!(
        !node.log().contains(token.trim()),
        "a token is never logged"
    );
}

#[test]
fn a_token_without_a_secret_cannot_be_minted() {
    let output = run(&[], &["token", "--sub", "alice"]);
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("auth.secret"), "it says what to do: {text}");
}

#[tokio::test]
async fn a_health_check_follows_the_node() {
    let mut node = NodeProcess::start("gw-health", &[]).await;
    let url = format!("http://{}/readyz", node.ops());
    let check = || run(&[], &["healthcheck", "--url", &url]).status.code();
    assert_eq!(check(), Some(0));
    node.kill9();
    assert_eq!(check(), Some(1));
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let node = NodeProcess::start("gw-first", &[]).await;
    let taken = node.address().to_string();
    let output = run(
        &[("http.bind", &taken), ("ops.bind", "127.0.0.1:0")],
        &["serve"],
    );
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains(&taken) && text.contains("http.bind"),
        "{text}"
    );
}
