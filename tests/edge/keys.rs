//! Tokens that are signed with key pairs: each key has its own algorithm, and no token brings a key.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hubbub_tests::cluster::Cluster;
use hubbub_tests::issuer::Issuer;
use hubbub_tests::people::now;
use hubbub_tests::process::run;
use hubbub_tests::raw::Raw;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

fn claims() -> Value {
    json!({"sub": "alice", "exp": now() + 600})
}

/// Whether the token is welcome; a refused one must be 4501.
async fn is_welcome(cluster: &Cluster, token: &str) -> bool {
    let mut raw = Raw::connect_as(cluster.address(0), token).await;
    match raw.hear().await {
        hubbub_tests::raw::Heard::Text(text) => {
            assert!(text.contains(r#""type":"welcome""#), "{text}");
            true
        }
        hubbub_tests::raw::Heard::End(close) => {
            assert_eq!(close.expect("a close frame").0, 4501);
            false
        }
    }
}

#[tokio::test]
async fn each_kind_of_key_proves_its_own_tokens_only() {
    let all = [Issuer::rsa("r"), Issuer::ec("e"), Issuer::ed("d")];
    for ours in &all {
        let settings = [
            ("auth.mode", "jwt"),
            ("auth.public_key", ours.public_pem.as_str()),
        ];
        let cluster = Cluster::memory(1, &settings).await;
        for theirs in &all {
            let is_ours = theirs.kid == ours.kid;
            let token = theirs.token("alice");
            assert_eq!(
                is_welcome(&cluster, &token).await,
                is_ours,
                "{}",
                theirs.kid
            );
        }
        let another = match ours.algorithm {
            Algorithm::RS256 => Issuer::rsa("r"),
            Algorithm::ES256 => Issuer::ec("e"),
            _ => Issuer::ed("d"),
        };
        assert!(
            !is_welcome(&cluster, &another.token("alice")).await,
            "a stranger's key"
        );
        let good = ours.token("alice");
        let (head, _) = good.rsplit_once('.').expect("three parts");
        assert!(
            !is_welcome(&cluster, &format!("{head}.")).await,
            "no signature"
        );
        for token in swapped(ours) {
            assert!(!is_welcome(&cluster, &token).await, "{token}");
        }
    }
}

/// The public key as a secret, other algorithms in the header, and keys that the token brings.
fn swapped(ours: &Issuer) -> Vec<String> {
    let der: String = ours
        .public_pem
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    let der = STANDARD.decode(der).expect("it was written so");
    let pem = ours.public_pem.as_bytes();
    let secrets = [pem, ours.public_pem.trim().as_bytes(), der.as_slice()];
    let mut tokens: Vec<String> = secrets
        .iter()
        .map(|secret| {
            let key = EncodingKey::from_secret(secret);
            encode(&Header::new(Algorithm::HS256), &claims(), &key).expect("it can be signed")
        })
        .collect();
    let good = ours.token("alice");
    let (_, rest) = good.split_once('.').expect("three parts");
    for alg in [
        "none", "None", "HS256", "RS256", "RS512", "PS256", "ES256", "ES384", "EdDSA",
    ] {
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": alg, "typ": "JWT"}).to_string());
        tokens.push(format!("{header}.{rest}"));
    }
    let mine = Issuer::ec("e");
    let mut header = Header::new(mine.algorithm);
    header.jwk = serde_json::from_value(mine.jwk()).ok();
    tokens.push(mine.sign_with(&header, &claims()));
    // Well signed, but it sends us elsewhere for the key.
    for url in ["https://evil.example/keys.json", "http://127.0.0.1:9/"] {
        let mut header = Header::new(ours.algorithm);
        header.jku = Some(url.to_owned());
        tokens.push(ours.sign_with(&header, &claims()));
        let mut header = Header::new(ours.algorithm);
        header.x5u = Some(url.to_owned());
        tokens.push(ours.sign_with(&header, &claims()));
    }
    let mut header = Header::new(ours.algorithm);
    header.crit = Some(vec!["exp".to_owned()]);
    tokens.push(ours.sign_with(&header, &claims()));
    tokens
}

#[tokio::test]
async fn old_and_new_key_count_together_from_a_file() {
    let (old, new) = (Issuer::rsa("old"), Issuer::ed("new"));
    let file = tempfile::NamedTempFile::new().expect("a file");
    let both = format!("{}{}", old.public_pem, new.public_pem);
    std::fs::write(file.path(), both).expect("it can be written");
    let path = file.path().to_str().expect("a plain path");
    let settings = [("auth.mode", "jwt"), ("auth.public_key", path)];
    let cluster = Cluster::memory(1, &settings).await;
    assert!(is_welcome(&cluster, &old.token("alice")).await);
    assert!(is_welcome(&cluster, &new.token("alice")).await);
    assert!(!is_welcome(&cluster, &Issuer::ed("new").token("alice")).await);
}

#[tokio::test]
async fn a_token_that_the_private_key_signed_is_welcome() {
    for issuer in [Issuer::rsa("r"), Issuer::ec("e"), Issuer::ed("d")] {
        let settings = [
            ("auth.mode", "jwt"),
            ("auth.public_key", issuer.public_pem.as_str()),
        ];
        let cluster = Cluster::memory(1, &settings).await;
        let keys = [("auth.private_key", issuer.private_pem.as_str())];
        let minted = run(&keys, &["token", "--sub", "alice", "--room", "lobby=r"]);
        assert!(minted.status.success(), "{minted:?}");
        let token = String::from_utf8(minted.stdout).expect("a token is text");
        let mut raw = Raw::connect_as(cluster.address(0), token.trim()).await;
        assert_eq!(raw.join("lobby").await["rights"], "r");
        assert!(raw.refused(json!({"type": "join", "room": "other"})).await == "forbidden");
    }
}

#[tokio::test]
async fn ids_that_only_we_give_cannot_be_brought() {
    let issuer = Issuer::ed("d");
    let settings = [("auth.public_key", issuer.public_pem.as_str())];
    let cluster = Cluster::memory(1, &settings).await;
    let mut guest = Raw::connect(cluster.address(0)).await;
    let guest = guest.next().await["user"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    for sub in [guest.as_str(), "guest-1", "key:billing"] {
        let claims = json!({"sub": sub, "exp": now() + 600, "guest": true});
        assert!(!is_welcome(&cluster, &issuer.sign(&claims)).await, "{sub}");
    }
    assert!(is_welcome(&cluster, &issuer.token("alice")).await);
}
