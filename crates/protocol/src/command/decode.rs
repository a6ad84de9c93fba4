//! Reading a command: one JSON object a text frame, in one pass.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    AckLevel, Body, Command, DecodeError, HistorySpan, JoinFrom, Request, RequestId, Since, Terms,
};
use crate::id::OFFSET_LIMIT;
use crate::{ErrorCode, InvalidId, Nonce, ReactionKey, RoomId};

/// Every field that a command may have; what a command does not know is ignored.
#[derive(Deserialize)]
#[serde(expecting = "an object with the fields of a command")]
struct CommandFields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    room: Option<Cow<'a, str>>,
    token: Option<String>,
    since: Option<Since>,
    recent: Option<u64>,
    #[serde(borrow)]
    nonce: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "any_value")]
    body: Option<&'a RawValue>,
    #[serde(borrow)]
    ack: Option<&'a RawValue>,
    on: Option<bool>,
    target: Option<u64>,
    #[serde(borrow)]
    key: Option<Cow<'a, str>>,
    offset: Option<u64>,
    before: Option<u64>,
    after: Option<u64>,
    around: Option<u64>,
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
    let mut fields: CommandFields<'_> = serde_json::from_str(text)
        .map_err(|error| bad_frame(salvage_id(text), format!("not a command: {error}")))?;
    let id = fields.id.map(request_id).transpose()?;
    let Some(kind) = fields.kind.take() else {
        return Err(bad_frame(id, "'type' is missing".to_owned()));
    };
    fields
        .command(&kind)
        .map(|command| Request {
            id: id.clone(),
            command,
        })
        .map_err(|error| DecodeError { id, ..error })
}

/// Reads the fields of a command whose type is known already. Without a room it means `room`; an id in
/// it means nothing.
///
/// # Errors
/// [`DecodeError`] says what is wrong with the fields; it has no id.
pub fn decode_named_command(
    kind: &str,
    fields: &str,
    room: &RoomId,
) -> Result<Command, DecodeError> {
    let mut fields: CommandFields<'_> = serde_json::from_str(fields)
        .map_err(|error| bad_frame(None, format!("not a command: {error}")))?;
    fields
        .room
        .get_or_insert_with(|| Cow::Borrowed(room.as_str()));
    fields.command(kind)
}

fn request_id(value: &RawValue) -> Result<RequestId, DecodeError> {
    RequestId::read(value.get()).ok_or_else(|| {
        let rule = RequestId::MAX_BYTES;
        let message = format!("'id' must be a number or a string of at most {rule} bytes");
        bad_frame(None, message)
    })
}

/// The id of a frame that is no command because of something else in it.
fn salvage_id(text: &str) -> Option<RequestId> {
    #[derive(Deserialize)]
    struct OnlyId {
        id: RequestId,
    }
    let OnlyId { id } = serde_json::from_str(text).ok()?;
    Some(id)
}

