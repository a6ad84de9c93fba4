//! The balancers keep a client on its node by a cookie, and pass on its address.

use std::collections::BTreeSet;
use std::time::Duration;

use hubbub_tests::deadline::eventually;
use hubbub_tests::http::exchange;
use hubbub_tests::raw::{Raw, upgrade_request};
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::stack::{Door, Stack};

/// Connections that show whether a client stays on its node. By chance, this many end up on one of
/// three nodes once in 177,147 runs.
const TRIES: usize = 12;
const LOGGED: Duration = Duration::from_secs(20);

pub(crate) async fn a_cookie_keeps_a_client_on_its_node(stack: &Stack) {
    for door in [Door::Balancer, Door::Nginx] {
        let cookie = cookie_of(stack, door)
            .await
            .expect("a sticky balancer sets a cookie");
        let kept = nodes(stack, door, Some(&cookie)).await;
        assert_eq!(kept.len(), 1, "{door:?} with {cookie}: {kept:?}");
        let free = nodes(stack, door, None).await;
        assert!(
            free.len() > 1,
            "{door:?} spreads clients without a cookie: {free:?}"
        );
        println!("{door:?}: with its cookie always on {kept:?}, without on {free:?}");
    }
    for door in [Door::RoundRobin, Door::NginxRoundRobin] {
        assert_eq!(cookie_of(stack, door).await, None, "{door:?}");
        let free = nodes(stack, door, Some("hubbub_node=gateway-1")).await;
        assert_eq!(free.len(), 3, "{door:?} uses all nodes: {free:?}");
    }
}

/// The cookie that a browser would send back.
async fn cookie_of(stack: &Stack, door: Door) -> Option<String> {
    let address = stack.address(door);
    let request = format!("GET / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let page = exchange(address, request.as_bytes()).await.expect("a page");
    assert_eq!(page.status, 200);
    let cookie = page.header("set-cookie")?;
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"),
        "{cookie}"
    );
    cookie.split(';').next().map(str::to_owned)
}

/// The nodes of several connections that are open at the same time.
async fn nodes(stack: &Stack, door: Door, cookie: Option<&str>) -> BTreeSet<String> {
    let mut open = Vec::new();
    let mut nodes = BTreeSet::new();
    for _ in 0..TRIES {
        let mut request = upgrade_request(stack.address(door));
        if let Some(cookie) = cookie {
            let cookie = HeaderValue::from_str(cookie).expect("a cookie");
            request.headers_mut().insert("cookie", cookie);
        }
        let mut raw = Raw::open(request).await;
        let welcome = raw.next_of("welcome").await;
        nodes.insert(welcome["node"].as_str().expect("a node").to_owned());
        open.push(raw);
    }
    nodes
}

/// The gateways' logs name the address that the balancer saw, not one that the client invented.
pub(crate) async fn clients_cannot_say_where_they_come_from(stack: &Stack) {
    let outside = format!("{}.1", stack.get("HUBBUB_NET"));
    for door in [
        Door::Balancer,
        Door::RoundRobin,
        Door::Nginx,
        Door::Gateway(2),
    ] {
        let mut request = upgrade_request(stack.address(door));
        for (name, value) in [
            ("x-forwarded-for", "6.6.6.6"),
            ("forwarded", "for=6.6.6.6"),
            ("x-forwarded-proto", "https"),
        ] {
            request
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        let mut raw = Raw::open(request).await;
        let welcome = raw.next_of("welcome").await;
        let connection = welcome["connection"]
            .as_str()
            .expect("a connection")
            .to_owned();
        let (client, _) = eventually("the connection is logged", LOGGED, async || {
            let logs = stack.shell(
                "docker compose logs --no-log-prefix --tail 50 gateway-1 gateway-2 gateway-3",
            );
            logs.await
                .lines()
                .find_map(|line| client_of(line, &connection))
        })
        .await;
        assert_eq!(client, outside, "{door:?}");
    }
}

fn client_of(line: &str, connection: &str) -> Option<String> {
    // Some versions of Compose put terminal codes before each line.
    let (_, object) = line.split_once('{')?;
    let line: serde_json::Value = serde_json::from_str(&format!("{{{object}")).ok()?;
    let is_meant = line["connection"] == connection && line["message"] == "connection opened";
    is_meant
        .then(|| line["client"].as_str().map(str::to_owned))
        .flatten()
}
