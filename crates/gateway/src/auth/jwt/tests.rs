//! Valid tokens, and the attacks on them.

use futures_util::FutureExt;
use serde_json::{Value, json};

use super::*;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "fedcba9876543210fedcba9876543210";

fn section() -> AuthSection {
    AuthSection {
        secret: SECRET.to_owned().into(),
        ..AuthSection::default()
    }
}

/// Without keys to fetch nothing is waited for.
fn verify(auth: &Auth, token: &str) -> Result<Identity, TokenError> {
    auth.verify(token)
        .now_or_never()
        .expect("it is known at once")
}

fn auth() -> Auth {
    Auth::new(&section(), &[]).unwrap()
}

fn now() -> u64 {
    jsonwebtoken::get_current_timestamp()
}

fn sign(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(algorithm), claims, &key).unwrap()
}

fn refused(claims: &Value) {
    let token = sign(Algorithm::HS256, SECRET, claims);
    assert!(verify(&auth(), &token).is_err(), "{claims}");
}

/// A well-signed token with any header and payload text.
fn sign_text(header: &str, payload: &str) -> String {
    let message = format!(
        "{}.{}",
        base64_url(header.as_bytes()),
        base64_url(payload.as_bytes())
    );
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

fn base64_url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0u32, |sum, &b| sum << 8 | u32::from(b)) << (8 * (3 - chunk.len()));
        for index in 0..=chunk.len() {
            text.push(char::from(
                ALPHABET[(bits >> (18 - 6 * index) & 63) as usize],
            ));
        }
    }
    text
}

#[test]
fn a_minted_token_proves_its_bearer() {
    let read = "r".to_owned().try_into().unwrap();
    let rooms = RoomGrants::new([("team-*".to_owned(), read)]).unwrap();
    let grant = Grant {
        sub: UserId::new("alice").unwrap(),
        name: Some("Alice".to_owned()),
        rooms: Some(rooms.clone()),
        lifetime: Duration::from_secs(60),
    };
    let (token, expires) = auth().mint(&grant).unwrap();
    assert!(expires > now() * 1000 && expires <= (now() + 60) * 1000);
    let identity = verify(&auth(), &token).unwrap();
    assert_eq!(
        (identity.user.id.as_str(), &*identity.user.name),
        ("alice", "Alice")
    );
    assert_eq!(identity.rooms, Some(rooms));
}

#[test]
fn hs384_and_hs512_count_too_and_a_name_is_optional() {
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        let token = sign(algorithm, SECRET, &json!({"sub": "bob", "exp": now() + 60}));
        assert_eq!(&*verify(&auth(), &token).unwrap().user.name, "bob");
    }
}

#[test]
fn another_secret_does_not_count() {
    let token = sign(
        Algorithm::HS256,
        &SECRET.replace('0', "1"),
        &json!({"sub": "a", "exp": now() + 60}),
    );
    assert!(matches!(
        verify(&auth(), &token),
        Err(TokenError::Invalid(_))
    ));
}

