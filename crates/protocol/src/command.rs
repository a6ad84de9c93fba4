//! What clients say: one JSON object a text frame, read in one pass.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Number, Value};

use crate::id::OFFSET_LIMIT;
use crate::{ErrorCode, InvalidId, Nonce, Position, RoomId};

/// The client's own name for one request: a string or a number, repeated by the one reply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RequestId {
    /// Any JSON number.
    Number(Number),
    /// Up to [`RequestId::MAX_BYTES`] bytes.
    Text(String),
}

impl RequestId {
    /// The longest text that is repeated.
    pub const MAX_BYTES: usize = 128;
}

/// A command and the id that its reply repeats.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// `None`: the reply carries no id.
    pub id: Option<RequestId>,
    /// What is asked for.
    pub command: Command,
}

/// Where a join starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinFrom {
    /// Only what comes from now on.
    Now,
    /// The newest `n` events first.
    Recent(usize),
    /// Everything after a position that the client has seen.
    Since(Since),
}

/// A position to resume from, as a client remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Since {
    /// The last event seen.
    #[serde(flatten)]
    pub position: Position,
    /// The id of the event at that offset: it tells two streams of one epoch apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What a client may ask for in `hubbub.v1`.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Says who the client is, once, as the first frame.
    Hello {
        /// `None` asks for a new guest.
        token: Option<String>,
    },
    /// Become a member and hear the room's events; again: a resync.
    Join {
        /// Which room.
        room: RoomId,
        /// What to replay.
        from: JoinFrom,
    },
    /// No longer a member.
    Leave {
        /// Which room.
        room: RoomId,
    },
    /// A message to everyone in the room.
    Send {
        /// Which room.
        room: RoomId,
        /// Makes a retry safe.
        nonce: Option<Nonce>,
        /// Any JSON value, kept in compact form.
        body: Body,
    },
    /// The user writes, or has stopped to.
    Typing {
        /// Which room.
        room: RoomId,
        /// `false`: stopped.
        on: bool,
    },
    /// A page of older events.
    History {
        /// Which room.
        room: RoomId,
        /// Events with an offset below this; `None`: the newest.
        before: Option<u64>,
        /// At most so many.
        limit: usize,
    },
    /// Who is in a room.
    Members {
        /// Which room.
        room: RoomId,
    },
    /// The public rooms and mine.
    Rooms,
    /// Answered by `pong`.
    Ping,
}

/// A JSON value in its compact text form: parsed and written again, so that what others get has
/// no duplicate keys, lone surrogates or numbers out of range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body(String);

impl Body {
    /// The JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its length in bytes, which `limits.body_bytes` bounds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never true: the shortest JSON text has a byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&Value> for Body {
    fn from(value: &Value) -> Self {
        Self(value.to_string())
    }
}

/// Why a frame is no command.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct DecodeError {
    /// `bad_frame` or `bad_room`.
    pub code: ErrorCode,
    /// Names what is wrong and what to do.
    pub message: String,
    /// The request's id, where it could be read.
    pub id: Option<RequestId>,
}

/// Every field that a command may have; what a command does not know is ignored.
#[derive(Deserialize)]
#[serde(expecting = "an object with the fields of a command")]
struct Fields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    id: Option<Value>,
    #[serde(borrow)]
    room: Option<Cow<'a, str>>,
    token: Option<String>,
    since: Option<Since>,
    recent: Option<u64>,
    #[serde(borrow)]
    nonce: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "any_value")]
    body: Option<&'a RawValue>,
    ack: Option<Value>,
    on: Option<bool>,
    before: Option<u64>,
    limit: Option<u64>,
}

/// Unlike an optional field, takes `null` for a value.
fn any_value<'de, D>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// The events of a history page when the client names no limit.
const DEFAULT_HISTORY: u64 = 50;

/// Reads one text frame.
///
/// # Errors
/// [`DecodeError`] says what is wrong with the frame; the connection may go on.
pub fn decode_command(text: &str) -> Result<Request, DecodeError> {
    let fields: Fields<'_> = serde_json::from_str(text)
        .map_err(|error| bad_frame(salvage_id(text), format!("not a command: {error}")))?;
    let id = match &fields.id {
        None => None,
        Some(value) => request_id(value)?,
    };
    fields
        .command()
        .map(|command| Request {
            id: id.clone(),
            command,
        })
        .map_err(|error| DecodeError { id, ..error })
}

