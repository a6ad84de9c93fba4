//! Keys that an identity provider serves: they come and go while nodes run, and no token makes a node
//! ask more often than it may.

use std::time::{Duration, Instant};

use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::eventually;
use hubbub_tests::issuer::Issuer;
use hubbub_tests::jwks::JwksServer;
use hubbub_tests::people::now;
use hubbub_tests::raw::{Heard, Raw};
use jsonwebtoken::Header;
use serde_json::json;

/// Keys are fetched every ten seconds at most.
const DEADLINE: Duration = Duration::from_secs(60);

/// `None`: welcome; or the close code.
async fn refusal(cluster: &Cluster, token: &str) -> Option<u16> {
    let mut raw = Raw::connect_as(cluster.address(0), token).await;
    match raw.hear().await {
        Heard::Text(_) => None,
        Heard::End(close) => Some(close.expect("a close frame").0),
    }
}

async fn start(server: &JwksServer) -> Cluster {
    let url = server.url();
    let settings = [
        ("auth.mode", "jwt"),
        ("auth.jwks_url", url.as_str()),
        ("auth.jwks_refresh", "10s"),
        // One of the tests tries as many tokens as it can.
        ("limits.accepts_per_second", "0"),
    ];
    Cluster::memory(1, &settings).await
}

#[tokio::test]
async fn keys_come_and_go() {
    let (old, new) = (Issuer::rsa("old"), Issuer::ec("new"));
    let server = JwksServer::start(&[&old]).await;
    let cluster = start(&server).await;
    assert_eq!(refusal(&cluster, &old.token("alice")).await, None);
    server.publish(&[&old, &new]);
    eventually("the new key counts", DEADLINE, async || {
        let refused = refusal(&cluster, &new.token("alice")).await;
        assert_ne!(refused, Some(1013));
        refused.is_none().then_some(())
    })
    .await;
    for _ in 0..20 {
        assert_eq!(refusal(&cluster, &old.token("alice")).await, None);
        assert_eq!(refusal(&cluster, &new.token("alice")).await, None);
    }
    server.publish(&[&new]);
    eventually("the old key counts no more", DEADLINE, async || {
        let refused = refusal(&cluster, &old.token("alice")).await;
        assert_eq!(refusal(&cluster, &new.token("alice")).await, None);
        (refused == Some(4501)).then_some(())
    })
    .await;
    // While nobody answers, the last keys count.
    server.go_down();
    let before = server.asked().len();
    eventually("it was asked for in vain", DEADLINE, async || {
        (server.asked().len() > before).then_some(())
    })
    .await;
    assert_eq!(refusal(&cluster, &new.token("alice")).await, None);
    assert_eq!(refusal(&cluster, &old.token("alice")).await, Some(4501));
}

#[tokio::test]
async fn unknown_keys_make_nobody_ask_more_often() {
    let known = Issuer::ed("known");
    let server = JwksServer::start(&[&known]).await;
    let cluster = start(&server).await;
    assert_eq!(refusal(&cluster, &known.token("alice")).await, None);
    let stranger = Issuer::ed("x");
    let (before, began) = (server.asked().len(), Instant::now());
    let mut tried = 0;
    while began.elapsed() < Duration::from_secs(8) {
        for kid in [
            format!("random-{tried}"),
            "../../etc/passwd".to_owned(),
            "' OR '1'='1".to_owned(),
            "http://127.0.0.1:9/keys.json".to_owned(),
            "k".repeat(5_000),
        ] {
            let mut header = Header::new(stranger.algorithm);
            header.kid = Some(kid);
            let claims = json!({"sub": "alice", "exp": now() + 600});
            let token = stranger.sign_with(&header, &claims);
            assert_eq!(refusal(&cluster, &token).await, Some(4501));
            tried += 1;
        }
    }
    let asked = server.asked();
    let windows = began.elapsed().as_secs() / 10 + 1;
    assert!(tried >= 50, "{tried} tokens were tried");
    assert!(
        (asked.len() - before) as u64 <= windows,
        "{asked:?} for {tried} tokens"
    );
    assert!(
        asked.iter().all(|line| line == "GET /keys.json HTTP/1.1"),
        "{asked:?}"
    );
    assert_eq!(refusal(&cluster, &known.token("alice")).await, None);
}

#[tokio::test]
async fn before_the_first_keys_nobody_is_sent_away_for_good() {
    let issuer = Issuer::ed("d");
    let server = JwksServer::start(&[&issuer]).await;
    server.go_down();
    let cluster = start(&server).await;
    assert_eq!(refusal(&cluster, &issuer.token("alice")).await, Some(1013));
    server.publish(&[&issuer]);
    eventually("the keys are there", DEADLINE, async || {
        let refused = refusal(&cluster, &issuer.token("alice")).await;
        assert!(matches!(refused, None | Some(1013)), "{refused:?}");
        refused.is_none().then_some(())
    })
    .await;
}
