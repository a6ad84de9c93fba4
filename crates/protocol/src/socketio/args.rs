//! The arguments of an event or an ack: a list that stays JSON text until somebody wants a part of it.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::Text;

/// A JSON list. It takes the memory of its text, whatever is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args<'a>(Cow<'a, str>);

impl<'a> Args<'a> {
    /// Takes text that is valid JSON; `None`: it is no list.
    pub(super) fn new(json: Cow<'a, str>) -> Option<Self> {
        json.trim_ascii_start()
            .starts_with('[')
            .then_some(Self(json))
    }

    /// Reads a list.
    #[must_use]
    pub fn read(json: &'a str) -> Option<Self> {
        let json = super::json::read(json).ok()?;
        Self::new(json)
    }

    /// The JSON text of the list.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// An event's name and its first argument, as far as they are there.
    #[must_use]
    pub fn first_two(&self) -> [Option<&RawValue>; 2] {
        let two = serde_json::from_str::<FirstTwo<'_>>(&self.0);
        two.map_or([None, None], |FirstTwo(two)| two)
    }

    /// An event's name; `None`: it is no text.
    #[must_use]
    pub fn name(&self) -> Option<Cow<'_, str>> {
        let [name, _] = self.first_two();
        let Text(name) = serde_json::from_str(name?.get()).ok()?;
        Some(name)
    }

    /// Whether every placeholder stands for one of so many attachments.
    pub(super) fn has_only(&self, attachments: usize) -> bool {
        let mut deserializer = serde_json::Deserializer::from_str(&self.0);
        Placeholders { attachments }
            .deserialize(&mut deserializer)
            .is_ok()
    }

    pub(super) fn into_owned(self) -> Args<'static> {
        Args(Cow::Owned(self.0.into_owned()))
    }
}

/// The first two items of a list.
struct FirstTwo<'a>([Option<&'a RawValue>; 2]);

impl<'de> Deserialize<'de> for FirstTwo<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(FirstTwoVisitor)
    }
}

struct FirstTwoVisitor;

impl<'de> Visitor<'de> for FirstTwoVisitor {
    type Value = FirstTwo<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<FirstTwo<'de>, A::Error> {
        let first = list.next_element()?;
        let second = match first {
            Some(_) => list.next_element()?,
            None => None,
        };
        if second.is_some() {
            while list.next_element::<IgnoredAny>()?.is_some() {}
        }
        Ok(FirstTwo([first, second]))
    }
}

/// Reads any value and refuses placeholders without an attachment. The depth is bounded: the JSON has
/// been checked.
#[derive(Clone, Copy)]
struct Placeholders {
    attachments: usize,
}

/// A value as far as a placeholder may have it.
#[derive(PartialEq, Eq)]
enum Seen {
    True,
    Number(u64),
    Other,
}

impl<'de> DeserializeSeed<'de> for Placeholders {
    type Value = Seen;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Seen, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Placeholders {
    type Value = Seen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Seen, E> {
        Ok(Seen::Other)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Seen, E> {
        Ok(if value { Seen::True } else { Seen::Other })
    }

    fn visit_i64<E>(self, _: i64) -> Result<Seen, E> {
        Ok(Seen::Other)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Seen, E> {
        Ok(Seen::Number(number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Seen, E> {
        Ok(Seen::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Seen, E> {
        Ok(Seen::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Seen, A::Error> {
        while list.next_element_seed(self)?.is_some() {}
        Ok(Seen::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Seen, A::Error> {
        let (mut is_placeholder, mut number) = (false, Seen::Other);
        while let Some(Text(key)) = object.next_key()? {
            let value = object.next_value_seed(self)?;
            match &*key {
                "_placeholder" => is_placeholder = value == Seen::True,
                "num" => number = value,
                _ => {}
            }
        }
        let stands_for_one =
            matches!(number, Seen::Number(number) if number < self.attachments as u64);
        if !is_placeholder || stands_for_one {
            Ok(Seen::Other)
        } else {
            Err(A::Error::custom("a placeholder without an attachment"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_without_reading_the_rest() {
        let args = Args::read(r#" [ "a\u0062" , {"x": -0} , [1], 2] "#).unwrap();
        let [name, first] = args.first_two();
        assert_eq!(name.unwrap().get(), r#""a\u0062""#);
        assert_eq!(first.unwrap().get(), r#"{"x": -0}"#);
        assert_eq!(args.name().as_deref(), Some("ab"));
        for (json, count) in [("[]", 0), ("[7]", 1), ("[7,null]", 2)] {
            let args = Args::read(json).unwrap();
            assert_eq!(args.first_two().iter().flatten().count(), count, "{json}");
            assert_eq!(args.name(), None);
        }
        assert!(Args::read("{}").is_none() && Args::read("[1").is_none());
    }
}
