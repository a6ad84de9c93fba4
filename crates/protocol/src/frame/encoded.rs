//! One encoded frame, shared by all the clients that it goes to.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

/// One encoded JSON object. Clones share its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame(pub(super) Bytes);

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Frame {
    /// Takes bytes that are JSON already. Returns `None` if they are not UTF-8.
    #[must_use]
    pub fn from_json(json: Bytes) -> Option<Self> {
        std::str::from_utf8(&json).is_ok().then_some(Self(json))
    }

    /// Takes text for a protocol whose frames are more than JSON.
    #[must_use]
    pub fn from_text(text: String) -> Self {
        Self(text.into())
    }

    /// The JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a frame is made of UTF-8 only")
    }

    /// The JSON text's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The shared bytes, which are UTF-8.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// The number of bytes that the frame counts for in an outbox.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Always `false`, because the shortest frame is `{}`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Frame {
    /// Writes the frame as the JSON that it is.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue =
            serde_json::from_str(self.as_str()).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}
