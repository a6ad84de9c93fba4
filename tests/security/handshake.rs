//! What is refused before the upgrade: sizes, methods, versions, foreign pages.

use std::net::SocketAddr;

use hubbub_tests::cluster::Cluster;
use hubbub_tests::http::{Answer, exchange, get};
use hubbub_tests::people::{SIGNED, token};
use hubbub_tests::raw::{Raw, upgrade_request};
use hubbub_tests::wire::upgrade;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::http::HeaderValue;

async fn refusal(address: SocketAddr, request: String) -> Answer {
    let answer = exchange(address, request.as_bytes()).await;
    answer.expect("an HTTP answer")
}

#[tokio::test]
async fn c02_too_large_a_head_is_431_or_414() {
    let cluster = Cluster::memory(1, &[]).await;
    let address = cluster.address(0);
    let long = format!("x-filler: {}\r\n", "a".repeat(17 * 1024));
    assert_eq!(refusal(address, upgrade(address, &long)).await.status, 431);
    let many: String = (0..101)
        .map(|number| format!("x-{number}: 1\r\n"))
        .collect();
    assert_eq!(refusal(address, upgrade(address, &many)).await.status, 431);
    let path = format!("/v1/ws?{}", "a".repeat(17 * 1024));
    let status = refusal(address, upgrade(address, "").replace("/v1/ws", &path))
        .await
        .status;
    assert!([414, 431].contains(&status), "{status}");
    // The node is well.
    Raw::connect(address).await.join("lobby").await;
}

