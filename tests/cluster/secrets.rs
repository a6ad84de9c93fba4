//! Guest mode without `auth.secret`: the nodes of a cluster have one secret, and have one again after Redis
//! has lost it.

use std::time::Duration;

use hubbub_tests::deadline::eventually;
use hubbub_tests::http::post;
use hubbub_tests::operator::request;
use hubbub_tests::process::NodeProcess;
use hubbub_tests::redis::{Fsync, Redis};
use serde_json::json;

/// From the moment at which both nodes take clients.
const HEALED: Duration = Duration::from_secs(3);

async fn guest(node: &NodeProcess) -> Option<String> {
    let made = post(node.address(), "/v1/guests", &json!({})).await;
    let made = (made.status == 201).then(|| made.json())?;
    made["token"].as_str().map(str::to_owned)
}

async fn counts(node: &NodeProcess, token: &str) -> bool {
    let bearer = format!("authorization: Bearer {token}\r\n");
    let me = request(node.address(), "GET", "/v1/me", &bearer, "").await;
    me.status == 200
}

#[tokio::test]
async fn c55_nodes_with_different_secrets_of_guests_agree_on_one() {
    let redis = Redis::start(Fsync::EverySecond).await;
    let url = redis.url();
    let settings = [("redis.url", url.as_str())];
    let kept = NodeProcess::start("kept", &settings).await;
    let mut restarted = NodeProcess::start("restarted", &settings).await;
    let before = guest(&kept).await.expect("a guest");
    assert!(counts(&restarted, &before).await);
    // At worst the starting node is quicker than the living one, and Redis holds its secret.
    restarted.kill9();
    kept.pause();
    redis.command::<String>(&["FLUSHALL"]).await;
    let other = "o".repeat(32);
    redis
        .command::<String>(&["SET", "hubbub:secret", &other])
        .await;
    redis
        .command::<String>(&["SET", "hubbub:secret:born", "99999999999999"])
        .await;
    restarted.restart();
    restarted.ready().await;
    let meanwhile = guest(&restarted).await.expect("a guest");
    kept.resume();
    eventually("guests of both nodes count on both", HEALED, async || {
        let (here, there) = (guest(&kept).await?, guest(&restarted).await?);
        for token in [&before, &meanwhile, &here, &there] {
            if !counts(&kept, token).await || !counts(&restarted, token).await {
                return None;
            }
        }
        Some(())
    })
    .await;
    let held: Vec<u8> = redis.command(&["GET", "hubbub:secret"]).await;
    assert_ne!(held, other.as_bytes(), "the older one is back");
    assert!(
        restarted.log().contains("different secrets"),
        "{}",
        restarted.log()
    );
}
