//! Names that people give themselves: one form for what looks the same, nothing that cannot be seen, and
//! nothing that changes the text around it.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The longest name in characters.
const MAX_CHARS: usize = 64;
/// Marks that may stand on one letter.
const MAX_MARKS: usize = 3;
const ZERO_WIDTH_JOINER: char = '\u{200d}';
const EMOJI_STYLE: char = '\u{fe0f}';

/// A name that others should not have to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a name must be 1 to {MAX_CHARS} characters that can be seen, without control characters and \
     without any that change the direction of the text"
)]
pub struct BadName;

/// The name in its one form (NFC, single spaces).
///
/// # Errors
/// [`BadName`] says the rule.
pub fn check_name(name: &str) -> Result<String, BadName> {
    // A name that is far too long is not worth the work.
    if name.len() > MAX_CHARS * 16 || name.chars().any(turns_or_controls) {
        return Err(BadName);
    }
    let words: Vec<&str> = name.split_whitespace().collect();
    let name: String = without_invisible(words.join(" ").nfc());
    let (name, length) = (name.trim(), name.trim().chars().count());
    if (1..=MAX_CHARS).contains(&length) && !is_heaped(name) {
        Ok(name.to_owned())
    } else {
        Err(BadName)
    }
}

/// Control characters, and those that turn the direction of the text around them.
pub(crate) fn turns_or_controls(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}')
}

/// An id as a name: issuers choose ids as they like, and still they change no text around them.
#[must_use]
pub fn without_turns(id: &str) -> String {
    id.chars().filter(|c| !turns_or_controls(*c)).collect()
}

/// Joiners of emoji stay between emoji; between letters nobody would see them.
fn without_invisible(name: impl Iterator<Item = char>) -> String {
    let mut clean = String::new();
    let mut name = name.peekable();
    while let Some(c) = name.next() {
        let after_symbol = clean.chars().next_back().is_some_and(is_symbol);
        let before_symbol = name.peek().copied().is_some_and(is_symbol);
        let keep = match c {
            ZERO_WIDTH_JOINER => after_symbol && before_symbol,
            EMOJI_STYLE => after_symbol,
            c => !is_invisible(c),
        };
        if keep {
            clean.push(c);
        }
    }
    clean
}

fn is_symbol(c: char) -> bool {
    c >= '\u{2000}'
        && !c.is_alphanumeric()
        && !c.is_whitespace()
        && (c == EMOJI_STYLE || !is_invisible(c))
}

/// Takes no place, or only a blank one.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{70f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}'
        | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Whether marks are heaped up until they reach the lines above and below.
fn is_heaped(name: &str) -> bool {
    let mut marks = 0;
    name.chars().any(|c| {
        marks = if is_combining_mark(c) { marks + 1 } else { 0 };
        marks > MAX_MARKS
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_gets_its_one_form() {
        for (given, name) in [
            ("  Zoë 🐙 ", "Zoë 🐙"),
            ("Zoe\u{308}", "Zo\u{eb}"),
            ("a \u{a0}\u{3000} b", "a b"),
            ("Al\u{200b}ice", "Alice"),
            ("Al\u{200d}ice\u{feff}", "Alice"),
            ("a\u{ad}b", "ab"),
            ("Al\u{fff0}i\u{fff8}ce\u{70f}", "Alice"),
            ("👩\u{200d}🚀", "👩\u{200d}🚀"),
            ("❤\u{fe0f}\u{200d}🔥", "❤\u{fe0f}\u{200d}🔥"),
            ("a\u{fe0f}", "a"),
            ("Ngọc Ánh", "Ngọc Ánh"),
            ("דנה", "דנה"),
        ] {
            assert_eq!(check_name(given).as_deref(), Ok(name), "{given:?}");
        }
        assert_eq!(check_name(&"ä".repeat(64)).unwrap().chars().count(), 64);
    }

    #[test]
    fn an_id_turns_no_text_as_a_name() {
        assert_eq!(without_turns("auth0|a\u{202e}b\u{2066}c"), "auth0|abc");
    }

    #[test]
    fn what_nobody_should_have_to_look_at_is_refused() {
        for bad in [
            "",
            "   ",
            "\u{200b}",
            "\u{3164}",
            "\u{fff4}",
            "\u{70f}",
            "\u{2800}",
            "a\nb",
            "a\u{1b}[31m",
            "a\u{0}",
            "a\u{85}",
            "\u{202e}evil",
            "\u{2067}evil",
            "a\u{200f}b",
            "a\u{61c}b",
            "Z\u{300}\u{301}\u{302}\u{303}\u{304}",
            &"a".repeat(65),
            &"🐙".repeat(5_000),
        ] {
            assert_eq!(check_name(bad), Err(BadName), "{bad:?}");
        }
    }
}
