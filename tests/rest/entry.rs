//! Other ways to say who one is: tickets in an address, and the session's cookie.

use hubbub_tests::cluster::Cluster;
use hubbub_tests::http::Answer;
use hubbub_tests::people::{SECRET, SIGNED, token};
use hubbub_tests::raw::{Raw, upgrade_request};
use hubbub_tests::sse::Events;

use crate::asking::{Asker, assert_problem};

on_both_archives!(
    a_ticket_opens_a_socket_once,
    a_ticket_is_good_for_a_stream_until_it_ends
);

async fn ticket(cluster: &Cluster) -> String {
    let alice = Asker::user(cluster, 0, "alice");
    let made = alice.send("POST", "/v1/tickets", None).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert!(
        made.json()["expires"]
            .as_u64()
            .is_some_and(|at| at > 1_700_000_000_000)
    );
    made.json()["ticket"].as_str().expect("a ticket").to_owned()
}

async fn socket(cluster: &Cluster, ticket: &str) -> Raw {
    let mut request = upgrade_request(cluster.address(1));
    let uri = format!("{}?ticket={ticket}", request.uri());
    *request.uri_mut() = uri.parse().expect("a good URL");
    Raw::open(request).await
}

async fn a_ticket_opens_a_socket_once(cluster: Cluster) {
    let ticket = ticket(&cluster).await;
    let mut first = socket(&cluster, &ticket).await;
    assert_eq!(first.next_of("welcome").await["user"]["id"], "alice");
    let mut second = socket(&cluster, &ticket).await;
    assert_eq!(second.close_code().await, 4501);
    let mut made_up = socket(&cluster, &"0".repeat(64)).await;
    assert_eq!(made_up.close_code().await, 4501);

    let ticket = self::ticket(&cluster).await;
    let stranger = Asker::stranger(cluster.address(1));
    let path = "/socket.io/?EIO=4&transport=polling";
    let connect = async || {
        let hello = stranger.get(&format!("{path}&ticket={ticket}")).await;
        let hello: serde_json::Value = serde_json::from_str(&hello.body[1..]).expect("JSON");
        let sid = hello["sid"].as_str().expect("a sid").to_owned();
        let session = format!("{path}&sid={sid}");
        let body = Some(("text/plain", b"40".as_slice()));
        assert_eq!(stranger.send_raw("POST", &session, body).await.body, "ok");
        stranger.get(&session).await.body
    };
    let entered = connect().await;
    assert!(entered.contains(r#""id":"alice""#), "{entered}");
    let again = connect().await;
    assert!(again.starts_with("44{"), "{again}");
}

async fn a_ticket_is_good_for_a_stream_until_it_ends(cluster: Cluster) {
    let ticket = ticket(&cluster).await;
    let path = format!("/v1/rooms/lobby/events?ticket={ticket}");
    for number in 0..3 {
        let mut events = Events::open(cluster.address(number), &path, "").await;
        let welcome = events.next_of("welcome").await;
        assert_eq!(welcome.data["user"]["id"], "alice");
    }
    let stranger = Asker::stranger(cluster.address(0));
    let bad = stranger.get("/v1/rooms/lobby/events?ticket=x").await;
    assert_problem(&bad, 401, "unauthorized");
    let made = stranger.send("POST", "/v1/tickets", None).await;
    assert_problem(&made, 401, "unauthorized");
}

fn cookie(answer: &Answer) -> &str {
    answer.header("set-cookie").expect("a cookie")
}

#[tokio::test]
async fn a_session_is_a_cookie_that_no_script_reads() {
    let settings = [
        ("auth.mode", "jwt"),
        ("auth.secret", SECRET),
        ("http.trusted_proxies", "127.0.0.0/8"),
    ];
    let cluster = Cluster::memory(1, &settings).await;
    let address = cluster.address(0);
    let alice = || Asker::bearer(address, &token("alice"));
    let made = alice().send("POST", "/v1/session", None).await;
    assert_eq!((made.status, made.body.as_str()), (204, ""), "{made:?}");
    let set = cookie(&made);
    for part in ["; HttpOnly", "; SameSite=Lax", "; Path=/", "; Max-Age=3"] {
        assert!(set.contains(part), "{set}");
    }
    assert!(!set.contains("Secure"));
    let secure = alice()
        .with("x-forwarded-proto: https")
        .with("x-forwarded-for: 192.0.2.1");
    let secure = secure.send("POST", "/v1/session", None).await;
    assert!(cookie(&secure).ends_with("; Secure"), "{secure:?}");
    assert!(
        cookie(&secure).starts_with("__Host-hubbub_token="),
        "{secure:?}"
    );
    // It opens the doors for our own pages.
    let (pair, _) = set.split_once(';').expect("attributes");
    let page = Asker::stranger(address)
        .with(&format!("cookie: {pair}"))
        .with("sec-fetch-site: same-origin");
    assert_eq!(page.read("/v1/me").await["user"]["id"], "alice");
    let headers = format!("cookie: {pair}\r\nsec-fetch-site: same-origin\r\n");
    let mut events = Events::open(address, "/v1/rooms/lobby/events", &headers).await;
    assert_eq!(events.next_of("welcome").await.data["user"]["id"], "alice");
    let gone = page.delete("/v1/session").await;
    assert_eq!(gone.status, 204);
    assert!(cookie(&gone).starts_with("hubbub_token=; ") && cookie(&gone).contains("Max-Age=0"));
    let none = Asker::stranger(address)
        .send("POST", "/v1/session", None)
        .await;
    assert_problem(&none, 401, "unauthorized");
}

#[tokio::test]
async fn where_no_cookie_counts_none_is_set() {
    let cluster = Cluster::memory(1, &[SIGNED, ("http.allowed_origins", "*")]).await;
    let alice = Asker::user(&cluster, 0, "alice");
    let answer = alice.send("POST", "/v1/session", None).await;
    assert_problem(&answer, 409, "conflict");
    assert_eq!(answer.header("set-cookie"), None);
}

/// A host of the same domain plants a cookie of the other name.
#[tokio::test]
async fn c53_exactly_one_cookie_is_read() {
    let settings = [SIGNED, ("http.trusted_proxies", "127.0.0.0/8")];
    let cluster = Cluster::memory(1, &settings).await;
    let address = cluster.address(0);
    let (alice, eve) = (token("alice"), token("eve"));
    let both = format!("cookie: hubbub_token={eve}; __Host-hubbub_token={alice}");
    let page = |cookie: &str| {
        let own = Asker::stranger(address).with(cookie);
        own.with("sec-fetch-site: same-origin")
    };
    let who = async |asker: Asker| asker.read("/v1/me").await["user"]["id"].clone();
    assert_eq!(who(page(&both)).await, "eve", "on plain HTTP");
    let tls = |cookie: &str| page(cookie).with("x-forwarded-proto: https");
    assert_eq!(who(tls(&both)).await, "alice", "over TLS");
    let planted = format!("cookie: hubbub_token={eve}");
    assert_problem(&tls(&planted).get("/v1/me").await, 401, "unauthorized");
    let own_name = [SIGNED, ("auth.cookie", "chat_token")];
    let cluster = Cluster::memory(1, &own_name).await;
    let address = cluster.address(0);
    let page = |name: &str| {
        let own = Asker::stranger(address).with(&format!("cookie: {name}={alice}"));
        own.with("sec-fetch-site: same-origin")
    };
    assert_eq!(who(page("chat_token")).await, "alice");
    for other in [
        "hubbub_token",
        "__Host-hubbub_token",
        "xchat_token",
        "Chat_Token",
    ] {
        assert_problem(&page(other).get("/v1/me").await, 401, "unauthorized");
    }
    let made = Asker::user(&cluster, 0, "alice")
        .send("POST", "/v1/session", None)
        .await;
    assert!(cookie(&made).starts_with("chat_token="), "{made:?}");
}

#[tokio::test]
async fn a_cookie_that_needs_tls_is_not_set_without() {
    let cluster = Cluster::memory(1, &[SIGNED, ("auth.cookie", "__Host-chat")]).await;
    let answer = Asker::user(&cluster, 0, "alice")
        .send("POST", "/v1/session", None)
        .await;
    assert_problem(&answer, 409, "conflict");
    assert!(answer.body.contains("auth.cookie"), "{answer:?}");
}
