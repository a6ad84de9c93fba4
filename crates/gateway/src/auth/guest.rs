//! Guests: who has no token gets an id and a name that is easy on the ear.

use hubbub_node::Identity;
use hubbub_protocol::{User, UserId};

/// A name that others should not have to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name must be 1 to {MAX_NAME_CHARS} characters without control characters")]
pub struct BadName;

/// The longest name in characters.
const MAX_NAME_CHARS: usize = 64;

/// How every guest's id begins.
pub(crate) const GUEST_PREFIX: &str = "guest-";

const MOODS: [&str; 24] = [
    "Amber", "Brave", "Bright", "Calm", "Clever", "Cosy", "Eager", "Fond", "Gentle", "Happy",
    "Jolly", "Keen", "Kind", "Lucky", "Merry", "Mellow", "Nimble", "Proud", "Quick", "Quiet",
    "Sunny", "Swift", "Warm", "Witty",
];

const ANIMALS: [&str; 24] = [
    "Badger", "Beaver", "Crane", "Deer", "Dolphin", "Finch", "Fox", "Hare", "Heron", "Ibex",
    "Koala", "Lark", "Lynx", "Marten", "Otter", "Owl", "Panda", "Puffin", "Robin", "Seal",
    "Sparrow", "Swan", "Tapir", "Wren",
];

/// A new guest; without a name one is made up.
#[must_use]
pub fn new_guest(name: Option<String>) -> Identity {
    let id = UserId::new(&format!("{GUEST_PREFIX}{:016x}", fastrand::u64(..)))
        .expect("hexadecimal digits are a valid user id");
    let user = User {
        id,
        name: name.unwrap_or_else(made_up_name),
    };
    Identity {
        guest: true,
        ..Identity::of(user)
    }
}

fn made_up_name() -> String {
    let (mood, animal) = (fastrand::choice(MOODS), fastrand::choice(ANIMALS));
    format!(
        "{} {}",
        mood.expect("not empty"),
        animal.expect("not empty")
    )
}

/// Trims and checks a name that a person chose.
///
/// # Errors
/// [`BadName`] says the rule.
pub fn check_name(name: &str) -> Result<String, BadName> {
    let name = name.trim();
    let length = name.chars().count();
    if (1..=MAX_NAME_CHARS).contains(&length) && !name.chars().any(is_control) {
        Ok(name.to_owned())
    } else {
        Err(BadName)
    }
}

/// Control characters, and those that turn the direction of the text around them.
pub(crate) fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_differ_and_have_a_name() {
        let (a, b) = (new_guest(None), new_guest(None));
        assert_ne!(a.user.id, b.user.id);
        assert!(a.user.id.as_str().starts_with("guest-"));
        assert_eq!(a.user.name.split(' ').count(), 2);
        assert_eq!(new_guest(Some("Ann".to_owned())).user.name, "Ann");
    }

    #[test]
    fn names_are_trimmed_and_bounded() {
        assert_eq!(check_name("  Zoë 🐙 ").unwrap(), "Zoë 🐙");
        assert_eq!(check_name(&"ä".repeat(64)).unwrap().chars().count(), 64);
        for bad in [
            "",
            "   ",
            "a\nb",
            "a\u{1b}[31m",
            "a\u{0}",
            "\u{202e}evil",
            &"a".repeat(65),
        ] {
            assert_eq!(check_name(bad), Err(BadName), "{bad:?}");
        }
    }
}
