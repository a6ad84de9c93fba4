//! Redis and PostgreSQL over TLS: real servers, with certificates that only their authority vouches
//! for.

use std::time::Duration;

use hubbub_tests::certificates::{Authority, text};
use hubbub_tests::deadline::eventually;
use hubbub_tests::http::{get, try_get};
use hubbub_tests::postgres::Postgres;
use hubbub_tests::process::{NodeProcess, run};
use hubbub_tests::raw::Raw;
use hubbub_tests::redis::{Fsync, Redis};
use serde_json::json;

const DEADLINE: Duration = Duration::from_secs(20);

/// Two people on two nodes talk.
async fn talk(settings: &[(&str, &str)]) -> [NodeProcess; 2] {
    let one = NodeProcess::start("gw-1", settings).await;
    let two = NodeProcess::start("gw-2", settings).await;
    let mut alice = Raw::connect(one.address()).await;
    let mut bob = Raw::connect(two.address()).await;
    alice.join("lobby").await;
    bob.join("lobby").await;
    let send = json!({"type": "send", "room": "lobby", "body": {"text": "hi"}});
    assert_eq!(alice.ask(send).await["type"], "sent");
    assert_eq!(bob.next_of("message").await["body"]["text"], "hi");
    [one, two]
}

/// The node starts, is not ready, and says why in its log.
async fn assert_not_ready(settings: &[(&str, &str)], why: &[&str]) {
    let mut node = NodeProcess::spawn("gw-refused", settings);
    let said = async || {
        assert_eq!(node.exited(), None, "{}", node.log());
        let ready = try_get(node.ops(), "/readyz").await?;
        assert_ne!(ready.status, 200, "{ready:?}");
        let log = node.log();
        why.iter().any(|why| log.contains(why)).then_some(())
    };
    eventually("the log says why", DEADLINE, said).await;
}

#[tokio::test]
async fn a_cluster_over_rediss_checks_the_certificate() {
    let authority = Authority::new();
    let (cert, key) = authority.sign_local("redis");
    let (redis, port) = Redis::start_with_tls(&cert, &key, &authority.ca(), false).await;
    let url = format!("rediss://127.0.0.1:{port}");
    let ca = authority.ca();
    let nodes = talk(&[("redis.url", &url), ("redis.tls_ca", text(&ca))]).await;
    let clients: String = redis.command(&["CLIENT", "LIST"]).await;
    let over_tls = clients
        .lines()
        .filter(|line| line.contains("lib-name") || line.contains("cmd="));
    assert!(over_tls.count() > 3, "{clients}");
    assert!(!nodes[0].log().contains("without TLS"));
    drop(nodes);

    // Whoever the system trusts, and another authority: neither has signed it.
    let stranger = Authority::new();
    let refused = ["UnknownIssuer", "invalid peer certificate", "certificate"];
    assert_not_ready(&[("redis.url", &url)], &refused).await;
    assert_not_ready(
        &[("redis.url", &url), ("redis.tls_ca", text(&stranger.ca()))],
        &refused,
    )
    .await;
    // A name that the certificate does not have.
    let other_name = format!("rediss://127.0.0.2:{port}");
    assert_not_ready(
        &[("redis.url", &other_name), ("redis.tls_ca", text(&ca))],
        &["NotValidForName", "certificate", "refused"],
    )
    .await;
    // Plain words to a port that takes TLS only.
    let plain = format!("redis://127.0.0.1:{port}");
    assert_not_ready(&[("redis.url", &plain)], &["cannot connect to redis"]).await;
    // Asked for clearly, anything goes, and is said.
    let insecure = [("redis.url", &*url), ("redis.tls_insecure", "true")];
    let nodes = talk(&insecure).await;
    assert!(
        nodes[0].log().contains("redis.tls_insecure"),
        "{}",
        nodes[0].log()
    );
}

#[tokio::test]
async fn a_redis_that_asks_for_a_certificate_gets_the_nodes() {
    let authority = Authority::new();
    let (cert, key) = authority.sign_local("redis");
    let (_redis, port) = Redis::start_with_tls(&cert, &key, &authority.ca(), true).await;
    let (mine, my_key) = authority.sign("node", &["gw-1"]);
    let url = format!("rediss://localhost:{port}");
    let ca = authority.ca();
    let with = [
        ("redis.url", &*url),
        ("redis.tls_ca", text(&ca)),
        ("redis.tls_cert", text(&mine)),
        ("redis.tls_key", text(&my_key)),
    ];
    talk(&with).await;
    assert_not_ready(&with[..2], &["cannot connect to redis"]).await;
}

#[test]
fn insecure_tls_is_never_taken_from_the_url() {
    let settings = [("redis.url", "rediss://:canary@localhost#insecure")];
    let ended = run(&settings, &["config"]);
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(
        !ended.status.success() && said.contains("redis.tls_insecure"),
        "{said}"
    );
    assert!(!said.contains("canary"), "{said}");
}

#[tokio::test]
async fn who_is_on_the_way_is_warned_of() {
    let settings = [
        ("redis.url", "redis://192.0.2.1:6379"),
        ("archive.url", "postgres://192.0.2.1/hubbub"),
    ];
    let node = NodeProcess::spawn("gw-far", &settings);
    let said = async || {
        let log = node.log();
        let both = ["without TLS", "sslmode=verify-full"];
        both.iter().all(|said| log.contains(said)).then_some(())
    };
    eventually("both are warned of", DEADLINE, said).await;
}

#[tokio::test]
async fn an_archive_with_verify_full_checks_the_certificate_and_its_name() {
    let authority = Authority::new();
    let (cert, key) = authority.sign("postgres", &["localhost"]);
    let postgres = Postgres::start_with_tls(&cert, &key).await;
    for statement in ["CREATE ROLE chat LOGIN", "CREATE DATABASE chat OWNER chat"] {
        postgres.run("postgres", statement).await;
    }
    let redis = Redis::start(Fsync::EverySecond).await;
    let redis_url = redis.url();
    let port = postgres.address().port();
    let ca = authority.ca();
    let url = |host: &str, more: &str| format!("postgres://chat@{host}:{port}/chat?{more}");
    let checked = url(
        "localhost",
        &format!("sslmode=verify-full&sslrootcert={}", text(&ca)),
    );
    let node = NodeProcess::start(
        "gw-archive",
        &[
            ("redis.url", &redis_url),
            ("archive.url", &checked),
            ("ack.level", "archived"),
        ],
    )
    .await;
    let mut alice = Raw::connect(node.address()).await;
    alice.join("lobby").await;
    let send = json!({"type": "send", "room": "lobby", "body": {"text": "kept"}});
    assert_eq!(alice.ask(send).await["ack"], "archived");
    assert!(
        get(node.ops(), "/readyz")
            .await
            .body
            .contains("archive: ok")
    );
    drop(node);

    let stranger = Authority::new();
    let other_ca = format!("sslmode=verify-full&sslrootcert={}", text(&stranger.ca()));
    let no_tls = "sslmode=disable".to_owned();
    // 127.0.0.1 is not in the certificate.
    let other_name = format!("sslmode=verify-full&sslrootcert={}", text(&ca));
    for (host, more) in [
        ("localhost", other_ca),
        ("localhost", no_tls),
        ("127.0.0.1", other_name),
    ] {
        let url = url(host, &more);
        let settings = [("redis.url", &*redis_url), ("archive.url", &*url)];
        assert_not_ready(&settings, &["certificate", "no encryption", "pg_hba"]).await;
    }
}
