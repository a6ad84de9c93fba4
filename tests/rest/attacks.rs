//! Bad input to the plain doors, over real sockets: each has its answer, and the node goes on.

use std::time::{Duration, Instant};

use hubbub_tests::cluster::Cluster;
use hubbub_tests::people::{SIGNED, token};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use crate::asking::{Asker, assert_problem};

const MESSAGES: &str = "/v1/rooms/lobby/messages";

#[tokio::test]
async fn bodies_are_small_plain_json() {
    let cluster = Cluster::memory(1, &[SIGNED]).await;
    let alice = || Asker::user(&cluster, 0, "alice");
    let json = "application/json";
    let fits = format!("{{\"body\":1,\"x\":\"{}\"}}", "x".repeat(64 * 1024 - 17));
    assert_eq!(fits.len(), 64 * 1024);
    let too_large = format!("{fits} ");
    let cases: [(&str, &[u8], u16, &str); 9] = [
        (json, too_large.as_bytes(), 413, "too_large"),
        ("text/plain", b"{\"body\":1}", 415, "bad_frame"),
        (
            "application/x-www-form-urlencoded",
            b"body=1",
            415,
            "bad_frame",
        ),
        (json, b"{\"body\":", 400, "bad_frame"),
        (json, b"[]", 400, "bad_frame"),
        (json, b"{}", 400, "bad_frame"),
        (json, b"{\"body\":\"\xff\"}", 400, "bad_frame"),
        (json, b"{\"body\":1,\"ack\":\"never\"}", 400, "bad_frame"),
        (json, b"", 400, "bad_frame"),
    ];
    for (kind, body, status, code) in cases {
        let answer = alice().send_raw("POST", MESSAGES, Some((kind, body))).await;
        assert_problem(&answer, status, code);
    }
    let fits = alice()
        .send_raw("POST", MESSAGES, Some((json, fits.as_bytes())))
        .await;
    assert_eq!(fits.status, 201, "{fits:?}");
    let deep = format!("{{\"body\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
    let answer = alice()
        .send_raw("POST", MESSAGES, Some((json, deep.as_bytes())))
        .await;
    assert_problem(&answer, 400, "bad_frame");
    let large = json!({"body": "x".repeat(17_000)});
    assert_problem(&alice().post(MESSAGES, &large).await, 413, "too_large");
    let bomb = alice().with("content-encoding: gzip");
    let answer = bomb
        .send_raw("POST", MESSAGES, Some((json, &[0x1f, 0x8b, 8, 0])))
        .await;
    assert_problem(&answer, 415, "bad_frame");
    let long = format!("idempotency-key: {}", "k".repeat(65));
    for key in ["idempotency-key: ", "idempotency-key: \u{e4}", &long] {
        let answer = alice().with(key).post(MESSAGES, &json!({"body": 1})).await;
        assert_problem(&answer, 400, "bad_frame");
    }
}

#[tokio::test]
async fn pages_have_a_limit_and_cursors_are_checked() {
    let cluster = Cluster::sqlite(1, &[SIGNED]).await;
    let alice = Asker::user(&cluster, 0, "alice");
    for _ in 0..4 {
        let messages: Vec<Value> = (0..90)
            .map(|n| json!({"room": "lobby", "body": n}))
            .collect();
        let sent = alice
            .post("/v1/messages", &json!({ "messages": messages }))
            .await;
        assert_eq!(sent.status, 200);
    }
    for limit in ["1e9", "1000000000", "99999999999999999999999999"] {
        let page = alice.read(&format!("{MESSAGES}?limit={limit}")).await;
        assert_eq!(
            page["events"].as_array().map(Vec::len),
            Some(300),
            "{limit}"
        );
    }
    for path in [
        "/v1/rooms/lobby/messages?before=5x",
        "/v1/rooms/lobby/messages?before=5&before=6",
        "/v1/search?q=x&before=tampered",
        "/v1/rooms/lobby/events?since=tampered",
        "/v1/rooms/lobby/events?since=e:-5",
        "/v1/rooms/lobby/events?recent=many",
    ] {
        assert_problem(&alice.get(path).await, 400, "bad_frame");
    }
}

#[tokio::test]
async fn only_listed_pages_of_other_origins_may_read_and_only_they_with_cookies() {
    let app = "https://app.example.com";
    let cluster = Cluster::memory(1, &[SIGNED, ("http.allowed_origins", app)]).await;
    let any = Cluster::memory(1, &[SIGNED, ("http.allowed_origins", "*")]).await;
    let cookie = format!("cookie: hubbub_token={}", token("alice"));
    let page = |cluster: &Cluster, origin: &str| {
        Asker::stranger(cluster.address(0))
            .with(&cookie)
            .with(&format!("origin: {origin}"))
    };
    let paths = ["/v1/me", "/v1/rooms", MESSAGES, "/v1/rooms/lobby/events"];
    for path in paths {
        for method in ["GET", "OPTIONS", "HEAD"] {
            let foreign = page(&cluster, "https://evil.example");
            let answer = foreign.send(method, path, None).await;
            assert_eq!(answer.status, 403, "{method} {path}");
            assert_eq!(answer.header("access-control-allow-origin"), None);
            assert_eq!(answer.header("access-control-allow-credentials"), None);
        }
        let preflight = page(&cluster, app).send("OPTIONS", path, None).await;
        assert_eq!(preflight.status, 204);
        assert_eq!(preflight.header("access-control-allow-origin"), Some(app));
        assert_eq!(
            preflight.header("access-control-allow-credentials"),
            Some("true")
        );
        assert_eq!(preflight.header("vary"), Some("origin"));
        let allowed = preflight
            .header("access-control-allow-headers")
            .expect("headers");
        for header in [
            "authorization",
            "idempotency-key",
            "if-none-match",
            "last-event-id",
        ] {
            assert!(allowed.contains(header), "{allowed}");
        }
        let methods = preflight
            .header("access-control-allow-methods")
            .expect("methods");
        assert!(methods.contains("GET"), "{methods}");
        // Where any page may ask, the answer never goes with a cookie.
        let open = page(&any, "https://anything.example")
            .send("OPTIONS", path, None)
            .await;
        assert_eq!(open.header("access-control-allow-credentials"), None);
        assert_ne!(open.header("access-control-allow-origin"), Some("*"));
    }
    let mine = page(&cluster, app).get("/v1/me").await;
    assert_eq!(mine.status, 200, "{mine:?}");
    assert_eq!(
        mine.header("access-control-allow-credentials"),
        Some("true")
    );
    assert_problem(
        &page(&any, "https://x.example").get("/v1/me").await,
        401,
        "unauthorized",
    );
}

/// The peer's window is closed: what waits for it in the kernel does not wait for ever.
#[tokio::test]
async fn an_answer_that_nobody_takes_is_given_up() {
    let cluster = Cluster::memory(1, &[SIGNED, ("limits.write_timeout", "1s")]).await;
    let alice = Asker::user(&cluster, 0, "alice");
    for _ in 0..5 {
        let body = "x".repeat(16_000);
        let messages: Vec<Value> = (0..60)
            .map(|_| json!({"room": "lobby", "body": body}))
            .collect();
        let sent = alice
            .post("/v1/messages", &json!({ "messages": messages }))
            .await;
        assert_eq!(sent.status, 200);
    }
    let whole = alice.get(&format!("{MESSAGES}?limit=300")).await.body.len();
    assert!(whole > 4_000_000, "{whole}");
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .set_recv_buffer_size(16 * 1024)
        .expect("a small buffer");
    let mut slow = socket
        .connect(cluster.address(0))
        .await
        .expect("the node listens");
    let request = format!(
        "GET {MESSAGES}?limit=300 HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\r\n",
        cluster.address(0),
        token("alice")
    );
    slow.write_all(request.as_bytes()).await.expect("it reads");
    let start = Instant::now();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let mut got = Vec::new();
    // It broke: with a reset, or with an end.
    let _ = slow.read_to_end(&mut got).await;
    println!(
        "{} of {whole} bytes came, read after {:.1?}",
        got.len(),
        start.elapsed()
    );
    assert!(got.len() < whole, "the rest was given up");
}
