//! Who may ask: bearers of a token, and our own pages with a cookie.

use hubbub_tests::cluster::Cluster;
use hubbub_tests::people::{SECRET, token, token_with};
use serde_json::json;

use crate::asking::{Asker, assert_problem};

#[tokio::test]
async fn without_a_token_the_answer_says_how_to_get_one() {
    let cluster = Cluster::memory(1, &[]).await;
    let stranger = Asker::stranger(cluster.address(0));
    for (method, path) in [
        ("GET", "/v1/me"),
        ("GET", "/v1/rooms"),
        ("GET", "/v1/rooms/lobby"),
        ("GET", "/v1/rooms/lobby/messages"),
        ("GET", "/v1/rooms/lobby/members"),
        ("GET", "/v1/search?q=x"),
        ("POST", "/v1/rooms"),
        ("PATCH", "/v1/rooms/lobby"),
        ("POST", "/v1/rooms/lobby/members"),
        ("DELETE", "/v1/rooms/lobby/members/bob"),
    ] {
        let answer = stranger.send_raw(method, path, None).await;
        assert_problem(&answer, 401, "unauthorized");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{path}");
        let detail = answer.json()["detail"].to_string();
        assert!(detail.contains("POST /v1/guests"), "{detail}");
    }
    // What it says works.
    let guest = stranger.post("/v1/guests", &json!({"name": "Ann"})).await;
    assert_eq!(guest.status, 201);
    let token = guest.json()["token"].as_str().expect("a token").to_owned();
    let me = Asker::bearer(cluster.address(0), &token)
        .read("/v1/me")
        .await;
    assert_eq!(me["user"], guest.json()["user"]);
}

#[tokio::test]
async fn where_only_tokens_count_guests_are_not_offered() {
    let settings = [("auth.mode", "jwt"), ("auth.secret", SECRET)];
    let cluster = Cluster::memory(1, &settings).await;
    let answer = Asker::stranger(cluster.address(0)).get("/v1/me").await;
    assert_problem(&answer, 401, "unauthorized");
    let detail = answer.json()["detail"].to_string();
    assert!(
        detail.contains("auth.secret") && !detail.contains("guests"),
        "{detail}"
    );
    let guest = Asker::stranger(cluster.address(0));
    let guest = guest.post("/v1/guests", &json!({})).await;
    assert_problem(&guest, 404, "not_found");
}

#[tokio::test]
async fn a_bad_token_is_refused_everywhere() {
    let cluster = Cluster::memory(1, &[hubbub_tests::people::SIGNED]).await;
    let address = cluster.address(0);
    let good = token("alice");
    let (head, _) = good.rsplit_once('.').expect("a token has three parts");
    for bad in [
        "x",
        "",
        &format!("{head}."),
        &format!("{head}.AAAA"),
        &token_with("alice", &json!({"exp": 1})),
        &token_with("", &json!({})),
        &"a".repeat(10_000),
    ] {
        let answer = Asker::bearer(address, bad).get("/v1/me").await;
        assert_problem(&answer, 401, "unauthorized");
    }
    let basic = Asker::stranger(address).with("authorization: Basic YTpi");
    assert_problem(&basic.get("/v1/me").await, 401, "unauthorized");
    for name in ["token", "access_token", "JWT"] {
        let path = format!("/v1/me?{name}={good}");
        let answer = Asker::bearer(address, &good).get(&path).await;
        assert_problem(&answer, 400, "bad_frame");
        let detail = answer.json()["detail"].to_string();
        assert!(detail.contains("ends in logs"), "{detail}");
        assert!(!answer.body.contains(&good), "a token is never repeated");
    }
}

#[tokio::test]
async fn a_token_says_who_and_what() {
    let cluster = Cluster::memory(1, &[hubbub_tests::people::SIGNED]).await;
    let address = cluster.address(0);
    let me = Asker::bearer(address, &token("alice")).read("/v1/me").await;
    assert_eq!(me, json!({"user": {"id": "alice", "name": "ALICE"}}));
    let grants = json!({"team-*": "r", "team-x": ""});
    let narrow = token_with("bob", &json!({"rooms": grants}));
    let bob = Asker::bearer(address, &narrow);
    assert_eq!(bob.read("/v1/me").await["rooms"], grants);
    assert_eq!(bob.get("/v1/rooms/team-a/messages").await.status, 200);
    for path in [
        "/v1/rooms/lobby/messages",
        "/v1/rooms/lobby/members",
        "/v1/rooms/team-x/messages",
    ] {
        assert_problem(&bob.get(path).await, 403, "forbidden");
    }
}

#[tokio::test]
async fn a_cookie_counts_for_our_own_pages_only() {
    let settings = [
        hubbub_tests::people::SIGNED,
        ("http.allowed_origins", "https://app.example.com"),
    ];
    let cluster = Cluster::memory(1, &settings).await;
    let address = cluster.address(0);
    let cookie = format!("cookie: a=b; hubbub_token={}", token("alice"));
    let with = |header: &str| Asker::stranger(address).with(&cookie).with(header);
    let own = format!("origin: http://{address}");
    for good in [
        "sec-fetch-site: same-origin",
        &own,
        "origin: https://app.example.com",
    ] {
        assert_eq!(with(good).get("/v1/me").await.status, 200, "{good}");
    }
    for bad in ["x: y", "sec-fetch-site: same-site", "sec-fetch-site: none"] {
        assert_problem(&with(bad).get("/v1/me").await, 401, "unauthorized");
    }
    let foreign = with("origin: https://evil.example").get("/v1/me").await;
    assert_problem(&foreign, 403, "forbidden");
    // What changes something needs an origin; then it gets as far as the archive, which is not there.
    let body = json!({"room": "r"});
    let unsafe_one = with("sec-fetch-site: same-origin")
        .post("/v1/rooms", &body)
        .await;
    assert_problem(&unsafe_one, 401, "unauthorized");
    let safe = with(&own).post("/v1/rooms", &body).await;
    assert_problem(&safe, 503, "unavailable");
    assert!(safe.json()["detail"].to_string().contains("archive.url"));
    assert_eq!(safe.header("retry-after"), None, "no retry would help");
}

#[tokio::test]
async fn where_any_page_may_ask_no_cookie_counts() {
    let settings = [hubbub_tests::people::SIGNED, ("http.allowed_origins", "*")];
    let cluster = Cluster::memory(1, &settings).await;
    let asker = Asker::stranger(cluster.address(0))
        .with(&format!("cookie: hubbub_token={}", token("alice")))
        .with("origin: https://anything.example");
    assert_problem(&asker.get("/v1/me").await, 401, "unauthorized");
}
