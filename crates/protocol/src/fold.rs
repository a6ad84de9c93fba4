//! A message as it stands now: its event, its newest edit and its reactions in one frame.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::event::EditMark;
use crate::json::Fields;
use crate::{Frame, ReactionKey, StoredEvent, UserId};

/// Users who are named with one reaction; of further ones only the count.
pub const NAMED_USERS: usize = 50;

/// Different reactions that one message has; further ones are refused, and not shown.
pub const MESSAGE_REACTIONS: usize = 100;
/// Different reactions that one user has on one message.
pub const USER_REACTIONS: usize = 20;

/// The users who reacted with one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reactions {
    /// Which reaction.
    pub key: ReactionKey,
    /// How many users.
    pub count: u64,
    /// The first [`NAMED_USERS`] of them.
    pub users: Vec<UserId>,
}

/// A message's frame with its newest edit and its reactions in it, in the order in which they came.
/// A deleted message has neither. What is no message, or has not changed, stays as it is. An edit
/// that is older than the one in the message changes nothing.
#[must_use]
pub fn fold(message: &Frame, edit: Option<&Frame>, reactions: &[Reactions]) -> Frame {
    // A cheap look: a body may hold this text too.
    let has_reactions = message.as_str().contains(r#""reactions":"#);
    if edit.is_none() && reactions.is_empty() && !has_reactions {
        return message.clone();
    }
    let Ok(mut fields) = serde_json::from_str::<Fields<'_>>(message.as_str()) else {
        return message.clone();
    };
    if fields.get("deleted") == Some("true") {
        return message.clone();
    }
    if let Some(edit) = edit.and_then(|edit| StoredEvent::parse(edit.as_str()).ok())
        && !edit.deleted
        && offset_of_edit(&fields).is_none_or(|known| known < edit.offset)
    {
        take_edit(&mut fields, &edit);
    }
    if reactions.is_empty() {
        fields.remove("reactions");
    } else {
        fields.set("reactions", raw(reactions));
    }
    let json = serde_json::to_vec(&fields).expect("valid JSON always serializes");
    Frame::from_json(json.into()).expect("JSON is UTF-8")
}

/// The offset of the edit that the message has already.
fn offset_of_edit(fields: &Fields<'_>) -> Option<u64> {
    let mark: EditMark = serde_json::from_str(fields.get("edited")?).ok()?;
    Some(mark.offset)
}

fn take_edit<'a>(fields: &mut Fields<'a>, edit: &StoredEvent<'a>) {
    fields.set("body", edit.body.map_or_else(|| raw(&()), Cow::Borrowed));
    if edit.mentions.is_empty() {
        fields.remove("mentions");
    } else {
        fields.set("mentions", raw(&edit.mentions));
    }
    let edited = serde_json::json!({"ts": edit.ts, "by": edit.from, "offset": edit.offset});
    fields.set("edited", raw(&edited));
}

fn raw<'a, T: Serialize + ?Sized>(value: &T) -> Cow<'a, RawValue> {
    Cow::Owned(to_raw_value(value).expect("plain structs always serialize"))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn frame(json: &str) -> Frame {
        Frame::from_json(json.to_owned().into()).unwrap()
    }

    #[test]
    fn the_newest_body_and_the_reactions_stand_in_the_message() {
        let message = frame(
            r#"{"type":"message","room":"r","message":"A","from":{"id":"a","name":"A"},"mentions":["b"],"body":{"text":"x @b"},"ts":1,"epoch":"e","offset":5}"#,
        );
        let edit = frame(
            r#"{"type":"edited","room":"r","message":"B","target":5,"by":{"id":"a","name":"A"},"body":{"text":"y"},"ts":2,"epoch":"e","offset":6}"#,
        );
        let reactions = [Reactions {
            key: ReactionKey::new("👍").unwrap(),
            count: 1,
            users: vec![UserId::new("b").unwrap()],
        }];
        assert_eq!(fold(&message, None, &[]), message);
        let ended = fold(&fold(&message, None, &reactions), None, &[]);
        assert_eq!(ended, message, "the last reaction may end");
        let folded = fold(&message, Some(&edit), &reactions);
        let value: Value = serde_json::from_str(folded.as_str()).unwrap();
        let expected = serde_json::json!({
            "type": "message", "room": "r", "message": "A", "from": {"id": "a", "name": "A"},
            "body": {"text": "y"}, "ts": 1, "epoch": "e", "offset": 5,
            "edited": {"ts": 2, "by": {"id": "a", "name": "A"}, "offset": 6},
            "reactions": [{"key": "👍", "count": 1, "users": ["b"]}]
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn bodies_stay_as_they_were_written() {
        let odd = r#"{"n":12345678901234567890123,"z":-0,"f":1.0,"t":"\u00e4"}"#;
        let message = frame(&format!(
            r#"{{"type":"message","room":"r","message":"A","body":{odd},"ts":1,"epoch":"e","offset":5}}"#
        ));
        let edit = frame(&format!(
            r#"{{"type":"edited","room":"r","message":"B","target":5,"body":[{odd}],"ts":2,"epoch":"e","offset":6}}"#
        ));
        let reactions = [Reactions {
            key: ReactionKey::new("👍").unwrap(),
            count: 1,
            users: Vec::new(),
        }];
        let folded = fold(&message, None, &reactions);
        assert!(
            folded.as_str().contains(&format!(r#""body":{odd},"#)),
            "{folded:?}"
        );
        let edited = fold(&folded, Some(&edit), &[]);
        assert!(
            edited.as_str().contains(&format!(r#""body":[{odd}],"#)),
            "{edited:?}"
        );
    }

    #[test]
    fn what_is_deleted_has_nothing() {
        let tombstone = frame(r#"{"type":"message","deleted":true,"offset":5}"#);
        let reactions = [Reactions {
            key: ReactionKey::new("x").unwrap(),
            count: 1,
            users: Vec::new(),
        }];
        assert_eq!(fold(&tombstone, None, &reactions), tombstone);
    }
}