#[tokio::test]
async fn c03_what_is_no_websocket_handshake_is_refused_with_its_status() {
    let cluster = Cluster::memory(1, &[]).await;
    let address = cluster.address(0);
    let good = upgrade(address, "");
    let cases = [
        (405, good.replace("GET ", "POST ")),
        (
            400,
            good.replace("sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
        ),
        (400, good.replace("dGhlIHNhbXBsZSBub25jZQ==", "short")),
        (426, good.replace("version: 13", "version: 8")),
        (
            400,
            good.replace("connection: Upgrade", "connection: close"),
        ),
        (400, good.replace("upgrade: websocket", "upgrade: h2c")),
        (400, good.replace("/v1/ws", "/v1/ws?token=abc")),
        (400, good.replace("HTTP/1.1", "HTTP/1.0")),
        (404, good.replace("/v1/ws", "/v1/nothing")),
    ];
    for (status, request) in cases {
        // A keep-alive answer is read to the end only when the node closes.
        let request = request.replace("host:", "x-test: 1\r\nhost:");
        let request = if request.contains("connection: close") {
            request
        } else {
            request.replace("connection: Upgrade", "connection: Upgrade, close")
        };
        let answer = refusal(address, request.clone()).await;
        assert_eq!(answer.status, status, "{request}\n{answer:?}");
        if status == 426 {
            assert_eq!(answer.header("sec-websocket-version"), Some("13"));
        }
    }
}

async fn status_from(address: SocketAddr, origin: &str) -> u16 {
    let mut request = upgrade_request(address);
    let origin = HeaderValue::from_str(origin).expect("a header's value");
    request.headers_mut().insert("origin", origin);
    match Raw::try_open(request).await {
        Ok(_) => 101,
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn c05_foreign_pages_are_refused_and_exact_origins_allowed() {
    let settings = [(
        "http.allowed_origins",
        "https://app.example.com,http://other.example:8080",
    )];
    let cluster = Cluster::memory(1, &settings).await;
    let address = cluster.address(0);
    for allowed in [
        "https://app.example.com",
        "https://APP.example.com",
        "http://other.example:8080",
        &format!("http://{address}"),
    ] {
        assert_eq!(status_from(address, allowed).await, 101, "{allowed}");
    }
    for foreign in [
        "null",
        "http://app.example.com",
        "https://app.example.com.evil",
        "https://xapp.example.com",
        "https://app.example.com:8443",
        "http://other.example",
        "https://evil.example",
        "*",
        "",
    ] {
        assert_eq!(status_from(address, foreign).await, 403, "{foreign:?}");
    }
}

/// Who a request without an `Origin`, or with one, comes in as: the id's beginning.
async fn comes_as(address: SocketAddr, headers: &[(&'static str, &str)]) -> String {
    let mut request = upgrade_request(address);
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).expect("a header's value");
        request.headers_mut().insert(*name, value);
    }
    match Raw::try_open(request).await {
        Ok(mut raw) => {
            let welcome = raw.next().await;
            let id = welcome["user"]["id"].as_str().expect("an id");
            id.split('-').next().expect("a part").to_owned()
        }
        Err(Error::Http(response)) => response.status().as_u16().to_string(),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn c06_without_an_origin_a_bearer_token_counts_and_a_cookie_does_not() {
    let cluster = Cluster::memory(1, &[SIGNED]).await;
    let address = cluster.address(0);
    let bearer = format!("Bearer {}", token("alice"));
    let cookie = format!("hubbub_token={}", token("alice"));
    let own = format!("http://{address}");
    let site = |site| ("sec-fetch-site", site);
    for (headers, who) in [
        (vec![], "guest"),
        (vec![("authorization", bearer.as_str())], "alice"),
        (vec![("cookie", cookie.as_str())], "guest"),
        (vec![("cookie", &cookie), site("cross-site")], "guest"),
        (vec![("cookie", &cookie), site("same-site")], "guest"),
        (vec![("cookie", &cookie), site("same-origin")], "alice"),
        (vec![("cookie", &cookie), ("origin", &own)], "alice"),
        (
            vec![("cookie", &cookie), ("origin", "https://evil.example")],
            "403",
        ),
        (
            vec![
                ("authorization", &bearer),
                ("origin", "https://evil.example"),
            ],
            "403",
        ),
    ] {
        assert_eq!(comes_as(address, &headers).await, who, "{headers:?}");
    }
    let open = Cluster::memory(1, &[SIGNED, ("http.allowed_origins", "*")]).await;
    let evil = [
        ("cookie", cookie.as_str()),
        ("origin", "https://evil.example"),
    ];
    assert_eq!(comes_as(open.address(0), &evil).await, "guest");
}

#[tokio::test]
async fn c05_without_settings_only_the_nodes_own_pages_may_connect() {
    let cluster = Cluster::memory(1, &[]).await;
    let address = cluster.address(0);
    assert_eq!(
        status_from(address, &format!("http://{address}")).await,
        101
    );
    assert_eq!(status_from(address, "http://127.0.0.1:1").await, 403);
    assert_eq!(status_from(address, "null").await, 403);
    // Programs send no origin.
    Raw::connect(address).await.join("lobby").await;
}

#[tokio::test]
async fn the_sub_protocol_is_repeated_and_not_needed() {
    let cluster = Cluster::memory(1, &[]).await;
    let address = cluster.address(0);
    let mut request = upgrade_request(address);
    let offered = HeaderValue::from_static("hubbub.v1");
    request
        .headers_mut()
        .insert("sec-websocket-protocol", offered);
    // The library refuses an upgrade that does not repeat one of the offered protocols.
    Raw::open(request).await.join("lobby").await;
}

#[tokio::test]
async fn too_many_from_one_address_are_429() {
    let cluster = Cluster::memory(1, &[("limits.connections_per_address", "3")]).await;
    let address = cluster.address(0);
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut raw = Raw::connect(address).await;
        raw.join("lobby").await;
        held.push(raw);
    }
    let answer = get(address, "/").await;
    assert_eq!(answer.status, 429, "{answer:?}");
    drop(held);
    let back = async || {
        let answer = hubbub_tests::http::try_get(address, "/").await?;
        (answer.status == 200).then_some(())
    };
    hubbub_tests::deadline::eventually("the places are free again", FREED, back).await;
}

const FREED: std::time::Duration = std::time::Duration::from_secs(10);
