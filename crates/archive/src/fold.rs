//! Folding: letters that differ only in case, accents, width or form become the same.

use unicode_normalization::char::{decompose_compatible, is_combining_mark};
use unicode_properties::UnicodeEmoji;

/// Folds a word: compatibility decomposition (NFKD), lower case, no accents, and nothing that is no
/// letter, digit, mark or emoji. The result stays decomposed, on both sides of every comparison.
pub(crate) fn fold(word: &str) -> String {
    let mut folded = String::with_capacity(word.len());
    for c in word.chars() {
        decompose_compatible(c, |part| {
            for lower in part.to_lowercase() {
                match plain_letters(lower) {
                    Some(letters) => folded.push_str(letters),
                    None if is_kept(lower) => folded.push(lower),
                    None => {}
                }
            }
        });
    }
    folded
}

/// Whether `c` belongs to the character before it: marks, and what cannot be seen by itself.
pub(crate) fn is_attached(c: char) -> bool {
    // The two half-width sound marks of Japanese are letters for Unicode.
    is_combining_mark(c) || is_unseen(c) || matches!(c, '\u{ff9e}' | '\u{ff9f}')
}

/// Whether `c` is an emoji; digits, `#` and `*` are not, though keycaps are made of them.
pub(crate) fn is_emoji(c: char) -> bool {
    !c.is_ascii() && c.is_emoji_char() && !is_unseen(c)
}

fn is_kept(c: char) -> bool {
    !is_accent(c)
        && !is_unseen(c)
        && (c.is_alphanumeric() || is_combining_mark(c) || is_emoji(c) || is_flag_letter(c))
}

/// Flags are pairs of these.
pub(crate) fn is_flag_letter(c: char) -> bool {
    unicode_properties::emoji::is_regional_indicator(c)
}

/// Letters that have no decomposition, but that people type without their stroke or ligature.
fn plain_letters(c: char) -> Option<&'static str> {
    Some(match c {
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'ø' => "o",
        'đ' | 'ð' => "d",
        'ħ' => "h",
        'ı' => "i",
        'ł' => "l",
        'ŧ' => "t",
        'þ' => "th",
        'ς' => "σ",
        _ => return None,
    })
}

/// Accents of Latin, Greek and Cyrillic, vowel points of Hebrew and Arabic. The marks of other
/// scripts are as good as letters and stay.
fn is_accent(c: char) -> bool {
    matches!(c,
        '\u{0300}'..='\u{036f}' | '\u{0483}'..='\u{0487}'
        | '\u{0591}'..='\u{05bd}' | '\u{05bf}' | '\u{05c1}'..='\u{05c2}'
        | '\u{05c4}'..='\u{05c5}' | '\u{05c7}'
        | '\u{0610}'..='\u{061a}' | '\u{0640}' | '\u{064b}'..='\u{065f}' | '\u{0670}'
        | '\u{06d6}'..='\u{06dc}' | '\u{06df}'..='\u{06e4}' | '\u{06e7}'..='\u{06e8}'
        | '\u{06ea}'..='\u{06ed}'
        | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}'
        | '\u{fe20}'..='\u{fe2f}')
}

/// Soft hyphens, joiners, variation selectors, skin tones, tags.
fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{00ad}' | '\u{034f}' | '\u{200c}' | '\u{200d}' | '\u{2060}' | '\u{feff}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{e0020}'..='\u{e007f}' | '\u{e0100}'..='\u{e01ef}'
        | '\u{1f3fb}'..='\u{1f3ff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_accents_width_and_form_make_no_difference() {
        for (written, folded) in [
            ("CAFÉ", "cafe"),
            ("cafe\u{301}", "cafe"),
            ("Straße STRASSE", "strassestrasse"),
            ("Łódź", "lodz"),
            ("ﬁn ｆｕｌｌ", "finfull"),
            ("İstanbul", "istanbul"),
            ("ΣΊΣΥΦΟΣ", "σισυφοσ"),
            ("σίσυφος", "σισυφοσ"),
            ("Ёлка", "елка"),
            ("مُحَمَّد", "محمد"),
            ("½²", "122"),
            ("❤\u{fe0f}👍🏽", "❤👍"),
        ] {
            assert_eq!(fold(written), folded, "{written}");
        }
        assert_eq!(fold("が"), fold("か\u{3099}"));
        assert_eq!(fold("ｶﾞ"), fold("ガ"));
        assert_eq!(fold("한"), fold("\u{1112}\u{1161}\u{11ab}"));
        assert_ne!(fold("कि"), fold("क"), "marks that are vowels stay");
    }
}
