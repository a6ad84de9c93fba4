//! Words as they are searched for: the same on both databases, because we make them here.

use std::ops::Range;

/// More than that of one text is not searched, in bytes.
const SEARCHED: usize = 64 * 1024;
/// A longer word is cut, in bytes: PostgreSQL refuses words of 2 KiB.
const LONGEST: usize = 255;

/// A word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// Where it stands.
    pub(crate) place: Range<usize>,
    /// In lower case.
    pub(crate) plain: String,
}

/// The words of `text` in their order: letters and digits without what stands between them. Scripts
/// that write no spaces give one word a character.
pub(crate) fn words(text: &str) -> impl Iterator<Item = Word> {
    let mut rest = text.char_indices().peekable();
    std::iter::from_fn(move || {
        let (start, first) = rest.find(|(_, c)| c.is_alphanumeric())?;
        let mut end = start + first.len_utf8();
        if !stands_alone(first) {
            while let Some((at, c)) =
                rest.next_if(|(_, c)| c.is_alphanumeric() && !stands_alone(*c))
            {
                end = at + c.len_utf8();
            }
        }
        let place = start..end;
        let plain = plain(&text[place.clone()]);
        Some(Word { place, plain })
    })
}

/// What the databases get to index: the words with one space between them; `None`: there is no word.
pub(crate) fn indexed(text: &str) -> Option<String> {
    let text = &text[..text.floor_char_boundary(SEARCHED)];
    let words: Vec<String> = words(text).map(|word| word.plain).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// Lower case, without what some letters turn into that is no letter itself, and not too long.
fn plain(word: &str) -> String {
    let lower = word.chars().flat_map(char::to_lowercase);
    let mut plain: String = lower.filter(|c| c.is_alphanumeric()).collect();
    plain.truncate(plain.floor_char_boundary(LONGEST));
    plain
}

/// Chinese, Japanese, Thai, Lao, Khmer and Burmese run words together.
fn stands_alone(c: char) -> bool {
    matches!(c,
        '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_letters_and_digits_in_lower_case() {
        let indexed = |text: &str| indexed(text).unwrap_or_default();
        assert_eq!(
            indexed("Hello, WORLD! x-1 e.g. \0a_b"),
            "hello world x 1 e g a b"
        );
        assert_eq!(indexed("Ärger İstanbul ΣΑΣ"), "ärger istanbul σασ");
        assert_eq!(indexed("東京に go言語"), "東 京 に go 言 語");
        assert_eq!(indexed("👍 — !"), "");
        assert_eq!(indexed(&"x".repeat(9000)).len(), LONGEST);
        assert!(indexed(&"ä ".repeat(90_000)).len() <= SEARCHED);
    }

    #[test]
    fn places_are_those_of_the_text() {
        let text = "é Größe!";
        let found: Vec<&str> = words(text).map(|word| &text[word.place]).collect();
        assert_eq!(found, ["é", "Größe"]);
    }
}
