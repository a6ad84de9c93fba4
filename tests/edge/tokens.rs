//! Whose tokens count: forged, expired and odd ones are told so after the upgrade, by 4501 (rows C8 to
//! C11).

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hubbub_tests::cluster::Cluster;
use hubbub_tests::process::{FILE, Setting, run};
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

/// A token with exactly this header and these claims, signed with the secret.
fn signed(header: &str, claims: &str) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let signed = format!("{}.{}", part(header), part(claims));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::HS256);
    format!("{signed}.{}", signature.expect("a secret signs anything"))
}

/// The same with good claims.
fn headed(header: &Value) -> String {
    signed(&header.to_string(), &good().to_string())
}

async fn all_are_4501(cases: Vec<(&str, String)>) {
    let cluster = Cluster::memory(1, &SETTINGS).await;
    for (case, token) in cases {
        let mut raw = Raw::connect_as(cluster.address(0), &token).await;
        assert_eq!(raw.close_code().await, 4501, "{case}");
    }
}

/// Of key pairs, and what is signed with the wrong one of them: `keys.rs`.
#[tokio::test]
async fn c08_forged_tokens_are_4501() {
    let token = mint(&good());
    let parts: Vec<&str> = token.split('.').collect();
    let (head, body, signature) = (parts[0], parts[1], parts[2]);
    let root = URL_SAFE_NO_PAD.encode(json!({"sub": "root", "exp": now() + 600}).to_string());
    let jwk = json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET)});
    let another = "another secret of 32 bytes or more";
    all_are_4501(vec![
        ("garbage", "garbage".to_owned()),
        ("alg none", format!("{ALG_NONE}.{body}.")),
        (
            "alg None with the old signature",
            format!("{ALG_NONE_CAPITAL}.{body}.{signature}"),
        ),
        ("alg none, well signed", headed(&json!({"alg": "none"}))),
        ("alg RS256, well signed", headed(&json!({"alg": "RS256"}))),
        ("alg ES256, well signed", headed(&json!({"alg": "ES256"}))),
        (
            "two algorithms",
            signed(r#"{"alg":"none","alg":"HS256"}"#, &good().to_string()),
        ),
        ("no algorithm", headed(&json!({"typ": "JWT"}))),
        ("no signature", format!("{head}.{body}.")),
        ("two parts", format!("{head}.{body}")),
        (
            "five parts",
            format!("{head}.{body}.{signature}.{body}.{signature}"),
        ),
        ("another body", format!("{head}.{root}.{signature}")),
        (
            "another secret",
            mint_with(&Header::new(Algorithm::HS256), &good(), another),
        ),
        ("crit", headed(&json!({"alg": "HS256", "crit": ["exp"]}))),
        (
            "jku",
            headed(&json!({"alg": "HS256", "jku": "https://evil.example/keys"})),
        ),
        (
            "x5u",
            headed(&json!({"alg": "HS256", "x5u": "http://127.0.0.1:9/"})),
        ),
        ("jwk", headed(&json!({"alg": "HS256", "jwk": jwk}))),
    ])
    .await;
}

/// For keys that have names: `jwks.rs`.
#[tokio::test]
async fn c09_a_kid_is_a_name_and_no_place() {
    let with = |kid: &str| headed(&json!({"alg": "HS256", "kid": kid}));
    let endless = "k".repeat(10 * 1024);
    let kids = [
        "../../../dev/null",
        "/etc/passwd",
        "' OR '1'='1",
        "x; cat /etc/passwd",
        "https://evil.example/key",
        "a\u{0}b",
        endless.as_str(),
    ];
    all_are_4501(kids.map(|kid| (kid, with(kid))).to_vec()).await;
    let cluster = Cluster::memory(1, &SETTINGS).await;
    for kid in [
        "",
        "2026-01",
        "8c4b5a6e-0f1d-4c6e-9d1f-0b8a7c6d5e4f",
        "k+1=",
    ] {
        let mut raw = Raw::connect_as(cluster.address(0), &with(kid)).await;
        assert_eq!(raw.next().await["type"], "welcome", "{kid:?}");
    }
}

