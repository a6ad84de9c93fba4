//! JSON that is checked and passed on as it was written, without a tree of values in memory.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A text that is borrowed where it has no escapes.
#[derive(Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// Checks that every JSON parser can read `json`: its syntax, no half of a surrogate pair, no number
/// beyond what a double can hold, and at most `depth` lists and objects within each other.
///
/// # Errors
/// The fault and its place.
pub(crate) fn check(json: &str, depth: usize) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    Check { depth }.deserialize(&mut deserializer)?;
    deserializer.end()
}

/// Leaves out the blanks between the values of a valid JSON text; everything else stays as it is.
pub(crate) fn compact(json: &str) -> Cow<'_, str> {
    let bytes = json.as_bytes();
    let (mut kept, mut start) = (String::new(), 0);
    let (mut at, mut is_text) = (0, false);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => is_text = !is_text,
            // An escaped quote does not end the text.
            b'\\' => at += 1,
            b' ' | b'\t' | b'\n' | b'\r' if !is_text => {
                kept.push_str(&json[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    if start == 0 {
        return Cow::Borrowed(json);
    }
    kept.push_str(&json[start..]);
    Cow::Owned(kept)
}

/// Reads any value and keeps nothing of it. The parser itself refuses bad texts and numbers.
#[derive(Clone, Copy)]
struct Check {
    depth: usize,
}

impl Check {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth }),
            None => Err(E::custom(
                "too many lists and objects stand within each other",
            )),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Check {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Check {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while list.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while object.next_key_seed(inner)?.is_some() {
            object.next_value_seed(inner)?;
        }
        Ok(())
    }
}

/// The fields of one of our own frames in their order, each value as it is written.
pub(crate) struct Fields<'a>(Vec<(&'a str, Cow<'a, RawValue>)>);

impl<'a> Fields<'a> {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let field = self.0.iter().find(|(known, _)| *known == name);
        field.map(|(_, value)| value.get())
    }

    /// Keeps the field's place where there is one.
    pub(crate) fn set(&mut self, name: &'a str, value: Cow<'a, RawValue>) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name, value)),
        }
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| *known != name);
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a frame")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Vec::new();
        while let Some((name, value)) = object.next_entry::<&str, &RawValue>()? {
            fields.push((name, Cow::Borrowed(value)));
        }
        Ok(Fields(fields))
    }
}

impl Serialize for Fields<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_blanks_between_values_are_left_out() {
        for (json, short) in [
            (" { \"a b\" : [ 1 ,\n2.50 ]\t}\r\n", "{\"a b\":[1,2.50]}"),
            (r#"" a \" b \\" "#, r#"" a \" b \\""#),
            (r#"{"\\" : " x "}"#, r#"{"\\":" x "}"#),
            ("7", "7"),
        ] {
            assert_eq!(compact(json), short, "{json}");
        }
        assert!(matches!(compact(r#"{"a b":1}"#), Cow::Borrowed(_)));
    }

    #[test]
    fn a_value_is_read_to_its_end_and_only_so_deep() {
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(check(&deep(5), 5).is_ok());
        let error = check(&deep(6), 5).unwrap_err().to_string();
        assert!(error.starts_with("too many lists"), "{error}");
        assert!(check(r#"{"a":{"b":{"c":1}}}"#, 3).is_ok());
        assert!(check(r#"{"a":{"b":{"c":1}}}"#, 2).is_err());
        for bad in ["", "1 2", "{", "[1,]", r#""\ud800""#, "1e999", "-", "nul"] {
            assert!(check(bad, 100).is_err(), "{bad}");
        }
        for good in [
            "18446744073709551616",
            "-0",
            "1e-999",
            "null",
            "true",
            r#""\ud83d\ude00""#,
        ] {
            assert!(check(good, 0).is_ok(), "{good}");
        }
    }

    proptest! {
        #[test]
        fn what_is_good_is_what_can_be_parsed(text in "[\\[\\]{}\",:0-9eE+.a-c \\\\ud-]{0,24}") {
            let parsed = serde_json::from_str::<serde_json::Value>(&text);
            prop_assert_eq!(check(&text, 100).is_ok(), parsed.is_ok(), "{}", text);
            if let Ok(value) = parsed {
                let again: serde_json::Value = serde_json::from_str(&compact(&text)).unwrap();
                prop_assert_eq!(value, again);
            }
        }
    }
}
