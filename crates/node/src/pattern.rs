//! Patterns of room names: a room id, or the beginning of one and `*`. The longest match counts, and a
//! whole name counts more than any beginning.

use hubbub_protocol::RoomId;

/// The form of a pattern, for errors.
pub(crate) const EXPECTED: &str = "a room id, or the beginning of one and *";

pub(crate) fn is_pattern(text: &str) -> bool {
    let beginning = text.strip_suffix('*').unwrap_or(text);
    text == "*" || RoomId::new(beginning).is_ok()
}

pub(crate) fn matches(pattern: &str, room: &RoomId) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => room.as_str().starts_with(beginning),
        None => room.as_str() == pattern,
    }
}

/// Whether every room that `inner` matches is matched by `outer` too.
pub(crate) fn covers(outer: &str, inner: &str) -> bool {
    match (outer.strip_suffix('*'), inner.strip_suffix('*')) {
        (Some(outer), inner_beginning) => inner_beginning.unwrap_or(inner).starts_with(outer),
        (None, _) => outer == inner,
    }
}

/// Of the patterns that match a room, the one with the greatest weight counts.
pub(crate) fn weight(pattern: &str) -> (bool, usize) {
    (!pattern.ends_with('*'), pattern.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_names_one_room_or_a_beginning() {
        for good in ["*", "lobby", "team-*", "a:b*"] {
            assert!(is_pattern(good), "{good}");
        }
        for bad in ["", "**", "a b", "a*b", "a/*", "*a"] {
            assert!(!is_pattern(bad), "{bad}");
        }
    }

    #[test]
    fn a_whole_name_counts_more_than_a_beginning() {
        assert!(weight("a") > weight("a*") && weight("ab*") > weight("a*"));
        assert!(weight("a*") > weight("*"));
        let room = RoomId::new("team-a").unwrap();
        assert!(matches("*", &room) && matches("team-a", &room) && matches("team-a*", &room));
        assert!(!matches("team", &room) && !matches("team-ab*", &room));
    }
}
