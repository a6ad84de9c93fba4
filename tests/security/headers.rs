//! What every answer tells browsers, on every door (rows C15, C29 and C39 rest on it).

use hubbub_tests::cluster::Cluster;
use hubbub_tests::http::{Answer, exchange};
use hubbub_tests::people::{SIGNED, token};

async fn ask(cluster: &Cluster, path: &str, headers: &str) -> Answer {
    let address = cluster.address(0);
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}\r\n");
    exchange(address, request.as_bytes())
        .await
        .expect("an answer")
}

#[tokio::test]
async fn every_answer_says_that_it_is_nothing_else() {
    let cluster = Cluster::memory(1, &[SIGNED]).await;
    let bearer = format!("authorization: Bearer {}\r\n", token("alice"));
    let foreign = "origin: https://evil.example\r\n";
    let polling = "/socket.io/?EIO=4&transport=polling";
    let in_query = format!("/v1/me?x={}", token("alice"));
    for (path, headers, status) in [
        ("/", "", 200),
        ("/docs", "", 200),
        ("/sdk/hubbub.js", "", 200),
        ("/nothing", "", 404),
        ("/v1/openapi.json", "", 200),
        ("/v1/me", bearer.as_str(), 200),
        ("/v1/me", "", 401),
        ("/v1/me", foreign, 403),
        ("/v1/rooms/a%20b/messages", bearer.as_str(), 400),
        ("/v1/ws", "", 400),
        (in_query.as_str(), bearer.as_str(), 400),
        (polling, "", 200),
        (polling, foreign, 403),
        ("/socket.io/?EIO=3&transport=polling", "", 400),
    ] {
        let answer = ask(&cluster, path, headers).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path} {headers}: {name}");
        }
    }
}

#[tokio::test]
async fn pages_load_nothing_from_elsewhere() {
    let cluster = Cluster::memory(1, &[]).await;
    for path in ["/", "/docs", "/docs/api.html"] {
        let answer = ask(&cluster, path, "").await;
        let policy = answer.header("content-security-policy").expect("a policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(
                policy.split("; ").any(|it| it == part),
                "{path}: {part}: {policy}"
            );
        }
        assert!(!policy.contains("unsafe"), "{policy}");
    }
}