/// `null` is no id.
fn request_id(value: &Value) -> Result<Option<RequestId>, DecodeError> {
    match value {
        Value::Null => Ok(None),
        Value::Number(number) => Ok(Some(RequestId::Number(number.clone()))),
        Value::String(text) if text.len() <= RequestId::MAX_BYTES => {
            Ok(Some(RequestId::Text(text.clone())))
        }
        Value::String(_) | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            let rule = RequestId::MAX_BYTES;
            let message = format!("'id' must be a number or a string of at most {rule} bytes");
            Err(bad_frame(None, message))
        }
    }
}

/// The id of a frame that is no command because of something else in it.
fn salvage_id(text: &str) -> Option<RequestId> {
    #[derive(Deserialize)]
    struct OnlyId {
        id: Value,
    }
    let OnlyId { id } = serde_json::from_str(text).ok()?;
    request_id(&id).ok()?
}

impl Fields<'_> {
    fn command(self) -> Result<Command, DecodeError> {
        let Some(kind) = self.kind.as_deref() else {
            return Err(bad_frame(None, "'type' is missing".to_owned()));
        };
        match kind {
            "hello" => Ok(Command::Hello { token: self.token }),
            "join" => Ok(Command::Join {
                room: self.room()?,
                from: self.join_from()?,
            }),
            "leave" => Ok(Command::Leave { room: self.room()? }),
            "send" => Ok(Command::Send {
                room: self.room()?,
                nonce: self
                    .nonce
                    .as_deref()
                    .map(Nonce::new)
                    .transpose()
                    .map_err(bad_value)?,
                body: self.body()?,
            })
            .and_then(|send| self.check_ack().map(|()| send)),
            "typing" => Ok(Command::Typing {
                room: self.room()?,
                on: self.on.unwrap_or(true),
            }),
            "history" => Ok(Command::History {
                room: self.room()?,
                before: self.before.map(|before| before.min(OFFSET_LIMIT)),
                limit: clamp(self.limit.unwrap_or(DEFAULT_HISTORY)),
            }),
            "members" => Ok(Command::Members { room: self.room()? }),
            "rooms" => Ok(Command::Rooms),
            "ping" => Ok(Command::Ping),
            other => {
                let shown: String = other.chars().take(40).collect();
                Err(bad_frame(None, format!("unknown type {shown:?}")))
            }
        }
    }

    fn room(&self) -> Result<RoomId, DecodeError> {
        let Some(room) = self.room.as_deref() else {
            return Err(bad_frame(None, "'room' is missing".to_owned()));
        };
        RoomId::new(room).map_err(|error| DecodeError {
            code: ErrorCode::BadRoom,
            message: error.to_string(),
            id: None,
        })
    }

    /// A promise that cannot be kept is refused, not weakened.
    fn check_ack(&self) -> Result<(), DecodeError> {
        match &self.ack {
            None => Ok(()),
            Some(level) if level == "stream" => Ok(()),
            Some(level) if level == "replicated" || level == "archived" => Err(bad_frame(
                None,
                format!("'ack': {level} is not there yet, only \"stream\""),
            )),
            Some(_) => Err(bad_frame(None, "'ack' must be \"stream\"".to_owned())),
        }
    }

    fn body(&self) -> Result<Body, DecodeError> {
        let Some(raw) = self.body else {
            return Err(bad_frame(None, "'body' is missing".to_owned()));
        };
        let value: Value = serde_json::from_str(raw.get())
            .map_err(|error| bad_frame(None, format!("'body' is not valid: {error}")))?;
        Ok(Body::from(&value))
    }

    fn join_from(&self) -> Result<JoinFrom, DecodeError> {
        match (&self.since, self.recent) {
            (Some(since), _) if since.position.offset >= OFFSET_LIMIT => Err(bad_frame(
                None,
                "'since.offset' must stay below 2^53".to_owned(),
            )),
            (Some(since), _) => Ok(JoinFrom::Since(since.clone())),
            (None, Some(recent)) => Ok(JoinFrom::Recent(clamp(recent))),
            (None, None) => Ok(JoinFrom::Now),
        }
    }
}

