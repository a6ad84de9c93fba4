//! Words as they are searched for: the same on both databases, because we make them here.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::ops::Range;

use crate::fold::{fold, is_attached, is_emoji, is_flag_letter};

/// More than that of one text is not searched, in bytes.
const SEARCHED: usize = 64 * 1024;
/// More words than that of one text are not searched: PostgreSQL counts places up to 16,383.
const MOST_INDEXED: usize = 16_000;
/// A word that stands more often than that in one text is found at its first places only. That is
/// PostgreSQL's limit too, and it bounds what looking for a phrase costs.
const MOST_PLACES: usize = 255;
/// Stands where a word is that is not indexed; no word is like it.
const LEFT_OUT: &str = "_";
/// A longer word is cut, in bytes: PostgreSQL refuses words of 2 KiB.
const LONGEST: usize = 255;

/// A word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// Where it stands.
    pub(crate) place: Range<usize>,
    /// The word as it is compared: folded, never empty.
    pub(crate) plain: String,
}

/// The kind of token that a character can begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beginning {
    /// A word of several letters or digits.
    Word,
    /// A word of its own: an emoji, or a letter of a script that writes no spaces.
    Alone,
    /// A flag, which is two of them.
    Flag,
}

/// The words of `text` in their order: letters and digits without what stands between them. An emoji
/// is a word of its own, and so is each letter of scripts that write no spaces.
pub(crate) fn words(text: &str) -> impl Iterator<Item = Word> {
    let mut rest = text.char_indices().peekable();
    std::iter::from_fn(move || {
        loop {
            let (start, first) = rest.next()?;
            let Some(beginning) = beginning(first) else {
                continue;
            };
            let mut end = start + first.len_utf8();
            let mut is_second = beginning == Beginning::Flag;
            while let Some((at, c)) = rest.next_if(|(_, c)| {
                is_attached(*c)
                    || beginning == Beginning::Word && self::beginning(*c) == Some(beginning)
                    || std::mem::take(&mut is_second) && is_flag_letter(*c)
            }) {
                end = at + c.len_utf8();
            }
            let place = start..end;
            let plain = plain(&text[place.clone()]);
            if !plain.is_empty() {
                return Some(Word { place, plain });
            }
        }
    })
}

/// The words to index with one space between them, as SQLite gets them; `None`: there is no word.
pub(crate) fn indexed(text: &str) -> Option<String> {
    let text = &text[..text.floor_char_boundary(SEARCHED)];
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut joined = String::new();
    for Word { plain, .. } in words(text).take(MOST_INDEXED) {
        if !joined.is_empty() {
            joined.push(' ');
        }
        let count = counts.entry(plain.clone()).or_default();
        *count += 1;
        joined.push_str(if *count > MOST_PLACES {
            LEFT_OUT
        } else {
            &plain
        });
    }
    (!joined.is_empty()).then_some(joined)
}

/// The same words as PostgreSQL gets them: each with its places, in the text form of `tsvector`. Its
/// own parser would drop emoji and take some words apart.
pub(crate) fn vector(indexed: &str) -> String {
    let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, word) in indexed.split(' ').enumerate() {
        if word != LEFT_OUT {
            places.entry(word).or_default().push(place + 1);
        }
    }
    let mut vector = String::with_capacity(indexed.len() * 2);
    for (word, places) in places {
        let places: Vec<String> = places.iter().map(usize::to_string).collect();
        // A word has no quote and no backslash.
        let _ = write!(vector, "'{word}':{} ", places.join(","));
    }
    vector
}

fn beginning(c: char) -> Option<Beginning> {
    match c {
        _ if is_flag_letter(c) => Some(Beginning::Flag),
        _ if is_attached(c) => None,
        _ if c.is_alphanumeric() && !stands_alone(c) => Some(Beginning::Word),
        _ if c.is_alphanumeric() || is_emoji(c) => Some(Beginning::Alone),
        _ => None,
    }
}

fn plain(word: &str) -> String {
    let mut plain = fold(word);
    plain.truncate(plain.floor_char_boundary(LONGEST));
    plain
}

/// Chinese, Japanese, Thai, Lao, Khmer and Burmese run words together.
fn stands_alone(c: char) -> bool {
    matches!(c,
        '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9d}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_letters_and_digits_folded() {
        let indexed = |text: &str| indexed(text).unwrap_or_default();
        assert_eq!(
            indexed("Hello, WORLD! x-1 e.g. \0a_b"),
            "hello world x 1 e g a b"
        );
        assert_eq!(indexed("Ärger İstanbul ΣΑΣ"), "arger istanbul σασ");
        assert_eq!(indexed("東京に go言語"), "東 京 に go 言 語");
        assert_eq!(indexed("ﾄｳｷｮｳ"), indexed("トウキョウ"));
        assert_eq!(
            indexed("Donau\u{ad}dampf re\u{301}sume\u{301}"),
            "donaudampf resume"
        );
        assert_eq!(indexed("— ! \u{301} \u{640}"), "");
        assert_eq!(indexed(&"x".repeat(9000)).len(), LONGEST);
        assert!(indexed(&"ä ".repeat(90_000)).len() <= SEARCHED);
    }

    #[test]
    fn an_emoji_is_a_word() {
        let indexed = |text: &str| indexed(text).unwrap_or_default();
        assert_eq!(indexed("👍👍🏽 ok❤\u{fe0f}!"), "👍 👍 ok ❤");
        assert_eq!(indexed("🇩🇪🇫🇷🇮"), "🇩🇪 🇫🇷 🇮");
        assert_eq!(indexed("👩\u{200d}🚀"), "👩 🚀");
        assert_eq!(indexed("1\u{fe0f}\u{20e3} #*"), "1");
    }

    #[test]
    fn places_are_those_of_the_text() {
        let text = "é Größe! 👍🏽";
        let found: Vec<&str> = words(text).map(|word| &text[word.place]).collect();
        assert_eq!(found, ["é", "Größe", "👍🏽"]);
    }

    #[test]
    fn postgresql_gets_the_same_words_with_their_places() {
        assert_eq!(vector("b a b _ 👍"), "'a':2 'b':1,3 '👍':5 ");
    }

    #[test]
    fn a_word_is_indexed_at_its_first_places_only() {
        let joined = indexed(&"a b ".repeat(1_000)).unwrap();
        let of = |word: &str| joined.split(' ').filter(|one| *one == word).count();
        assert_eq!((of("a"), of("b"), of("_")), (255, 255, 1_490));
        assert!(vector(&joined).starts_with("'a':1,3,5,"));
    }
}
