//! What people read in a body, and whom it names: `@id` in the text.

use serde::Deserialize;

use crate::UserId;
use crate::command::Body;

/// Further ones in one message are not told.
const MOST: usize = 50;

/// Whom a body names, each once, in order.
pub(crate) fn mentions(body: &Body) -> Vec<UserId> {
    if !body.as_str().contains('@') {
        return Vec::new();
    }
    let text = text_of(body.as_str()).unwrap_or_default();
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

/// The text of a body: its `text`, or the body itself where it is a text.
pub(crate) fn text_of(body: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Text {
        Whole(String),
        Field { text: String },
    }
    match serde_json::from_str(body).ok()? {
        Text::Whole(text) | Text::Field { text } => Some(text),
    }
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
