//! Bodies: any JSON value, as its sender wrote it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::json::{Text, check, compact};

/// A JSON value as its sender wrote it: numbers, escapes and the order of keys stay as they are. Only
/// the blanks between its parts are left out, so that a frame is one line.
#[derive(Debug, Clone)]
pub struct Body(Box<RawValue>);

impl Body {
    /// Lists and objects within each other. Many JSON parsers stop at 128, and a body stands within
    /// further objects wherever it is read.
    pub const MAX_DEPTH: usize = 100;

    /// Takes a body that every JSON parser can read.
    ///
    /// # Errors
    /// It has half of a surrogate pair, a number that no double can hold, or more than
    /// [`Body::MAX_DEPTH`] levels.
    pub fn new(json: &RawValue) -> Result<Self, serde_json::Error> {
        check(json.get(), Self::MAX_DEPTH)?;
        match compact(json.get()) {
            Cow::Borrowed(_) => Ok(Self(json.to_owned())),
            Cow::Owned(text) => RawValue::from_string(text).map(Self),
        }
    }

    /// The JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// The JSON text as a part of another one.
    #[must_use]
    pub fn as_raw(&self) -> &RawValue {
        &self.0
    }

    /// Its length in bytes, which `limits.body_bytes` bounds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_str().len()
    }

    /// Never true: the shortest JSON text has a byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_str().is_empty()
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Body {}

impl From<&Value> for Body {
    fn from(value: &Value) -> Self {
        let text = RawValue::from_string(value.to_string());
        Self(text.expect("a value is valid JSON"))
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = <&RawValue>::deserialize(deserializer)?;
        Self::new(json).map_err(|error| D::Error::custom(format!("'body' is not valid: {error}")))
    }
}

/// The parts of a body that the server itself reads. Of two equal keys the last one counts, as in
/// JavaScript.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BodyView<'a> {
    /// The text that people read: the body's `text`, or the body itself where it is a text.
    pub text: Option<Cow<'a, str>>,
}

impl<'a> BodyView<'a> {
    /// Reads a body.
    #[must_use]
    pub fn of(body: &'a str) -> Self {
        serde_json::from_str(body).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for BodyView<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ViewVisitor)
    }
}

struct ViewVisitor;

impl<'de> Visitor<'de> for ViewVisitor {
    type Value = BodyView<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a body")
    }

    fn visit_unit<E>(self) -> Result<BodyView<'de>, E> {
        Ok(BodyView::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<BodyView<'de>, E> {
        Ok(BodyView::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<BodyView<'de>, E> {
        Ok(BodyView::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<BodyView<'de>, E> {
        Ok(BodyView::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<BodyView<'de>, E> {
        Ok(BodyView::default())
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<BodyView<'de>, E> {
        let text = Some(Cow::Borrowed(text));
        Ok(BodyView { text })
    }

    fn visit_str<E>(self, text: &str) -> Result<BodyView<'de>, E> {
        let text = Some(Cow::Owned(text.to_owned()));
        Ok(BodyView { text })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<BodyView<'de>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(BodyView::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<BodyView<'de>, A::Error> {
        let mut view = BodyView::default();
        while let Some(Text(key)) = object.next_key()? {
            if key == "text" {
                view.text = text_of(object.next_value()?);
            } else {
                object.next_value::<IgnoredAny>()?;
            }
        }
        Ok(view)
    }
}

/// The text that a value is, if it is one.
fn text_of(value: &RawValue) -> Option<Cow<'_, str>> {
    let text = value.get().starts_with('"').then(|| value.get())?;
    let Text(text) = serde_json::from_str(text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(json: &str) -> Result<Body, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn a_body_stays_as_it_was_written() {
        for json in [
            "12345678901234567890123",
            "-0",
            "-0.0",
            "1.0",
            "1e2",
            "2.50",
            "0.1000000000000000055511151231257827",
            r#"{"b":1,"a":2,"b":3}"#,
            r#""\u00e4 \/ \u2028 \ud83d\ude00 @""#,
            r#"{"$serde_json::private::RawValue":"[1"}"#,
            "null",
        ] {
            assert_eq!(body(json).unwrap().as_str(), json);
        }
        let spaced = body(" { \"b\" : [ 1.0,\n -0 ] } ").unwrap();
        assert_eq!(spaced.as_str(), r#"{"b":[1.0,-0]}"#);
        assert_eq!(spaced, body(r#"{"b":[1.0,-0]}"#).unwrap());
    }

    #[test]
    fn a_body_that_some_parsers_cannot_read_is_refused() {
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(body(&deep(Body::MAX_DEPTH)).is_ok());
        let many = deep(10_000);
        for bad in [
            r#""\ud800""#,
            "1e999",
            "[1,2",
            deep(Body::MAX_DEPTH + 1).as_str(),
            many.as_str(),
        ] {
            assert!(body(bad).is_err(), "{bad:.60}");
        }
    }

    #[test]
    fn the_text_is_the_body_or_its_last_text() {
        let text = |json: &'static str| BodyView::of(json).text;
        assert_eq!(text(r#""a\u0040b""#).as_deref(), Some("a@b"));
        assert_eq!(
            text(r#"{"x":[1,{"text":"no"}],"text":"yes"}"#).as_deref(),
            Some("yes")
        );
        assert_eq!(
            text(r#"{"text":"a","te\u0078t":"b"}"#).as_deref(),
            Some("b")
        );
        for none in [
            "1",
            "-1",
            "1.5",
            "true",
            "null",
            "[\"a\"]",
            r#"{"text":5}"#,
            r#"{"text":"a","text":null}"#,
        ] {
            assert_eq!(text(none), None, "{none}");
        }
    }
}
