//! Edited messages: a message's frame with the body of its newest edit.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::kind::EventKind;
use super::open::{Open, tail};
use super::stored::StoredEvent;
use crate::{Frame, RoomId, User, UserId};

/// A message's frame with another body, which lacks only the time and the offset of the edit.
///
/// The broker closes it with [`Replacement::seal`] when it numbers the edit. The change script of
/// the Redis broker does the same in Lua.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// The JSON up to and including the author of the edit.
    pub open: Bytes,
    /// The end of the JSON: the message's own time, epoch and offset.
    pub end: Bytes,
}

impl Replacement {
    /// Returns the edited message's frame. `ts` and `offset` are those of the edit.
    #[must_use]
    pub fn seal(&self, ts: u64, offset: u64) -> Frame {
        let mark = format!(r#","ts":{ts},"offset":{offset}}}"#);
        let json = [&self.open[..], mark.as_bytes(), &self.end[..]].concat();
        Frame::from_json(json.into()).expect("both parts are UTF-8")
    }
}

impl StoredEvent<'_> {
    /// Returns this message with the body of `edit`. All other fields stay as they are.
    #[must_use]
    pub fn edited_by(&self, room: &RoomId, edit: &StoredEvent<'_>) -> Frame {
        let by = edit.from.as_ref();
        let replacement = self.replaced(room, by, &edit.mentions, edit.body);
        replacement.seal(edit.ts, edit.offset)
    }

    pub(super) fn replaced(
        &self,
        room: &RoomId,
        by: Option<&User>,
        mentions: &[UserId],
        body: Option<&RawValue>,
    ) -> Replacement {
        let open = Open {
            from: self.from.as_ref(),
            nonce: self.nonce.as_ref(),
            mentions,
            body,
            ..Open::new(EventKind::Message, room, &self.message)
        };
        let by = serde_json::to_string(&by).expect("a user always serializes");
        let open = [&open.encode()[..], br#","edited":{"by":"#, by.as_bytes()].concat();
        Replacement {
            open: open.into(),
            end: tail(self.ts, &self.epoch, self.offset).into(),
        }
    }
}