/// A count as asked for; the node clamps it to its page size.
fn clamp(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn bad_frame(id: Option<RequestId>, message: String) -> DecodeError {
    DecodeError {
        code: ErrorCode::BadFrame,
        message,
        id,
    }
}

fn bad_value(error: InvalidId) -> DecodeError {
    bad_frame(None, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str) -> Command {
        decode_command(text).unwrap().command
    }

    fn refusal(text: &str) -> (ErrorCode, String) {
        let error = decode_command(text).unwrap_err();
        (error.code, error.message)
    }

    #[test]
    fn a_promise_that_cannot_be_kept_is_refused() {
        let send = |ack: &str| {
            decode_command(&format!(
                r#"{{"type":"send","room":"r","body":1,"ack":{ack}}}"#
            ))
        };
        assert!(send("\"stream\"").is_ok());
        assert!(send("null").is_ok());
        for level in ["\"replicated\"", "\"archived\"", "\"foo\"", "5"] {
            let error = send(level).unwrap_err();
            assert_eq!(error.code, ErrorCode::BadFrame, "{level}");
            assert!(error.message.contains("'ack'"), "{}", error.message);
        }
    }

    #[test]
    fn ids_are_numbers_or_strings_and_come_back_as_sent() {
        for id in ["7", "1.5", "\"a-1\""] {
            let request = decode_command(&format!(r#"{{"type":"ping","id":{id}}}"#)).unwrap();
            assert_eq!(serde_json::to_string(&request.id).unwrap(), id);
        }
        assert_eq!(decode_command(r#"{"type":"ping"}"#).unwrap().id, None);
        assert_eq!(
            refusal(r#"{"type":"ping","id":[1]}"#).0,
            ErrorCode::BadFrame
        );
    }

    #[test]
    fn an_error_repeats_the_id() {
        let error = decode_command(r#"{"type":"send","id":4,"room":"a b","body":1}"#).unwrap_err();
        assert_eq!(error.code, ErrorCode::BadRoom);
        assert_eq!(error.id, Some(RequestId::Number(4.into())));
        let error = decode_command(r#"{"type":"send","id":5,"nonce":7}"#).unwrap_err();
        assert_eq!(error.id, Some(RequestId::Number(5.into())));
    }

    #[test]
    fn a_join_starts_now_or_recently_or_since() {
        let room = RoomId::new("lobby").unwrap();
        let from = |text: &str| match decode(text) {
            Command::Join { room: joined, from } => {
                assert_eq!(joined, room);
                from
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(from(r#"{"type":"join","room":"lobby"}"#), JoinFrom::Now);
        assert_eq!(
            from(r#"{"type":"join","room":"lobby","recent":5}"#),
            JoinFrom::Recent(5)
        );
        let since = from(r#"{"type":"join","room":"lobby","since":{"epoch":"k3","offset":41}}"#);
        let JoinFrom::Since(since) = since else {
            panic!("{since:?}")
        };
        assert_eq!(
            (since.position.epoch.as_str(), since.position.offset),
            ("k3", 41)
        );
    }

    #[test]
    fn a_body_is_kept_in_compact_form() {
        let text =
            r#"{ "type":"send", "room":"r", "body": { "b" : [1, 2.50, "\u00e4"], "a":{} } }"#;
        let Command::Send { body, nonce, .. } = decode(text) else {
            panic!("no send")
        };
        assert_eq!(body.as_str(), r#"{"b":[1,2.5,"ä"],"a":{}}"#);
        assert_eq!(nonce, None);
        let null = decode(r#"{"type":"send","room":"r","body":null}"#);
        assert!(matches!(null, Command::Send { body, .. } if body.as_str() == "null"));
    }

    #[test]
    fn hostile_json_is_refused_with_a_reason() {
        let deep = format!(
            r#"{{"type":"send","room":"r","body":{}"#,
            "[".repeat(10_000)
        );
        for text in [
            "",
            "[]",
            "nonsense",
            r#"{"type":"fly"}"#,
            r#"{"room":"r"}"#,
            r#"{"type":"send","room":"r"}"#,
            r#"{"type":"send","room":"r","body":"\ud800"}"#,
            r#"{"type":"send","room":"r","body":1e999}"#,
            r#"{"type":"join","room":"r","since":{"epoch":"e","offset":-1}}"#,
            r#"{"type":"join","room":"r","since":{"epoch":"e","offset":9007199254740992}}"#,
            deep.as_str(),
        ] {
            let (code, message) = refusal(text);
            assert_eq!(code, ErrorCode::BadFrame, "{text:.60}");
            assert!(!message.is_empty());
        }
    }

    #[test]
    fn unknown_fields_are_ignored() {
        assert_eq!(decode(r#"{"type":"rooms","colour":"red"}"#), Command::Rooms);
    }
}
