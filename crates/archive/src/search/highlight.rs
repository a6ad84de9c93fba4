//! Showing where in a text the words are that were looked for.

use serde::Serialize;

use super::query::Phrases;
use crate::words::words;

/// How much of a long text is shown, in bytes, and how much of that before the first hit.
const SHOWN: usize = 320;
const BEFORE: usize = 80;

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fragment {
    /// As it was written; `…` where something was left out.
    pub text: String,
    /// Whether it is a word that was looked for.
    pub hit: bool,
}

/// The text around the first hit, with its hits. Joined, the fragments are that text.
pub(super) fn highlight(text: &str, phrases: &Phrases) -> Vec<Fragment> {
    let hits = words(text).filter(|word| phrases.has(&word.plain));
    let hits: Vec<_> = hits.map(|word| word.place).collect();
    let first = hits.first().map_or(0, |hit| hit.start);
    let (start, end) = if text.len() <= SHOWN {
        (0, text.len())
    } else {
        let start = text.floor_char_boundary(first.saturating_sub(BEFORE));
        (start, text.floor_char_boundary(start + SHOWN))
    };
    let mut fragments = Vec::new();
    if start > 0 {
        push(&mut fragments, "…", false);
    }
    let mut at = start;
    for hit in hits
        .into_iter()
        .filter(|hit| hit.start >= start && hit.end <= end)
    {
        push(&mut fragments, &text[at..hit.start], false);
        push(&mut fragments, &text[hit.clone()], true);
        at = hit.end;
    }
    push(&mut fragments, &text[at..end], false);
    if end < text.len() {
        push(&mut fragments, "…", false);
    }
    fragments
}

/// Parts of one kind that stand beside each other are one.
fn push(fragments: &mut Vec<Fragment>, text: &str, hit: bool) {
    match fragments.last_mut() {
        _ if text.is_empty() => {}
        Some(last) if last.hit == hit => last.text.push_str(text),
        _ => fragments.push(Fragment {
            text: text.to_owned(),
            hit,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::query::phrases;
    use super::*;

    /// With hits in brackets.
    fn marked(text: &str, query: &str) -> String {
        let fragments = highlight(text, &phrases(query)).into_iter();
        fragments
            .map(|Fragment { text, hit }| if hit { format!("[{text}]") } else { text })
            .collect()
    }

    #[test]
    fn hits_are_whole_words_in_any_case() {
        assert_eq!(
            marked("Hello, World! hellos", "hello world"),
            "[Hello], [World]! hellos"
        );
        assert_eq!(marked("Größe: größe", "GRÖSSE größe"), "[Größe]: [größe]");
        assert_eq!(marked("go東京go", "東京"), "go[東京]go");
        assert_eq!(marked("", "x"), "");
    }

    #[test]
    fn of_a_long_text_the_part_around_the_first_hit_is_shown() {
        let text = format!("{} needle {}", "ä ".repeat(400), "ö ".repeat(400));
        let shown = marked(&text, "needle");
        assert!(shown.starts_with('…') && shown.ends_with('…'), "{shown}");
        assert!(shown.contains(" [needle] "), "{shown}");
        assert!(shown.len() < SHOWN + 20);
    }
}