#[tokio::test]
async fn c10_odd_claims_are_4501() {
    let with = |claim: &str, value: Value| {
        let mut claims = good();
        claims[claim] = value;
        mint(&claims)
    };
    let without = |claim: &str| {
        let mut claims = good();
        claims.as_object_mut().expect("an object").remove(claim);
        mint(&claims)
    };
    let text = |claims: &str| signed(r#"{"alg":"HS256"}"#, claims);
    let later = now() + 600;
    all_are_4501(vec![
        ("no exp", without("exp")),
        ("no sub", without("sub")),
        ("expired", with("exp", json!(now() - 60))),
        ("expired, beyond the leeway", with("exp", json!(now() - 8))),
        ("exp is text", with("exp", json!(later.to_string()))),
        ("exp is negative", with("exp", json!(-1))),
        ("exp is true", with("exp", json!(true))),
        ("exp is nothing", with("exp", Value::Null)),
        ("exp is a list", with("exp", json!([later]))),
        ("exp is endless", text(r#"{"sub":"alice","exp":1e400}"#)),
        ("not yet", with("nbf", json!(later))),
        ("not yet, beyond the leeway", with("nbf", json!(now() + 30))),
        ("nbf is text", with("nbf", json!((now() - 60).to_string()))),
        ("sub is empty", with("sub", json!(""))),
        ("sub is no text", with("sub", json!(7))),
        ("sub is two lines", with("sub", json!("a\nb"))),
        (
            "exp twice",
            text(&format!(r#"{{"sub":"alice","exp":1,"exp":{later}}}"#)),
        ),
        (
            "sub twice",
            text(&format!(r#"{{"sub":"bob","sub":"alice","exp":{later}}}"#)),
        ),
        (
            "rights that are none",
            with("rooms", json!({"lobby": "root"})),
        ),
        ("iat is text", with("iat", json!("now"))),
        ("no JSON", text("{")),
        ("9 KiB", with("filler", json!("x".repeat(9 * 1024)))),
    ])
    .await;
    let cluster = Cluster::memory(1, &SETTINGS).await;
    for (case, token) in [
        ("expired, within the leeway", with("exp", json!(now() - 1))),
        ("not yet, within the leeway", with("nbf", json!(now() + 3))),
    ] {
        let mut raw = Raw::connect_as(cluster.address(0), &token).await;
        assert_eq!(raw.next().await["type"], "welcome", "{case}");
    }
}

/// An order to revoke older tokens would never reach such a token.
#[tokio::test]
async fn c52_a_token_from_the_future_is_4501() {
    let with = |iat: u64| {
        let mut claims = good();
        claims["iat"] = json!(iat);
        mint(&claims)
    };
    all_are_4501(vec![
        ("an hour ahead", with(now() + 3_600)),
        ("beyond the leeway", with(now() + 10)),
        ("the year 9999", with(253_402_300_799)),
    ])
    .await;
    let cluster = Cluster::memory(1, &SETTINGS).await;
    for iat in [now(), now() + 2, 0] {
        let mut raw = Raw::connect_as(cluster.address(0), &with(iat)).await;
        assert_eq!(raw.next().await["type"], "welcome", "{iat}");
    }
}

#[tokio::test]
async fn c55_a_secret_is_replaced_without_logging_anybody_out() {
    const NEW: &str = "fedcba9876543210fedcba9876543210";
    let (both, swapped) = (format!("{SECRET},{NEW}"), format!("{NEW},{SECRET}"));
    let minted = |secrets: &str| {
        let settings = [("auth.mode", "jwt"), ("auth.secret", secrets)];
        let minted = run(&settings, &["token", "--sub", "alice"]);
        assert!(minted.status.success(), "{minted:?}");
        String::from_utf8_lossy(&minted.stdout).trim().to_owned()
    };
    let (old, new) = (minted(&both), minted(&swapped));
    for secrets in [&both, &swapped] {
        let settings = [("auth.mode", "jwt"), ("auth.secret", secrets.as_str())];
        let cluster = Cluster::memory(1, &settings).await;
        for token in [&old, &new] {
            let mut raw = Raw::connect_as(cluster.address(0), token).await;
            assert_eq!(raw.next().await["type"], "welcome", "{secrets}");
        }
    }
    let settings = [("auth.mode", "jwt"), ("auth.secret", NEW)];
    let cluster = Cluster::memory(1, &settings).await;
    let mut raw = Raw::connect_as(cluster.address(0), &old).await;
    assert_eq!(raw.close_code().await, 4501, "its secret is gone");
    let mut raw = Raw::connect_as(cluster.address(0), &new).await;
    assert_eq!(raw.next().await["type"], "welcome", "the first one signs");
}

#[test]
fn c11_a_weak_or_shared_secret_ends_the_start() {
    let short = "canary-of-31-bytes-canary-of-31";
    let shared = "canary-for-two-things-canary-for-two";
    let table = format!("[[api_key]]\nname = \"billing\"\nkey = \"{shared}\"\nrooms = {{}}\n");
    for (settings, why) in [
        (vec![("auth.secret", short)], "at least 32"),
        (vec![("auth.mode", "jwt")], "nobody could come in"),
        (
            vec![("auth.secret", shared), (FILE, table.as_str())],
            "one of its own",
        ),
    ] {
        let ended = run(&settings, &["serve"]);
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(!ended.status.success() && said.contains(why), "{said}");
        assert!(!said.contains("canary"), "{said}");
    }
}

#[tokio::test]
async fn c10_an_issuer_and_an_audience_that_are_asked_for_must_be_there() {
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
