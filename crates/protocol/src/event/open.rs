//! The JSON of events. A draft's JSON is left open, and [`seal`] closes it with the event's place.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::kind::EventKind;
use crate::{Epoch, Frame, MessageId, Nonce, Position, ReactionKey, RoomId, User, UserId};

/// Closes a draft's JSON. `ts` is in milliseconds since 1970, by the broker's clock.
#[must_use]
pub fn seal(open: &[u8], ts: u64, position: &Position) -> Frame {
    let tail = tail(ts, &position.epoch, position.offset);
    let mut json = Vec::with_capacity(open.len() + tail.len());
    json.extend_from_slice(open);
    json.extend_from_slice(tail.as_bytes());
    Frame::from_json(json.into()).expect("a draft is UTF-8")
}

/// Returns the same event at another place, and with another target if it has one.
#[must_use]
pub fn renumber(frame: &Frame, position: &Position, target: Option<u64>) -> Frame {
    const TARGET: &str = r#","target":"#;
    let text = frame.as_str();
    let end = text.rfind(r#","epoch":""#).unwrap_or(text.len());
    let Position { epoch, offset } = position;
    let tail = format!(r#","epoch":"{epoch}","offset":{offset}}}"#);
    // The target stands before everything that users write.
    let start = target
        .and_then(|_| text.find(TARGET))
        .filter(|at| *at < end);
    let json = match (start, target) {
        (Some(at), Some(target)) => {
            let (head, rest) = text[..end].split_at(at + TARGET.len());
            let rest = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
            format!("{head}{target}{rest}{tail}")
        }
        _ => format!("{}{tail}", &text[..end]),
    };
    Frame::from_json(json.into()).expect("a string is UTF-8")
}

/// The last fields of every event and the end of its JSON.
pub(super) fn tail(ts: u64, epoch: &Epoch, offset: u64) -> String {
    format!(r#","ts":{ts},"epoch":"{epoch}","offset":{offset}}}"#)
}

/// The fields of all kinds of events, in the order in which they are written.
#[derive(Serialize)]
pub(super) struct Open<'a> {
    #[serde(rename = "type")]
    pub(super) kind: EventKind,
    pub(super) room: &'a RoomId,
    pub(super) message: &'a MessageId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<&'a User>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) by: Option<&'a User>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nonce: Option<&'a Nonce>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<&'a ReactionKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) on: Option<bool>,
    #[serde(skip_serializing_if = "<[UserId]>::is_empty")]
    pub(super) mentions: &'a [UserId],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) body: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) deleted: bool,
}

impl<'a> Open<'a> {
    pub(super) fn new(kind: EventKind, room: &'a RoomId, message: &'a MessageId) -> Self {
        Self {
            kind,
            room,
            message,
            target: None,
            from: None,
            by: None,
            nonce: None,
            key: None,
            on: None,
            mentions: &[],
            body: None,
            deleted: false,
        }
    }

    /// The JSON object without its end.
    pub(super) fn encode(&self) -> Bytes {
        let mut open = serde_json::to_vec(self).expect("strings and valid JSON always serialize");
        open.pop();
        open.into()
    }
}
