//! The mentions in a body: `@id` in its text.

use crate::UserId;
use crate::body::{Body, BodyView};

/// Further ones in one message are not told.
const MOST: usize = 50;

/// The users that a body mentions, each once, in order.
pub(crate) fn mentions(body: &Body) -> Vec<UserId> {
    // An `@` may be written as an escape.
    if !body.as_str().contains('@') && !body.as_str().contains("\\u") {
        return Vec::new();
    }
    let text = BodyView::of(body.as_str()).text.unwrap_or_default();
    let mut found: Vec<UserId> = Vec::new();
    for (at, _) in text.match_indices('@') {
        let is_word = |c: char| c.is_alphanumeric();
        if text[..at].chars().next_back().is_some_and(is_word) {
            // An address, not a mention.
            continue;
        }
        let Ok(user) = UserId::new(id_at(&text[at + 1..])) else {
            continue;
        };
        if found.len() < MOST && !found.contains(&user) {
            found.push(user);
        }
    }
    found
}

/// The longest id that `text` begins with, without the punctuation of a sentence.
fn id_at(text: &str) -> &str {
    let is_id = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | ':' | '-');
    let end = text.find(|c| !is_id(c)).unwrap_or(text.len());
    text[..end].trim_end_matches(['.', ':', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Vec<String> {
        let body = Body::from(&serde_json::json!({ "text": text }));
        let ids = mentions(&body);
        ids.iter().map(|id| id.as_str().to_owned()).collect()
    }

    #[test]
    fn an_id_after_an_at_sign_is_a_mention() {
        assert_eq!(named("hi @bob, and @alice.smith!"), ["bob", "alice.smith"]);
        assert_eq!(named("@bob @bob."), ["bob"]);
        assert_eq!(named("(@guest-7f:2)"), ["guest-7f:2"]);
        assert_eq!(named("@jürgen"), ["jürgen"]);
        let escaped: Body = serde_json::from_str(r#"{"text":"\u0040bob"}"#).unwrap();
        assert_eq!(mentions(&escaped), [UserId::new("bob").unwrap()]);
    }

    #[test]
    fn an_address_is_none() {
        assert!(named("bob@example.com @ @@ @.").is_empty());
    }

    #[test]
    fn only_texts_are_read() {
        let of = |body: serde_json::Value| mentions(&Body::from(&body)).len();
        assert_eq!(of(serde_json::json!("@a")), 1);
        assert_eq!(of(serde_json::json!({"note": "@a"})), 0);
        assert_eq!(of(serde_json::json!({"text": 5, "x": "@a"})), 0);
    }
}
