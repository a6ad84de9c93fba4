//! Identities end with their tokens: nothing that was made from a token opens a session after it.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hubbub_tests::cluster::Cluster;
use hubbub_tests::deadline::eventually;
use hubbub_tests::http::{get, post_as};
use hubbub_tests::people::{SIGNED, now, token, token_with};
use hubbub_tests::process::Setting;
use hubbub_tests::raw::{Heard, Raw, upgrade_request};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::Uri;

const SETTINGS: [Setting<'_>; 2] = [SIGNED, ("auth.mode", "jwt")];
const DEADLINE: Duration = Duration::from_secs(20);

fn now_ms() -> u128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("a clock after 1970").as_millis()
}

/// A token that ends at this second.
fn token_until(exp: u64) -> String {
    token_with("eve", &json!({"exp": exp}))
}

async fn ticket(address: SocketAddr, token: &str) -> Value {
    let made = post_as(address, token, "/v1/tickets", &json!({})).await;
    assert_eq!(made.status, 201, "{made:?}");
    made.json()
}

async fn is_over(exp: u64) {
    eventually("the token is over", DEADLINE, async || {
        (now_ms() > u128::from(exp) * 1_000).then_some(())
    })
    .await;
}

async fn open(address: SocketAddr, path: &str) -> Raw {
    let mut request = upgrade_request(address);
    let uri: Uri = format!("ws://{address}{path}").parse().expect("a URI");
    *request.uri_mut() = uri;
    Raw::open(request.into_client_request().expect("a request")).await
}

#[tokio::test]
async fn c48_a_ticket_ends_with_its_token() {
    for cluster in [
        Cluster::memory(1, &SETTINGS).await,
        Cluster::redis(1, &SETTINGS).await,
    ] {
        let address = cluster.address(0);
        let exp = now() + 3;
        let (first, second) = (
            ticket(address, &token_until(exp)).await,
            ticket(address, &token_until(exp)).await,
        );
        assert_eq!(first["expires"], json!(exp * 1_000));
        let long = ticket(address, &token("alice")).await;
        let life = long["expires"].as_u64().expect("a time") / 1_000 - now();
        assert!((55..=60).contains(&life), "{life} s");
        let [first, second] = [first, second].map(|it| it["ticket"].as_str().unwrap().to_owned());
        is_over(exp).await;
        for _ in 0..2 {
            let stream = get(address, &format!("/v1/rooms/lobby/events?ticket={first}")).await;
            assert_eq!(stream.status, 401, "{stream:?}");
        }
        let mut socket = open(address, &format!("/v1/ws?ticket={second}")).await;
        assert_eq!(socket.close_code().await, 4501);
    }
}

/// What Socket.IO says next, without its pings.
async fn hear(raw: &mut Raw) -> String {
    loop {
        match raw.hear().await {
            Heard::Text(text) if text == "2" => raw.write("3").await,
            Heard::Text(text) => return text,
            other => panic!("{other:?}"),
        }
    }
}

async fn hear_one_with(raw: &mut Raw, parts: &[&str]) -> String {
    loop {
        let text = hear(raw).await;
        if parts.iter().any(|part| text.starts_with(part)) {
            return text;
        }
    }
}

#[tokio::test]
async fn c48_a_socketio_connection_opens_no_session_after_its_token() {
    let cluster = Cluster::memory(1, &SETTINGS).await;
    let address = cluster.address(0);
    let exp = now() + 3;
    let ticket = ticket(address, &token_until(exp)).await;
    let ticket = ticket["ticket"].as_str().expect("a ticket");
    let path = format!("/socket.io/?EIO=4&transport=websocket&ticket={ticket}");
    let mut raw = open(address, &path).await;
    assert!(hear(&mut raw).await.starts_with('0'));
    // The ticket is used while it counts, and the connection stays.
    raw.write("40").await;
    let connected = hear_one_with(&mut raw, &["40", "44"]).await;
    assert!(connected.starts_with("40"), "{connected}");
    raw.write("41").await;
    is_over(exp).await;
    for _ in 0..2 {
        raw.write("40").await;
        let refused = hear_one_with(&mut raw, &["40", "44"]).await;
        assert!(
            refused.starts_with("44") && refused.contains("unauthorized"),
            "{refused}"
        );
    }
    // Another token opens the door again.
    raw.write(format!("40{}", json!({"token": token("alice")})))
        .await;
    let connected = hear_one_with(&mut raw, &["40", "44"]).await;
    assert!(connected.starts_with("40"), "{connected}");
}
