//! From what somebody typed to what the databases understand: words and phrases, and nothing else.

use crate::words::words;

/// More words than that are not looked for.
const MOST_WORDS: usize = 32;

/// Phrases that all must be there, each of at least one word.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Phrases(Vec<Vec<String>>);

/// Reads a query. What stands in quotes is a phrase, and so is what stands without a space between, such as
/// `e-mail`; a quote that is never closed goes to the end.
pub(super) fn phrases(text: &str) -> Phrases {
    let mut phrases = Vec::new();
    let mut left = MOST_WORDS;
    for (index, part) in text.split('"').enumerate() {
        let is_quoted = index % 2 == 1;
        let chunks: Vec<&str> = match is_quoted {
            true => vec![part],
            false => part.split_whitespace().collect(),
        };
        for chunk in chunks {
            let phrase: Vec<String> = words(chunk).map(|word| word.plain).take(left).collect();
            left -= phrase.len();
            if !phrase.is_empty() && !phrases.contains(&phrase) {
                phrases.push(phrase);
            }
        }
    }
    Phrases(phrases)
}

impl Phrases {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a word of a text is one of these.
    pub(super) fn has(&self, word: &str) -> bool {
        self.0.iter().flatten().any(|mine| mine == word)
    }

    /// For FTS5. Our words are letters and digits, so that nothing needs to be escaped. The room is a word
    /// in the index too, so that a small room is found fast among many messages.
    pub(super) fn for_sqlite(&self, room: Option<i64>) -> String {
        let words = format!("words : ({})", self.quoted(" AND "));
        match room {
            None => words,
            Some(room) => format!("{words} AND room : \"r{room}\""),
        }
    }

    /// For `websearch_to_tsquery`, which takes phrases in quotes and means "and" between them.
    pub(super) fn for_postgres(&self) -> String {
        self.quoted(" ")
    }

    fn quoted(&self, between: &str) -> String {
        let phrases = self
            .0
            .iter()
            .map(|phrase| format!("\"{}\"", phrase.join(" ")));
        phrases.collect::<Vec<_>>().join(between)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_and_quotes_have_a_meaning() {
        let sqlite = |text: &str| phrases(text).for_sqlite(None);
        assert_eq!(sqlite("Hello world"), r#"words : ("hello" AND "world")"#);
        assert_eq!(
            sqlite(r#"new "York City" e-mail"#),
            r#"words : ("new" AND "york city" AND "e mail")"#
        );
        assert_eq!(
            sqlite("a OR NOT (b*) words:c ^d"),
            r#"words : ("a" AND "or" AND "not" AND "b" AND "words c" AND "d")"#
        );
        assert_eq!(sqlite("a a \"open end"), r#"words : ("a" AND "open end")"#);
        assert_eq!(phrases("東京").for_postgres(), "\"東 京\"");
        assert_eq!(
            phrases("x").for_sqlite(Some(7)),
            r#"words : ("x") AND room : "r7""#
        );
        for nothing in ["", "  ", "\"", "\"\"", "!?*", "👍"] {
            assert!(phrases(nothing).is_empty(), "{nothing}");
        }
        let many: String = (0..100).map(|number| format!("w{number} ")).collect();
        assert_eq!(phrases(&many).0.len(), MOST_WORDS);
    }
}
