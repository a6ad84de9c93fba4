//! JSON as JavaScript writes it: a text that was cut inside an emoji has an escape for half of a
//! surrogate pair, which no UTF-8 can hold.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use crate::Body;
use crate::json::check;

const HIGH: RangeInclusive<u16> = 0xD800..=0xDBFF;
const LOW: RangeInclusive<u16> = 0xDC00..=0xDFFF;
/// The replacement that every encoder of UTF-8 writes for half a surrogate pair.
const REPLACEMENT: &str = "\\ufffd";

/// Lists and objects within each other: a body and what stands around it.
const MAX_DEPTH: usize = Body::MAX_DEPTH + 10;

/// Checks a value and gives its text; halves are replaced, as on a WebSocket without JSON.
pub(super) fn read(json: &str) -> Result<Cow<'_, str>, serde_json::Error> {
    let Err(error) = check(json, MAX_DEPTH) else {
        return Ok(Cow::Borrowed(json));
    };
    let Some(mended) = without_halves(json) else {
        return Err(error);
    };
    check(&mended, MAX_DEPTH)?;
    Ok(Cow::Owned(mended))
}

/// The same text with each half replaced; `None`: there is none.
fn without_halves(json: &str) -> Option<String> {
    let mut mended = String::with_capacity(json.len());
    let mut rest = json;
    let mut any = false;
    while let Some(at) = rest.find('\\') {
        mended.push_str(&rest[..at]);
        rest = &rest[at..];
        let taken = match (unit(rest), rest.get(6..).and_then(unit)) {
            (Some(high), Some(low)) if HIGH.contains(&high) && LOW.contains(&low) => 12,
            (Some(half), _) if HIGH.contains(&half) || LOW.contains(&half) => {
                any = true;
                mended.push_str(REPLACEMENT);
                rest = &rest[6..];
                continue;
            }
            // A backslash and what it stands before.
            _ => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
        };
        mended.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    mended.push_str(rest);
    any.then_some(mended)
}

/// The UTF-16 unit of an escape that stands at the beginning.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u16::from_str_radix(digits, 16).ok().filter(|_| is_hex)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn parse(json: &str) -> Result<Value, serde_json::Error> {
        serde_json::from_str(&read(json)?)
    }

    #[test]
    fn halves_are_replaced_and_nothing_else() {
        for (json, text) in [
            (r#""a\ud800b""#, "a\u{fffd}b"),
            (r#""\uDC00""#, "\u{fffd}"),
            (r#""\ud83d\ud83d\ude00\ude00""#, "\u{fffd}😀\u{fffd}"),
            (r#""\ud83dä\\ud83d\"\u00e4""#, "\u{fffd}ä\\ud83d\"ä"),
            (r#""\ud83d\ude00""#, "😀"),
        ] {
            assert_eq!(parse(json).unwrap(), Value::from(text), "{json}");
        }
        for bad in [
            r#""\ud8""#,
            r#""\ud83d"#,
            r#""\u+123""#,
            "\"\\",
            "\\ud83d",
            "",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(\\\\u?|[dD89abcABC0-9\"]|\\PC){0,30}") {
            drop(parse(&text));
        }

        #[test]
        fn what_javascript_writes_is_read(units: Vec<u16>) {
            let escapes: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            let text = String::from_utf16_lossy(&units);
            prop_assert_eq!(parse(&format!("\"{escapes}\"")).unwrap(), Value::from(text));
        }
    }
}
