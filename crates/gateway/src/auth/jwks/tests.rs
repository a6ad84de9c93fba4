//! How keys come and go, with a clock of its own.

use serde_json::json;

use super::*;
use crate::config::AuthSection;

const ED: &str =
    r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#;

fn set(more: &[&str]) -> Result<KeySet, FetchError> {
    let keys: Vec<String> = more.iter().map(|more| format!("{ED}{more}}}")).collect();
    let body = format!(r#"{{"keys":[{}]}}"#, keys.join(","));
    KeySet::read(body.as_bytes(), &Rules::new(&AuthSection::default()))
}

fn jwks() -> Jwks {
    let rules = Rules::new(&AuthSection::default());
    Jwks::new("https://id.example.com/", Duration::from_secs(300), &rules).unwrap()
}

#[test]
fn keys_are_found_by_their_names() {
    let both = set(&[r#","kid":"a""#, r#","kid":"b","alg":"EdDSA","use":"sig""#]).unwrap();
    assert!(both.find(Some("a"), Algorithm::EdDSA).is_some());
    assert!(both.find(Some("b"), Algorithm::EdDSA).is_some());
    assert!(both.find(Some("c"), Algorithm::EdDSA).is_none());
    assert!(
        both.find(None, Algorithm::EdDSA).is_none(),
        "two could be meant"
    );
    let one = set(&[""]).unwrap();
    assert!(one.find(None, Algorithm::EdDSA).is_some());
    assert!(one.find(None, Algorithm::RS256).is_none());
}

#[test]
fn keys_for_something_else_are_passed_over() {
    for other in [r#","use":"enc""#, r#","alg":"RS256""#, r#","alg":"HS256""#] {
        assert!(matches!(set(&[other]), Err(FetchError::NoKey)), "{other}");
    }
    let mixed = json!({"keys": [7, {"kty": "oct", "k": "AAAA", "kid": "secret"}, {"kty": "new"}]});
    let rules = Rules::new(&AuthSection::default());
    let read = KeySet::read(mixed.to_string().as_bytes(), &rules);
    assert!(matches!(read, Err(FetchError::NoKey)));
    for bad in ["", "[]", "{}", "<html>"] {
        let read = KeySet::read(bad.as_bytes(), &rules);
        assert!(matches!(read, Err(FetchError::NoSet(_))), "{bad}");
    }
}

#[tokio::test(start_paused = true)]
async fn keys_count_for_an_hour_after_the_last_fetch() {
    let jwks = jwks();
    assert!(matches!(
        jwks.key(Some("a"), Algorithm::EdDSA),
        Err(TokenError::NoKeys)
    ));
    {
        let mut state = jwks.state();
        state.keys = Arc::new(set(&[r#","kid":"a""#]).unwrap());
        state.fetched = Some(Instant::now());
    }
    tokio::time::advance(TRUST - Duration::from_secs(1)).await;
    assert!(jwks.is_ready() && jwks.key(Some("a"), Algorithm::EdDSA).is_ok());
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(!jwks.is_ready());
    assert!(matches!(
        jwks.key(Some("a"), Algorithm::EdDSA),
        Err(TokenError::NoKeys)
    ));
}

#[tokio::test(start_paused = true)]
async fn an_absent_key_is_not_asked_for_again_at_once() {
    let jwks = jwks();
    jwks.state().began = Some(Instant::now());
    assert!(!jwks.state().may_come(Some("new")), "too early");
    tokio::time::advance(SPACING).await;
    assert!(jwks.state().may_come(Some("new")));
    jwks.note_absent(Some("new"));
    assert!(!jwks.state().may_come(Some("new")));
    assert!(jwks.state().may_come(Some("other")));
    assert!(!jwks.state().may_come(Some(&"x".repeat(10_000))));
    tokio::time::advance(ABSENCE).await;
    assert!(jwks.state().may_come(Some("new")));
    for number in 0..3 * ABSENT {
        jwks.note_absent(Some(&number.to_string()));
    }
    assert!(jwks.state().absent.len() <= ABSENT);
}