impl CommandFields<'_> {
    fn command(self, kind: &str) -> Result<Command, DecodeError> {
        match kind {
            "hello" => Ok(Command::Hello { token: self.token }),
            "join" => Ok(Command::Join {
                room: self.room()?,
                from: self.join_from()?,
            }),
            "leave" => Ok(Command::Leave { room: self.room()? }),
            "send" => Ok(Command::Send {
                room: self.room()?,
                terms: self.terms()?,
                body: self.body()?,
            }),
            "edit" => Ok(Command::Edit {
                room: self.room()?,
                target: number("target", self.target)?,
                terms: self.terms()?,
                body: self.body()?,
            }),
            "delete" => Ok(Command::Delete {
                room: self.room()?,
                target: number("target", self.target)?,
                terms: self.terms()?,
            }),
            "react" => Ok(Command::React {
                room: self.room()?,
                target: number("target", self.target)?,
                terms: self.terms()?,
                key: self.key()?,
                on: self.on.unwrap_or(true),
            }),
            "read" => Ok(Command::Read {
                room: self.room()?,
                offset: number("offset", self.offset)?,
            }),
            "typing" => Ok(Command::Typing {
                room: self.room()?,
                on: self.on.unwrap_or(true),
            }),
            "history" => Ok(Command::History {
                room: self.room()?,
                span: self.span()?,
                limit: clamp(self.limit.unwrap_or(DEFAULT_HISTORY)),
            }),
            "members" => Ok(Command::Members { room: self.room()? }),
            "rooms" => Ok(Command::Rooms),
            "refresh" => Ok(Command::Refresh {
                token: self.token.ok_or_else(missing_token)?,
            }),
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

    fn terms(&self) -> Result<Terms, DecodeError> {
        let nonce = self.nonce.as_deref().map(Nonce::new).transpose();
        Ok(Terms {
            nonce: nonce.map_err(bad_value)?,
            ack: self.ack()?,
        })
    }

    fn ack(&self) -> Result<Option<AckLevel>, DecodeError> {
        let level = self.ack.map(|level| serde_json::from_str(level.get()));
        level.transpose().map_err(|_| {
            let levels = "'ack' must be \"stream\", \"replicated\" or \"archived\"";
            bad_frame(None, levels.to_owned())
        })
    }

    fn key(&self) -> Result<ReactionKey, DecodeError> {
        let Some(key) = self.key.as_deref() else {
            return Err(bad_frame(None, "'key' is missing".to_owned()));
        };
        ReactionKey::new(key).map_err(bad_value)
    }

    fn span(&self) -> Result<HistorySpan, DecodeError> {
        let clamp = |offset: u64| offset.min(OFFSET_LIMIT);
        match (self.before, self.after, self.around) {
            (before, None, None) => Ok(HistorySpan::Before(before.map(clamp))),
            (None, Some(after), None) => Ok(HistorySpan::After(clamp(after))),
            (None, None, Some(around)) => Ok(HistorySpan::Around(clamp(around))),
            _ => Err(bad_frame(
                None,
                "give only one of 'before', 'after' and 'around'".to_owned(),
            )),
        }
    }

    fn body(&self) -> Result<Body, DecodeError> {
        let Some(raw) = self.body else {
            return Err(bad_frame(None, "'body' is missing".to_owned()));
        };
        Body::new(raw).map_err(|error| bad_frame(None, format!("'body' is not valid: {error}")))
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

fn missing_token() -> DecodeError {
    bad_frame(None, "'token' is missing".to_owned())
}

fn number(name: &str, value: Option<u64>) -> Result<u64, DecodeError> {
    match value {
        None => Err(bad_frame(None, format!("'{name}' is missing"))),
        Some(value) if value >= OFFSET_LIMIT => {
            Err(bad_frame(None, format!("'{name}' must stay below 2^53")))
        }
        Some(value) => Ok(value),
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
    fn a_send_may_ask_for_more_than_the_stream() {
        let ack = |ack: &str| {
            let text = format!(r#"{{"type":"send","room":"r","body":1,"ack":{ack}}}"#);
            decode_command(&text).map(|request| match request.command {
                Command::Send { terms, .. } => terms.ack,
                other => panic!("{other:?}"),
            })
        };
        assert_eq!(ack("null"), Ok(None));
        assert_eq!(ack("\"stream\""), Ok(Some(AckLevel::Stream)));
        assert_eq!(ack("\"replicated\""), Ok(Some(AckLevel::Replicated)));
        assert_eq!(ack("\"archived\""), Ok(Some(AckLevel::Archived)));
        for level in ["\"foo\"", "5"] {
            let error = ack(level).unwrap_err();
            assert_eq!(error.code, ErrorCode::BadFrame, "{level}");
            assert!(error.message.contains("'ack'"), "{}", error.message);
        }
    }

    #[test]
    fn changes_name_their_target() {
        let react = r#"{"type":"react","room":"r","target":5,"key":"👍"}"#;
        assert!(matches!(
            decode(react),
            Command::React { target: 5, on: true, key, .. } if key.as_str() == "👍"
        ));
        let delete = r#"{"type":"delete","room":"r","target":5,"nonce":"n"}"#;
        assert!(matches!(decode(delete), Command::Delete { target: 5, .. }));
        for (text, missing) in [
            (r#"{"type":"edit","room":"r","body":1}"#, "'target'"),
            (r#"{"type":"edit","room":"r","target":5}"#, "'body'"),
            (r#"{"type":"react","room":"r","target":5}"#, "'key'"),
            (
                r#"{"type":"react","room":"r","target":5,"key":""}"#,
                "reaction",
            ),
            (r#"{"type":"read","room":"r"}"#, "'offset'"),
            (
                r#"{"type":"read","room":"r","offset":9007199254740992}"#,
                "2^53",
            ),
        ] {
            let (code, message) = refusal(text);
            assert_eq!(code, ErrorCode::BadFrame);
            assert!(message.contains(missing), "{message}");
        }
    }

    #[test]
    fn history_goes_one_way() {
        let span = |more: &str| {
            let text = format!(r#"{{"type":"history","room":"r"{more}}}"#);
            decode_command(&text).map(|request| match request.command {
                Command::History { span, .. } => span,
                other => panic!("{other:?}"),
            })
        };
        assert_eq!(span(""), Ok(HistorySpan::Before(None)));
        assert_eq!(span(r#","before":7"#), Ok(HistorySpan::Before(Some(7))));
        assert_eq!(span(r#","after":7"#), Ok(HistorySpan::After(7)));
        assert_eq!(span(r#","around":7"#), Ok(HistorySpan::Around(7)));
        assert!(span(r#","around":7,"after":7"#).is_err());
    }

    #[test]
    fn ids_are_numbers_or_strings_and_come_back_as_sent() {
        let ids = [
            "7",
            "1.5",
            "-0",
            "1e2",
            "12345678901234567890123",
            "\"a-1\"",
        ];
        for id in ids {
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
        assert_eq!(error.id, Some(4.into()));
        let error = decode_command(r#"{"type":"send","id":5,"nonce":7}"#).unwrap_err();
        assert_eq!(error.id, Some(5.into()));
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
    fn a_body_is_kept_as_it_was_written() {
        let text =
            r#"{ "type":"send", "room":"r", "body": { "b" : [1, 2.50, "\u00e4"], "a":{} } }"#;
        let Command::Send { body, terms, .. } = decode(text) else {
            panic!("no send")
        };
        assert_eq!(body.as_str(), r#"{"b":[1,2.50,"\u00e4"],"a":{}}"#);
        assert_eq!(terms, Terms::default());
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
    fn a_named_command_has_its_room_and_no_id() {
        let room = RoomId::new("lobby").unwrap();
        let send = decode_named_command("send", r#"{"id":[7],"body":-0}"#, &room).unwrap();
        let Command::Send {
            room: sent, body, ..
        } = send
        else {
            panic!("no send")
        };
        assert_eq!((&sent, body.as_str()), (&room, "-0"));
        let other = decode_named_command("leave", r#"{"room":"other"}"#, &room).unwrap();
        let other_room = RoomId::new("other").unwrap();
        assert_eq!(other, Command::Leave { room: other_room });
        assert!(decode_named_command("send", "{}", &room).is_err());
    }

    #[test]
    fn unknown_fields_are_ignored() {
        assert_eq!(decode(r#"{"type":"rooms","colour":"red"}"#), Command::Rooms);
    }
}
