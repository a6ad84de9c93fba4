//! From what somebody typed to what the databases understand: words, beginnings of words and phrases,
//! and nothing else.

use crate::words::words;

/// More words than that are not looked for.
const MOST_WORDS: usize = 16;
/// A longer phrase is looked for as its parts of so many words: what a phrase costs grows with its
/// length times the places of its words.
const LONGEST_PHRASE: usize = 8;
/// A beginning of a word has at least so many letters; a shorter one is taken as the whole word.
const SHORTEST_BEGINNING: usize = 2;

/// Phrases that all must be there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Phrases(Vec<Phrase>);

/// At least one word, one behind the other.
#[derive(Debug, PartialEq, Eq)]
struct Phrase {
    words: Vec<String>,
    /// Whether the last word is only the beginning of one.
    is_open: bool,
}

/// Reads a query. What stands in quotes is a phrase, and so is what stands without a space between, such as
/// `e-mail`; a quote that is never closed goes to the end. A star behind the last word of a phrase
/// makes it the beginning of a word.
pub(super) fn phrases(text: &str) -> Phrases {
    let mut phrases = Phrases(Vec::new());
    let mut left = MOST_WORDS;
    for (index, part) in text.split('"').enumerate() {
        let is_quoted = index % 2 == 1;
        if is_quoted {
            phrases.read(part, &mut left);
        } else {
            for chunk in part.split_whitespace() {
                phrases.read(chunk, &mut left);
            }
        }
    }
    phrases
}

impl Phrases {
    /// Adds a phrase of at most `left` words, which it lowers.
    fn read(&mut self, chunk: &str, left: &mut usize) {
        let found: Vec<_> = words(chunk).take(*left).collect();
        *left -= found.len();
        let is_open = found.last().is_some_and(|last| {
            chunk[last.place.end..].starts_with('*')
                && last.plain.chars().count() >= SHORTEST_BEGINNING
        });
        let words: Vec<String> = found.into_iter().map(|word| word.plain).collect();
        let mut parts = words.chunks(LONGEST_PHRASE).peekable();
        while let Some(part) = parts.next() {
            let phrase = Phrase {
                words: part.to_vec(),
                is_open: is_open && parts.peek().is_none(),
            };
            if !self.0.contains(&phrase) {
                self.0.push(phrase);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a word of a text is one of these.
    pub(super) fn has(&self, word: &str) -> bool {
        self.0.iter().any(|phrase| phrase.has(word))
    }

    /// For FTS5. Our words have no quotes, so that nothing needs to be escaped. The room is a word in
    /// the index too, so that a small room is found fast among many messages.
    pub(super) fn for_sqlite(&self, room: Option<i64>) -> String {
        let phrases: Vec<String> = self.0.iter().map(Phrase::for_sqlite).collect();
        let words = format!("words : ({})", phrases.join(" AND "));
        match room {
            None => words,
            Some(room) => format!("{words} AND room : \"r{room}\""),
        }
    }

    /// In the text form of `tsquery`.
    pub(super) fn for_postgres(&self) -> String {
        let phrases: Vec<String> = self.0.iter().map(Phrase::for_postgres).collect();
        phrases.join(" & ")
    }
}

impl Phrase {
    fn has(&self, word: &str) -> bool {
        let is_begun = self.is_open && self.words.last().is_some_and(|last| word.starts_with(last));
        is_begun || self.words.iter().any(|mine| mine == word)
    }

    fn for_sqlite(&self) -> String {
        let star = if self.is_open { " *" } else { "" };
        format!("\"{}\"{star}", self.words.join(" "))
    }

    fn for_postgres(&self) -> String {
        let star = if self.is_open { ":*" } else { "" };
        let words: Vec<String> = self.words.iter().map(|word| format!("'{word}'")).collect();
        format!("({}{star})", words.join(" <-> "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_quotes_and_stars_behind_words_have_a_meaning() {
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
        assert_eq!(phrases("東京").for_postgres(), "('東' <-> '京')");
        assert_eq!(phrases("👍").for_postgres(), "('👍')");
        assert_eq!(
            phrases("x").for_sqlite(Some(7)),
            r#"words : ("x") AND room : "r7""#
        );
        for nothing in ["", "  ", "\"", "\"\"", "!?*", "\u{200d}"] {
            assert!(phrases(nothing).is_empty(), "{nothing}");
        }
    }

    #[test]
    fn a_star_makes_the_beginning_of_a_word() {
        let read = |text: &str| {
            let phrases = phrases(text);
            (phrases.for_sqlite(None), phrases.for_postgres())
        };
        let pair = |sqlite: &str, postgres: &str| (sqlite.to_owned(), postgres.to_owned());
        assert_eq!(read("Loo*"), pair(r#"words : ("loo" *)"#, "('loo':*)"));
        assert_eq!(
            read("\"new yor*\" x"),
            pair(
                r#"words : ("new yor" * AND "x")"#,
                "('new' <-> 'yor':*) & ('x')"
            )
        );
        for whole in ["l*", "*loo", "loo *", "lo*o x"] {
            assert!(!read(whole).1.contains(":*"), "{whole}");
        }
        let phrases = phrases("loo* x");
        assert!(phrases.has("look") && phrases.has("x") && !phrases.has("xy"));
    }

    #[test]
    fn a_query_has_a_bound() {
        let many: String = (0..100).map(|number| format!("w{number} ")).collect();
        assert_eq!(phrases(&many).0.len(), MOST_WORDS);
        let long = phrases(&format!("\"{many}\""));
        let lengths: Vec<usize> = long.0.iter().map(|phrase| phrase.words.len()).collect();
        assert_eq!(lengths, [8, 8]);
        let open = phrases("\"a b c d e f g h ii*\"");
        assert_eq!(
            open.for_postgres(),
            "('a' <-> 'b' <-> 'c' <-> 'd' <-> 'e' <-> 'f' <-> 'g' <-> 'h') & ('ii':*)"
        );
    }
}
