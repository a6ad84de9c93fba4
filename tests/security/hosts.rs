//! Names of other hosts that lead to a node: DNS rebinding. And what operators read of refused pages.

use std::net::SocketAddr;
use std::time::Duration;

use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::eventually;
use hubbub_tests::http::{Answer, exchange};
use hubbub_tests::operator::{KEY, KEYED};
use hubbub_tests::people::{SIGNED, token};
use hubbub_tests::process::NodeProcess;
use hubbub_tests::raw::{Raw, upgrade_request};
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::http::HeaderValue;

const DEADLINE: Duration = Duration::from_secs(10);

/// Sends a request under another name than the node's address.
async fn under(host: &str, address: SocketAddr, line: &str, headers: &str) -> Answer {
    let request = format!("{line} HTTP/1.1\r\nhost: {host}\r\n{headers}connection: close\r\n\r\n");
    let answer = exchange(address, request.as_bytes()).await;
    answer.expect("an HTTP answer")
}

/// The refusal of a WebSocket of a page of this host; `None`: it is open.
async fn socket_status(host: &str, address: SocketAddr) -> Option<u16> {
    let mut request = upgrade_request(address);
    let value = |text: String| HeaderValue::try_from(text).expect("a header's value");
    request.headers_mut().insert("host", value(host.to_owned()));
    request
        .headers_mut()
        .insert("origin", value(format!("http://{host}")));
    match Raw::try_open(request).await {
        Ok(_) => None,
        Err(Error::Http(response)) => Some(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

fn from_page_of(host: &str) -> String {
    format!("origin: http://{host}\r\n")
}

#[tokio::test]
async fn c50_a_name_that_nobody_has_listed_is_not_this_node() {
    let listed = (
        "http.public_urls",
        "http://chat.example.com:3000,https://chat.example.org",
    );
    let cluster = Cluster::memory(1, &[SIGNED, listed]).await;
    let address = cluster.address(0);
    let guests = "POST /v1/guests";
    for host in [
        "evil.example",
        "evil.example:3000",
        "127.0.0.1.nip.io",
        "chat.example.com.evil:3000",
    ] {
        let page = from_page_of(host);
        let made = under(
            host,
            address,
            guests,
            &format!("{page}content-length: 0\r\n"),
        )
        .await;
        assert_eq!(made.status, 403, "{host}: {made:?}");
        assert_eq!(socket_status(host, address).await, Some(403), "{host}");
        let polling = "GET /socket.io/?EIO=4&transport=polling";
        assert_eq!(
            under(host, address, polling, &page).await.status,
            403,
            "{host}"
        );
        // Browsers send no Origin with a plain read from a page's own host.
        let stream = under(host, address, "GET /v1/rooms/lobby/events", "").await;
        assert_eq!(stream.status, 403, "{host}: {stream:?}");
        // A token was not made by that page.
        let bearer = format!("authorization: Bearer {}\r\n", token("alice"));
        assert_eq!(
            under(host, address, "GET /v1/me", &bearer).await.status,
            200,
            "{host}"
        );
    }
    let port = address.port();
    for host in [
        format!("localhost:{port}"),
        format!("127.0.0.1:{port}"),
        format!("[::1]:{port}"),
        format!("192.0.2.7:{port}"),
        format!("gateway-1:{port}"),
        "chat.example.com:3000".to_owned(),
        "chat.example.com".to_owned(),
    ] {
        let headers = format!("{}content-length: 0\r\n", from_page_of(&host));
        let made = under(&host, address, guests, &headers).await;
        assert_eq!(made.status, 201, "{host}: {made:?}");
        assert_eq!(socket_status(&host, address).await, None, "{host}");
    }
}

#[tokio::test]
async fn c50_pages_of_all_nodes_and_of_the_balancer_may_connect_to_each() {
    let urls = "http://127.0.0.1:8080,http://127.0.0.1:3002";
    let settings = [
        ("http.public_urls", urls),
        (
            "http.allowed_origins",
            "http://127.0.0.1:8081,capacitor://localhost",
        ),
    ];
    let cluster = Cluster::memory(1, &settings).await;
    let address = cluster.address(0);
    let status = async |origin: &str| {
        let headers = format!("origin: {origin}\r\ncontent-length: 0\r\n");
        let host = address.to_string();
        under(&host, address, "POST /v1/guests", &headers)
            .await
            .status
    };
    for origin in [
        "http://127.0.0.1:8080",
        "http://localhost:8080",
        "http://localhost:3002",
        "http://127.0.0.1:8081",
        "http://localhost:8081",
        "capacitor://localhost",
    ] {
        assert_eq!(status(origin).await, 201, "{origin}");
    }
    for origin in [
        "http://127.0.0.1:8082",
        "https://127.0.0.1:8080",
        "tauri://localhost",
        "null",
    ] {
        assert_eq!(status(origin).await, 403, "{origin}");
    }
}

#[tokio::test]
async fn c51_the_operators_port_knows_its_names() {
    let settings = [KEYED, ("ops.hosts", "metrics.example.com")];
    let cluster = Cluster::memory(1, &settings).await;
    let ops = cluster.ops(0);
    let bearer = format!("authorization: Bearer {KEY}\r\n");
    for path in ["/livez", "/readyz", "/metrics", "/admin/nodes", "/nothing"] {
        let line = format!("GET {path}");
        let answer = under("evil.example:9090", ops, &line, &bearer).await;
        assert_eq!(answer.status, 403, "{path}: {answer:?}");
    }
    for host in [
        "127.0.0.1:9090",
        "localhost",
        "gateway-1:9090",
        "METRICS.example.com:443",
    ] {
        let answer = under(host, ops, "GET /metrics", "").await;
        assert_eq!(answer.status, 200, "{host}");
    }
    // A balancer's check without a name.
    let plain = exchange(ops, b"GET /readyz HTTP/1.0\r\n\r\n").await;
    assert_eq!(plain.expect("an HTTP answer").status, 200);
}

#[tokio::test]
async fn a_refused_page_is_logged_with_what_lets_it_in() {
    let node = NodeProcess::start("alone", &[]).await;
    let address = node.address();
    for _ in 0..50 {
        let headers = "origin: https://app.example\r\ncontent-length: 0\r\n";
        let refused = under(&address.to_string(), address, "POST /v1/guests", headers).await;
        assert_eq!(refused.status, 403);
    }
    let line = |log: &str| {
        let mut lines = log
            .lines()
            .filter(|line| line.contains("https://app.example"));
        lines.next().map(str::to_owned)
    };
    let (line, _) = eventually("the refusal is logged", DEADLINE, async || {
        line(&node.log())
    })
    .await;
    assert!(line.contains("http.allowed_origins"), "{line}");
    let lines = node.log();
    let lines = lines
        .lines()
        .filter(|line| line.contains("https://app.example"));
    assert_eq!(lines.count(), 1, "one line for the same page");
}
