//! The configuration of HAProxy that comes with the product, in front of real nodes: a node that hangs loses
//! its clients to others, one that is not ready keeps them.

use std::path::Path;
use std::time::Duration;

use hubbub_tests::certificates::Authority;
use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::eventually;
use hubbub_tests::haproxy::HaProxy;
use hubbub_tests::http::{exchange, get};
use hubbub_tests::port::free_port;
use hubbub_tests::raw::{Raw, upgrade_request};
use hubbub_tests::redis::{Fsync, Redis};
use serde_json::json;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::http::HeaderValue;

const SOON: Duration = Duration::from_secs(20);
/// A check takes a second to fail, and two have to fail one after the other.
const CUT: Duration = Duration::from_secs(8);

fn shipped() -> String {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = here.join("../deploy/haproxy/haproxy.cfg");
    std::fs::read_to_string(path).expect("the configuration is there")
}

/// The configuration with ports and addresses of this test.
fn here(cluster: &Cluster, ops: u16) -> String {
    let mut config = shipped()
        .replace("bind :8080", "bind 127.0.0.1:$FRONT")
        .replace("bind :8081", &format!("bind 127.0.0.1:{}", free_port()))
        .replace("bind :8405", &format!("bind 127.0.0.1:{ops}"))
        .replace("check port 9090", "check")
        .replace(
            "resolvers docker resolve-prefer ipv4 init-addr last,libc,none",
            "",
        );
    for number in 0..3 {
        let node = cluster.address(number);
        let place = format!("{node} port {}", cluster.ops(number).port());
        config = config.replace(&format!("gateway-{}:3000", number + 1), &place);
    }
    let lines = config
        .lines()
        .filter(|line| !line.contains("gateway-more:"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// The state of the first gateway, as HAProxy's figures tell it.
async fn state(ops: u16) -> Option<String> {
    let figures = get(([127, 0, 0, 1], ops).into(), "/metrics").await.body;
    let prefix = "haproxy_server_status{proxy=\"sticky\",server=\"gateway-1\",state=\"";
    let line = figures
        .lines()
        .find(|line| line.starts_with(prefix) && line.ends_with(" 1"))?;
    line[prefix.len()..].split('"').next().map(str::to_owned)
}

async fn becomes(ops: u16, wanted: &str) {
    let what = format!("the first gateway is {wanted}");
    eventually(&what, SOON, async || {
        (state(ops).await? == wanted).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_hangs_is_cut_off_and_one_that_is_not_ready_is_not() {
    let redis = Redis::start(Fsync::EverySecond).await;
    let mut cluster = Cluster::processes(redis, 3, &[]).await;
    let ops = free_port();
    let haproxy = HaProxy::start(&here(&cluster, ops)).await;
    becomes(ops, "UP").await;
    let mut request = upgrade_request(haproxy.address());
    let cookie = HeaderValue::from_static("hubbub_node=gateway-1");
    request.headers_mut().insert("cookie", cookie.clone());
    let mut raw = Raw::open(request).await;
    assert_eq!(raw.next_of("welcome").await["node"], "gw-0");

    cluster.redis_mut().kill9();
    becomes(ops, "NOLB").await;
    let pong = raw.ask(json!({"type": "ping"})).await;
    assert_eq!(pong["type"], "pong", "not ready, and its clients stay");
    cluster.redis_mut().restart().await;
    becomes(ops, "UP").await;
    raw.join("lobby").await;

    cluster.process(0).pause();
    let paused = Instant::now();
    raw.end().await;
    let took = paused.elapsed();
    println!("the clients of a node that hangs are cut off after {took:.2?}");
    assert!(took < CUT, "{took:?}");
    // With the cookie of the node that hangs, a client comes to another one.
    let mut request = upgrade_request(haproxy.address());
    request.headers_mut().insert("cookie", cookie);
    let mut raw = Raw::open(request).await;
    assert_ne!(raw.next_of("welcome").await["node"], "gw-0");
    cluster.process(0).resume();
    becomes(ops, "UP").await;
}

#[tokio::test]
async fn plain_ports_redirect_where_tls_is_on() {
    let cluster = Cluster::memory(3, &[]).await;
    let authority = Authority::new();
    let (certificate, key) = authority.sign_local("site");
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let pem = [certificate, key].map(|path| std::fs::read(path).expect("it was written"));
    std::fs::write(folder.path().join("site.pem"), pem.concat()).expect("there is room");
    let config = here(&cluster, free_port())
        .replace(".if defined(HUBBUB_TLS_PORT)", ".if 1")
        .replace("${HUBBUB_TLS_PORT}", "443")
        .replace("bind :8443", &format!("bind 127.0.0.1:{}", free_port()))
        .replace(
            "/usr/local/etc/haproxy/tls/",
            &folder.path().display().to_string(),
        );
    let haproxy = HaProxy::start(&config).await;
    let request = "GET /docs?a=b HTTP/1.1\r\nhost: chat.example:8080\r\nconnection: close\r\n\r\n";
    let answer = exchange(haproxy.address(), request.as_bytes()).await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 308, "{answer:?}");
    assert_eq!(
        answer.header("location"),
        Some("https://chat.example:443/docs?a=b")
    );
}

#[test]
fn a_reload_spares_old_connections() {
    let config = shipped();
    assert!(!config.contains("hard-stop-after"), "no cut after a time");
    let nginx = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nginx/nginx.conf");
    let nginx = std::fs::read_to_string(nginx).expect("the configuration is there");
    assert!(!nginx.contains("worker_shutdown_timeout"));
}
