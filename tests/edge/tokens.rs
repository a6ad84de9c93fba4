//! Whose tokens count: forged, expired and odd ones are told so after the upgrade, by 4501.

use std::time::{SystemTime, UNIX_EPOCH};

use hubbub_tests::cluster::Cluster;
use hubbub_tests::process::{Setting, run};
use hubbub_tests::raw::{Raw, upgrade_request};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::http::HeaderValue;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const SETTINGS: [Setting<'_>; 2] = [("auth.mode", "jwt"), ("auth.secret", SECRET)];
/// `{"alg":"none","typ":"JWT"}` in base64url.
const ALG_NONE: &str = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
/// The same with "None".
const ALG_NONE_CAPITAL: &str = "eyJhbGciOiJOb25lIiwidHlwIjoiSldUIn0";

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("a clock after 1970").as_secs()
}

fn mint_with(header: &Header, claims: &Value, secret: &str) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    encode(header, claims, &key).expect("the claims can be signed")
}

fn mint(claims: &Value) -> String {
    mint_with(&Header::new(Algorithm::HS256), claims, SECRET)
}

fn good() -> Value {
    json!({"sub": "alice", "name": "Alice", "exp": now() + 600})
}

#[tokio::test]
async fn a_good_token_is_welcome_by_every_way() {
    let cluster = Cluster::memory(1, &SETTINGS).await;
    let address = cluster.address(0);
    let token = mint(&good());
    let mut by_header = Raw::connect_as(address, &token).await;
    let mut request = upgrade_request(address);
    let offered = format!("hubbub.v1, hubbub.bearer.{token}");
    let offered = HeaderValue::from_str(&offered).expect("a header's value");
    request
        .headers_mut()
        .insert("sec-websocket-protocol", offered);
    let mut by_protocol = Raw::open(request).await;
    let mut by_hello = Raw::connect(address).await;
    by_hello
        .write(json!({"type": "hello", "token": token}).to_string())
        .await;
    for raw in [&mut by_header, &mut by_protocol, &mut by_hello] {
        let welcome = raw.next().await;
        assert_eq!(welcome["type"], "welcome");
        assert_eq!(welcome["user"], json!({"id": "alice", "name": "Alice"}));
    }
}

#[tokio::test]
async fn forged_and_odd_tokens_are_4501() {
    let cluster = Cluster::memory(1, &SETTINGS).await;
    let address = cluster.address(0);
    let token = mint(&good());
    let parts: Vec<&str> = token.split('.').collect();
    let (head, body, signature) = (parts[0], parts[1], parts[2]);
    let without = |claim: &str| {
        let mut claims = good();
        claims.as_object_mut().expect("an object").remove(claim);
        mint(&claims)
    };
    let with = |claim: &str, value: Value| {
        let mut claims = good();
        claims[claim] = value;
        mint(&claims)
    };
    let mut critical = Header::new(Algorithm::HS256);
    critical.kid = Some("../../etc/passwd".to_owned());
    let cases = [
        ("garbage", "garbage".to_owned()),
        ("alg none", format!("{ALG_NONE}.{body}.")),
        (
            "alg None with the old signature",
            format!("{ALG_NONE_CAPITAL}.{body}.{signature}"),
        ),
        ("no signature", format!("{head}.{body}.")),
        ("two parts", format!("{head}.{body}")),
        (
            "another body",
            format!(
                "{head}.{}.{signature}",
                mint(&json!({"sub": "root"}))
                    .split('.')
                    .nth(1)
                    .expect("a body")
            ),
        ),
        (
            "another secret",
            mint_with(
                &Header::new(Algorithm::HS256),
                &good(),
                "another secret of 32 bytes or more",
            ),
        ),
        ("no exp", without("exp")),
        ("no sub", without("sub")),
        ("expired", with("exp", json!(now() - 60))),
        ("exp is text", with("exp", json!("never"))),
        ("exp is negative", with("exp", json!(-1))),
        ("not yet", with("nbf", json!(now() + 600))),
        ("sub is empty", with("sub", json!(""))),
        ("sub is no text", with("sub", json!(7))),
        ("9 KiB", with("filler", json!("x".repeat(9 * 1024)))),
    ];
    for (case, token) in cases {
        let mut raw = Raw::connect_as(address, &token).await;
        assert_eq!(raw.close_code().await, 4501, "{case}");
    }
}

#[tokio::test]
async fn an_issuer_and_an_audience_that_are_asked_for_must_be_there() {
    let mut settings = SETTINGS.to_vec();
    settings.extend([
        ("auth.issuer", "https://id.example"),
        ("auth.audience", "chat"),
    ]);
    let cluster = Cluster::memory(1, &settings).await;
    let address = cluster.address(0);
    let mut claims = good();
    claims["iss"] = json!("https://id.example");
    claims["aud"] = json!("chat");
    let mut raw = Raw::connect_as(address, &mint(&claims)).await;
    assert_eq!(raw.next().await["type"], "welcome");
    for (claim, value) in [
        ("iss", json!("https://evil.example")),
        ("aud", json!("mail")),
        ("iss", Value::Null),
        ("aud", Value::Null),
    ] {
        let mut claims = claims.clone();
        claims[claim] = value;
        if claims[claim].is_null() {
            claims.as_object_mut().expect("an object").remove(claim);
        }
        let mut raw = Raw::connect_as(address, &mint(&claims)).await;
        assert_eq!(raw.close_code().await, 4501, "{claims}");
    }
}

#[tokio::test]
async fn rights_are_those_of_the_token() {
    let cluster = Cluster::memory(1, &SETTINGS).await;
    let mut claims = good();
    // The claim's form is the one that `hubbub token --room` writes.
    let minted = run(
        &SETTINGS,
        &[
            "token", "--sub", "alice", "--room", "team-*=r", "--room", "lobby=rw",
        ],
    );
    assert!(minted.status.success(), "{minted:?}");
    let token = String::from_utf8_lossy(&minted.stdout).trim().to_owned();
    let mut raw = Raw::connect_as(cluster.address(0), &token).await;
    assert_eq!(raw.join("lobby").await["rights"], "rw");
    assert_eq!(raw.join("team-a").await["rights"], "r");
    let send = json!({"type": "send", "room": "team-a", "body": 1});
    assert_eq!(raw.ask(send).await["code"], "forbidden");
    let join = json!({"type": "join", "room": "secret"});
    assert_eq!(raw.ask(join).await["code"], "forbidden");
    let history = json!({"type": "history", "room": "secret"});
    assert_eq!(raw.ask(history).await["code"], "forbidden");
    // Without the claim every room is open.
    claims["name"] = json!("Alice");
    let mut raw = Raw::connect_as(cluster.address(0), &mint(&claims)).await;
    assert_eq!(raw.join("secret").await["rights"], "rw");
}

#[tokio::test]
async fn in_guest_mode_a_bad_token_is_still_a_bad_token() {
    let cluster = Cluster::memory(1, &[]).await;
    let mut raw = Raw::connect_as(cluster.address(0), &mint(&good())).await;
    assert_eq!(raw.close_code().await, 4501);
}
