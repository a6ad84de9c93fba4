//! The client's own name for one request.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// The client's own name for one request: a string or a number, repeated by the one reply as it was
/// written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestId {
    /// Any JSON number, as text of up to [`RequestId::MAX_BYTES`] bytes.
    Number(Box<str>),
    /// Up to [`RequestId::MAX_BYTES`] bytes.
    Text(String),
}

impl RequestId {
    /// The longest one that is repeated.
    pub const MAX_BYTES: usize = 128;

    /// Reads a JSON value; `None`: it is neither a number nor a text, or too long.
    #[must_use]
    pub fn read(json: &str) -> Option<Self> {
        match json.bytes().next()? {
            b'"' => {
                let text: String = serde_json::from_str(json).ok()?;
                (text.len() <= Self::MAX_BYTES).then_some(Self::Text(text))
            }
            b'-' | b'0'..=b'9' => {
                (json.len() <= Self::MAX_BYTES).then(|| Self::Number(json.into()))
            }
            _ => None,
        }
    }
}

impl From<u64> for RequestId {
    fn from(number: u64) -> Self {
        Self::Number(number.to_string().into())
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) => {
                let number = serde_json::from_str::<&RawValue>(number);
                let number = number.map_err(serde::ser::Error::custom)?;
                number.serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = <&RawValue>::deserialize(deserializer)?;
        Self::read(json.get()).ok_or_else(|| D::Error::custom("no request id"))
    }
}