#[test]
fn no_algorithm_and_foreign_algorithms_are_refused() {
    let payload = json!({"sub": "a", "exp": now() + 60}).to_string();
    for alg in [
        "none", "None", "NONE", "RS256", "ES256", "EdDSA", "hs256", "",
    ] {
        let header = json!({"alg": alg, "typ": "JWT"}).to_string();
        let signed = sign_text(&header, &payload);
        assert!(verify(&auth(), &signed).is_err(), "{alg}");
        let unsigned = format!("{}.", signed.rsplit_once('.').unwrap().0);
        assert!(verify(&auth(), &unsigned).is_err(), "{alg} unsigned");
    }
    let good = sign_text(r#"{"alg":"HS256"}"#, &payload);
    assert!(
        verify(&auth(), &good).is_ok(),
        "the attacks differ from this only by the header"
    );
    let critical = sign_text(r#"{"alg":"HS256","crit":["exp"],"exp":1}"#, &payload);
    assert!(verify(&auth(), &critical).is_err());
}

#[test]
fn times_must_be_numbers_and_right() {
    for exp in [
        json!(now() - 60),
        json!("9999999999"),
        json!(-1),
        json!(null),
        json!([1]),
    ] {
        refused(&json!({"sub": "a", "exp": exp}));
    }
    refused(&json!({"sub": "a"}));
    refused(&json!({"sub": "a", "exp": now() + 60, "nbf": now() + 60}));
    refused(&json!({"sub": "a", "exp": now() + 60, "nbf": "soon"}));
    for payload in [
        r#"{"sub":"a","exp":1e400}"#,
        r#"{"sub":"a","exp":1,"exp":9999999999}"#,
    ] {
        assert!(
            verify(&auth(), &sign_text(r#"{"alg":"HS256"}"#, payload)).is_err(),
            "{payload}"
        );
    }
    let skewed = json!({"sub": "a", "exp": now() - 2, "nbf": now() + 2});
    assert!(
        verify(&auth(), &sign(Algorithm::HS256, SECRET, &skewed)).is_ok(),
        "leeway"
    );
}

#[test]
fn the_subject_must_be_a_user_id() {
    refused(&json!({"exp": now() + 60}));
    refused(&json!({"sub": "", "exp": now() + 60}));
    refused(&json!({"sub": 7, "exp": now() + 60}));
    refused(&json!({"sub": "a\nb", "exp": now() + 60}));
    refused(&json!({"sub": "a".repeat(129), "exp": now() + 60}));
    refused(&json!({"sub": "a", "exp": now() + 60, "rooms": {"x": "admin"}}));
}

#[test]
fn issuer_and_audience_are_checked_when_set() {
    let strict = Auth::new(
        &AuthSection {
            issuer: "https://id.example".to_owned(),
            audience: "hubbub".to_owned(),
            ..section()
        },
        &[],
    )
    .unwrap();
    let claims = |iss: Option<&str>, aud: Option<Value>| {
        let mut claims = json!({"sub": "a", "exp": now() + 60});
        if let Some(iss) = iss {
            claims["iss"] = iss.into();
        }
        if let Some(aud) = aud {
            claims["aud"] = aud;
        }
        verify(&strict, &sign(Algorithm::HS256, SECRET, &claims)).is_ok()
    };
    let issuer = Some("https://id.example");
    assert!(claims(issuer, Some(json!("hubbub"))));
    assert!(claims(issuer, Some(json!(["other", "hubbub"]))));
    assert!(!claims(issuer, Some(json!("other"))));
    assert!(!claims(issuer, None));
    assert!(!claims(None, Some(json!("hubbub"))));
    assert!(!claims(Some("https://evil.example"), Some(json!("hubbub"))));
}

#[test]
fn a_long_or_broken_token_is_refused() {
    let long = sign(
        Algorithm::HS256,
        SECRET,
        &json!({"sub": "a", "exp": now() + 60, "x": "y".repeat(9000)}),
    );
    assert!(matches!(verify(&auth(), &long), Err(TokenError::TooLong)));
    for broken in ["", ".", "..", "a.b", "a.b.c", "\u{0}", "🐙.🐙.🐙"] {
        assert!(verify(&auth(), broken).is_err(), "{broken:?}");
    }
}

#[test]
fn impossible_settings_are_refused_by_name() {
    let refusal = |section: &AuthSection, keys: &[ApiKey]| {
        let refused = Auth::new(section, keys).unwrap_err().to_string();
        assert!(!refused.contains(SECRET), "{refused}");
        refused
    };
    let short = AuthSection {
        secret: "short".to_owned().into(),
        ..AuthSection::default()
    };
    assert!(refusal(&short, &[]).contains("auth.secret has 5 bytes"));
    let list = |secrets: &[&str]| AuthSection {
        secret: serde_json::from_value(json!(secrets)).unwrap(),
        ..AuthSection::default()
    };
    assert!(refusal(&list(&[SECRET, "short"]), &[]).contains("secret 2 of the list has 5 bytes"));
    assert!(refusal(&list(&[SECRET, ""]), &[]).contains("secret 2 of the list has 0 bytes"));
    assert!(refusal(&list(&[SECRET; 9]), &[]).contains("more than 8"));
    let cookie = AuthSection {
        cookie: "a b".to_owned(),
        ..section()
    };
    assert!(refusal(&cookie, &[]).starts_with("auth.cookie"));
    let jwt = AuthSection {
        mode: AuthMode::Jwt,
        ..AuthSection::default()
    };
    assert!(refusal(&jwt, &[]).contains("auth.public_key"));
    let key = AuthSection {
        public_key: "x".to_owned(),
        ..section()
    };
    assert!(refusal(&key, &[]).starts_with("auth.public_key"));
    let url = AuthSection {
        jwks_url: "http://id.example/".to_owned(),
        ..section()
    };
    assert!(refusal(&url, &[]).starts_with("auth.jwks_url"));
    let same = ApiKey {
        name: "billing".to_owned(),
        key: SECRET.to_owned(),
        rooms: None,
    };
    assert!(refusal(&section(), std::slice::from_ref(&same)).contains("billing"));
    let second = list(&[OTHER, SECRET]);
    assert!(refusal(&second, &[same]).contains("billing"));
}

#[test]
fn the_first_secret_signs_and_all_check() {
    let auth_of = |secrets: &[&str]| {
        let section = AuthSection {
            secret: serde_json::from_value(json!(secrets)).unwrap(),
            ..AuthSection::default()
        };
        Auth::new(&section, &[]).unwrap()
    };
    let (old, both, new) = (
        auth_of(&[SECRET]),
        auth_of(&[OTHER, SECRET]),
        auth_of(&[OTHER]),
    );
    let (by_old, _) = old.mint(&grant("alice")).unwrap();
    let (by_both, _) = both.mint_guest(&grant("guest-1234")).unwrap();
    assert!(verify(&both, &by_old).is_ok() && verify(&both, &by_both).is_ok());
    assert!(verify(&new, &by_both).is_ok(), "the first one signs");
    assert!(verify(&new, &by_old).is_err() && verify(&old, &by_both).is_err());
    // An expired token is refused for that, whichever secret signed it.
    let expired = sign(
        Algorithm::HS256,
        SECRET,
        &json!({"sub": "a", "exp": now() - 60}),
    );
    let refused = verify(&both, &expired).unwrap_err().to_string();
    assert!(refused.contains("expired"), "{refused}");
}

#[test]
fn the_clusters_secrets_may_be_replaced() {
    let auth = Auth::new(&AuthSection::default(), &[]).unwrap();
    auth.provide_secrets(&[[1; 32]]);
    let (by_first, _) = auth.mint_guest(&grant("guest-1")).unwrap();
    auth.provide_secrets(&[[2; 32], [1; 32]]);
    let (by_second, _) = auth.mint_guest(&grant("guest-2")).unwrap();
    assert!(verify(&auth, &by_first).is_ok() && verify(&auth, &by_second).is_ok());
    auth.provide_secrets(&[[2; 32]]);
    assert!(verify(&auth, &by_first).is_err() && verify(&auth, &by_second).is_ok());
}

#[test]
fn a_token_from_the_future_is_refused() {
    let issued = |iat: u64| {
        let claims = json!({"sub": "a", "exp": now() + 600, "iat": iat});
        verify(&auth(), &sign(Algorithm::HS256, SECRET, &claims))
    };
    assert!(issued(now()).is_ok() && issued(now() + 3).is_ok());
    for later in [now() + 10, now() + 3_600, 253_402_300_799] {
        assert!(
            matches!(issued(later), Err(TokenError::IssuedLater)),
            "{later}"
        );
    }
}

#[test]
fn the_leeway_is_for_the_proof_and_not_for_the_identity() {
    let expires = |exp: u64| {
        let claims = json!({"sub": "a", "exp": exp});
        let identity = verify(&auth(), &sign(Algorithm::HS256, SECRET, &claims)).unwrap();
        identity.expires.unwrap()
    };
    let exp = now() + 600;
    assert_eq!(expires(exp), exp * 1_000);
    let late = expires(now() - 2);
    assert!(late > now() * 1_000 && late < (now() + 3) * 1_000, "{late}");
}

#[test]
fn without_a_secret_nothing_is_proven_until_the_cluster_gives_one() {
    let auth = Auth::new(&AuthSection::default(), &[]).unwrap();
    assert!(!auth.has_secret() && auth.problem().is_some());
    let stranger = sign(
        Algorithm::HS256,
        SECRET,
        &json!({"sub": "a", "exp": now() + 60}),
    );
    assert!(matches!(
        verify(&auth, &stranger),
        Err(TokenError::NotReady)
    ));
    auth.provide_secrets(&[[7; 32]]);
    assert!(auth.problem().is_none());
    let (token, _) = auth.mint(&grant("a")).unwrap();
    assert!(verify(&auth, &token).is_ok() && verify(&auth, &stranger).is_err());
}

fn grant(sub: &str) -> Grant {
    Grant {
        sub: UserId::new(sub).unwrap(),
        name: None,
        rooms: None,
        lifetime: Duration::from_secs(60),
    }
}

#[test]
fn what_a_token_says_of_itself_is_kept() {
    let claims = json!({"sub": "a", "exp": now() + 60, "iat": now() - 5, "jti": "t-1"});
    let identity = verify(&auth(), &sign(Algorithm::HS256, SECRET, &claims)).unwrap();
    assert_eq!(identity.expires, Some((now() + 60) * 1_000));
    assert_eq!(identity.issued, Some((now() - 5) * 1_000));
    assert_eq!(identity.token_id.as_deref(), Some("t-1"));
    let minted = verify(&auth(), &auth().mint(&grant("a")).unwrap().0).unwrap();
    assert!(minted.token_id.is_some() && minted.issued.is_some());
    // Seconds need not be whole.
    let claims = json!({"sub": "a", "exp": 4_000_000_000.5});
    let identity = verify(&auth(), &sign(Algorithm::HS256, SECRET, &claims)).unwrap();
    assert_eq!(identity.expires, Some(4_000_000_000_500));
    refused(&json!({"sub": "a", "exp": now() + 60, "jti": "x".repeat(257)}));
    refused(&json!({"sub": "a", "exp": now() + 60, "iat": "yesterday"}));
    refused(&json!({"sub": "a", "exp": now() + 60, "rooms": null}));
}

#[test]
fn a_claim_that_is_there_twice_is_refused() {
    let exp = now() + 60;
    for twice in [
        r#""sub":"b""#,
        r#""exp":9999999999"#,
        r#""name":"A","name":"B""#,
        r#""iat":1,"iat":2"#,
        r#""nbf":1,"nbf":2"#,
        r#""jti":"1","jti":"2""#,
        r#""iss":"a","iss":"b""#,
        r#""aud":"a","aud":"b""#,
        r#""rooms":{},"rooms":{"*":"rwm"}"#,
        r#""rooms":{"a":"r","a":"rw"}"#,
    ] {
        let payload = format!(r#"{{"sub":"a","exp":{exp},{twice}}}"#);
        let token = sign_text(r#"{"alg":"HS256"}"#, &payload);
        assert!(verify(&auth(), &token).is_err(), "{payload}");
    }
    let payload = format!(r#"{{"sub":"a","exp":{exp}}}"#);
    let token = sign_text(r#"{"alg":"HS256","alg":"HS256"}"#, &payload);
    assert!(verify(&auth(), &token).is_err(), "in the header");
}

#[test]
fn a_key_that_the_token_brings_is_not_followed() {
    let payload = json!({"sub": "a", "exp": now() + 60}).to_string();
    for header in [
        r#""jku":"https://evil.example/jwks.json""#,
        r#""x5u":"https://evil.example/cert.pem""#,
        r#""jwk":{"kty":"oct","k":"AAAA"}"#,
        r#""crit":[]"#,
    ] {
        let token = sign_text(&format!(r#"{{"alg":"HS256",{header}}}"#), &payload);
        let refused = verify(&auth(), &token);
        assert!(matches!(refused, Err(TokenError::Header(_))), "{header}");
    }
    for kid in [
        "../../etc/passwd",
        "' OR 1=1",
        "https://evil.example/",
        &"k".repeat(5_000),
    ] {
        let header = json!({"alg": "HS256", "kid": kid}).to_string();
        let refused = verify(&auth(), &sign_text(&header, &payload));
        assert!(
            matches!(refused, Err(TokenError::UnknownKey)),
            "no name: {refused:?}"
        );
    }
    let named = json!({"alg": "HS256", "kid": "2026-11"}).to_string();
    let taken = verify(&auth(), &sign_text(&named, &payload));
    assert!(taken.is_ok(), "a name means nothing: {taken:?}");
}

#[test]
fn only_guests_tokens_name_guests() {
    let guest = Grant {
        name: Some("Ann".to_owned()),
        ..grant("guest-1234")
    };
    assert!(matches!(auth().mint(&guest), Err(TokenError::Reserved(_))));
    let (token, _) = auth().mint_guest(&guest).unwrap();
    let identity = verify(&auth(), &token).unwrap();
    assert!(identity.guest && &*identity.user.name == "Ann");
    let jwt = Auth::new(
        &AuthSection {
            mode: AuthMode::Jwt,
            ..section()
        },
        &[],
    );
    let refused = verify(&jwt.unwrap(), &token);
    assert!(
        matches!(refused, Err(TokenError::Reserved(_))),
        "no guests there"
    );
    for sub in ["guest-1234", "guest-", "key:billing"] {
        refused_sub(sub, json!({}));
    }
    refused_sub("key:billing", json!({"guest": true}));
    let claims = json!({"sub": "alice", "exp": now() + 60, "guest": true});
    let identity = verify(&auth(), &sign(Algorithm::HS256, SECRET, &claims)).unwrap();
    assert!(!identity.guest);
}

fn refused_sub(sub: &str, more: Value) {
    let mut claims = more;
    claims["sub"] = sub.into();
    claims["exp"] = (now() + 60).into();
    let token = sign(Algorithm::HS256, SECRET, &claims);
    let refused = verify(&auth(), &token);
    assert!(matches!(refused, Err(TokenError::Reserved(_))), "{sub}");
}
