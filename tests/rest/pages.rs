//! What browsers and odd programs meet: preflights, other methods, other paths, other bodies.

use hubbub_tests::cluster::Cluster;
use hubbub_tests::people::{SIGNED, token};
use serde_json::json;

use crate::asking::{Asker, assert_problem};

const RESOURCES: [(&str, &str); 14] = [
    ("/v1/guests", "POST, OPTIONS"),
    ("/v1/me", "GET, HEAD, OPTIONS"),
    ("/v1/search", "GET, HEAD, OPTIONS"),
    ("/v1/rooms", "GET, HEAD, POST, OPTIONS"),
    ("/v1/rooms/r", "GET, HEAD, PATCH, OPTIONS"),
    ("/v1/rooms/r/messages", "GET, HEAD, POST, OPTIONS"),
    ("/v1/rooms/r/messages/5", "PATCH, DELETE, OPTIONS"),
    ("/v1/rooms/r/messages/5/reactions/x", "PUT, DELETE, OPTIONS"),
    ("/v1/rooms/r/events", "GET, HEAD, OPTIONS"),
    ("/v1/messages", "POST, OPTIONS"),
    ("/v1/tickets", "POST, OPTIONS"),
    ("/v1/session", "POST, DELETE, OPTIONS"),
    ("/v1/rooms/r/members", "GET, HEAD, POST, OPTIONS"),
    ("/v1/rooms/r/members/u", "DELETE, OPTIONS"),
];

#[tokio::test]
async fn a_preflight_names_the_methods_to_allowed_pages() {
    let settings = [("http.allowed_origins", "https://app.example.com")];
    let cluster = Cluster::memory(1, &settings).await;
    let from =
        |origin: &str| Asker::stranger(cluster.address(0)).with(&format!("origin: {origin}"));
    for (path, allow) in RESOURCES {
        let page = from("https://app.example.com");
        let answer = page.send_raw("OPTIONS", path, None).await;
        assert_eq!(answer.status, 204, "{path}");
        for (name, value) in [
            ("access-control-allow-origin", "https://app.example.com"),
            ("access-control-allow-methods", allow),
            (
                "access-control-allow-headers",
                "authorization, cache-control, content-type, idempotency-key, if-none-match, \
                 last-event-id",
            ),
            // It is listed by itself, so its cookie may come along.
            ("access-control-allow-credentials", "true"),
            ("vary", "origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
        let foreign = from("https://evil.example")
            .send_raw("OPTIONS", path, None)
            .await;
        assert_problem(&foreign, 403, "forbidden");
    }
}

#[tokio::test]
async fn an_allowed_page_may_read_answers_and_refusals() {
    let cluster = Cluster::memory(1, &[SIGNED]).await;
    let address = cluster.address(0);
    let own = format!("http://{address}");
    let page = Asker::bearer(address, &token("alice")).with(&format!("origin: {own}"));
    for path in [
        "/v1/me",
        "/v1/rooms",
        "/v1/nothing",
        "/v1/rooms/a%20b/messages",
    ] {
        let answer = page.get(path).await;
        let allowed = answer.header("access-control-allow-origin");
        assert_eq!(allowed, Some(own.as_str()), "{path}");
    }
}

#[tokio::test]
async fn other_methods_and_paths_are_refused_in_the_same_form() {
    let cluster = Cluster::memory(1, &[SIGNED]).await;
    let alice = Asker::user(&cluster, 0, "alice");
    for (path, allow) in RESOURCES {
        for method in ["PUT", "TRACE", "BREW"] {
            if allow.contains(method) {
                continue;
            }
            let answer = alice.send_raw(method, path, None).await;
            assert_problem(&answer, 405, "bad_frame");
            assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
        }
    }
    let socket = alice.send_raw("POST", "/v1/ws", None).await;
    assert_problem(&socket, 405, "bad_frame");
    assert_eq!(socket.header("allow"), Some("GET"));
    let file = alice.send_raw("POST", "/docs/", None).await;
    assert_problem(&file, 405, "bad_frame");
    assert_eq!(file.header("allow"), Some("GET, HEAD"));
    for path in [
        "/v1",
        "/v1/",
        "/v1/nothing",
        "/v1/rooms/",
        "/v1/rooms/r/",
        "/v1/rooms/r/nothing",
        "/v1/rooms/r/members/u/x",
        "/v2/rooms",
    ] {
        for method in ["GET", "HEAD", "POST", "DELETE", "OPTIONS"] {
            if path == "/v2/rooms" && method != "GET" {
                continue;
            }
            let answer = alice.send_raw(method, path, None).await;
            match method {
                "HEAD" => assert_eq!(answer.status, 404, "{path}"),
                _ => assert_problem(&answer, 404, "not_found"),
            }
        }
    }
    let nameless = alice.get("/v1/rooms//messages").await;
    assert_problem(&nameless, 400, "bad_room");
    let head = alice.send_raw("HEAD", "/v1/me", None).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[tokio::test]
async fn a_body_is_small_plain_json() {
    let cluster = Cluster::sqlite(1, &[SIGNED]).await;
    let alice = Asker::user(&cluster, 0, "alice");
    let json = "application/json";
    let large = format!(r#"{{"x":"{}"}}"#, "a".repeat(70_000));
    for (path, method) in [
        ("/v1/rooms", "POST"),
        ("/v1/rooms/r", "PATCH"),
        ("/v1/rooms/r/members", "POST"),
    ] {
        let send = async |kind, body: &str| {
            let body = Some((kind, body.as_bytes()));
            alice.send_raw(method, path, body).await
        };
        assert_problem(&send("text/plain", "{}").await, 415, "bad_frame");
        assert_problem(&send("multipart/form-data", "{}").await, 415, "bad_frame");
        assert_problem(&send(json, &large).await, 413, "too_large");
        for bad in ["nonsense", "[1,2", "[]", "{", "\"x\"", "7", "{}{}", "\u{0}"] {
            assert_problem(&send(json, bad).await, 400, "bad_frame");
        }
        let zipped = Asker::user(&cluster, 0, "alice").with("content-encoding: gzip");
        let zipped = zipped.send(method, path, Some(&json!({}))).await;
        assert_problem(&zipped, 415, "bad_frame");
    }
}

#[tokio::test]
async fn who_asks_too_often_has_to_wait() {
    let settings = [
        SIGNED,
        ("limits.sends_per_second", "1"),
        ("limits.sends_burst", "3"),
    ];
    let cluster = Cluster::sqlite(1, &settings).await;
    let alice = Asker::user(&cluster, 0, "alice");
    let mut refused = None;
    for _ in 0..10 {
        let answer = alice.post("/v1/rooms", &json!({})).await;
        if answer.status != 201 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("three at once and one a second are allowed");
    assert_problem(&refused, 429, "rate_limited");
    let wait: u64 = refused
        .header("retry-after")
        .and_then(|wait| wait.parse().ok())
        .expect("a time to wait");
    assert!((1..=10).contains(&wait), "{wait}");
    let finer = refused.json()["retry_after_ms"].as_u64();
    assert!(finer.is_some_and(|ms| ms <= wait * 1_000), "{refused:?}");
    // Others are not held up, nor are reads.
    let bob = Asker::user(&cluster, 0, "bob");
    assert_eq!(bob.post("/v1/rooms", &json!({})).await.status, 201);
    assert_eq!(alice.get("/v1/rooms").await.status, 200);
}
