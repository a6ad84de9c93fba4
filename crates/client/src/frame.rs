//! Reads the server's frames. The server has its own types for them.

use std::time::Duration;

use hubbub_protocol::{Epoch, RoomId, User};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::client_event::ClientEvent;
use crate::error::Refusal;
use crate::event::{Event, EventKind};
use crate::pace::SendLimits;
use crate::reply::{History, Joined, Members, RoomInfo, Sent};

/// The first frame of a connection.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Welcome {
    pub(crate) connection: String,
    pub(crate) node: String,
    pub(crate) user: User,
    pub(crate) ping_ms: u64,
    #[serde(default)]
    pub(crate) limits: SendLimits,
}

/// The content of a reply.
#[derive(Debug)]
pub(crate) enum Answer {
    Joined(Joined, Vec<Event>),
    Left,
    Sent(Sent),
    History(History),
    Members(Members),
    Rooms(Vec<RoomInfo>),
    /// The time at which the accepted token expires.
    Refreshed(u64),
    Pong,
    Error(Refusal),
}

/// Any frame of the server.
#[derive(Debug)]
pub(crate) enum Incoming {
    Welcome(Welcome),
    Answer(u64, Answer),
    Event(Event),
    /// Reset, lagged, presence, typing, read, an announcement, or an error that is no reply.
    Push(ClientEvent),
    /// The server has removed this user from a room.
    Removed(RoomId),
    /// The server asks the client to move to another node.
    Reconnect {
        after: Duration,
    },
    /// A frame of an unknown type, which is ignored.
    Unknown,
}

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    id: Option<Value>,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
    #[serde(default)]
    more: bool,
}

#[derive(Deserialize)]
struct RoomList {
    rooms: Vec<RoomInfo>,
}

#[derive(Deserialize)]
struct EventFields {
    #[serde(rename = "type")]
    kind: EventType,
    room: RoomId,
    epoch: Epoch,
    offset: u64,
    ts: u64,
    message: Option<String>,
    #[serde(alias = "by")]
    from: Option<User>,
    nonce: Option<String>,
    body: Option<Value>,
    target: Option<u64>,
    key: Option<String>,
    on: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum EventType {
    Message,
    Edited,
    Deleted,
    Reacted,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Push {
    Reset {
        room: RoomId,
        epoch: Epoch,
        offset: u64,
    },
    Lagged {
        room: RoomId,
        from: u64,
        to: u64,
    },
    Presence {
        room: RoomId,
        count: u64,
        joined: Vec<User>,
        left: Vec<User>,
    },
    Typing {
        room: RoomId,
        user: User,
        on: bool,
    },
    Read {
        room: RoomId,
        user: User,
        offset: u64,
    },
    Announcement {
        room: Option<RoomId>,
        text: String,
        ts: u64,
    },
}

#[derive(Deserialize)]
struct ErrorFields {
    code: String,
    message: String,
    retry_after_ms: Option<u64>,
}

#[derive(Deserialize)]
struct ReconnectFields {
    after_ms: u64,
}

#[derive(Deserialize)]
struct RefreshedFields {
    expires: u64,
}

#[derive(Deserialize)]
struct LeftFields {
    room: RoomId,
}

/// Reads one text frame.
///
/// # Errors
/// The text is not a frame of this protocol.
pub(crate) fn read(text: &str) -> Result<Incoming, serde_json::Error> {
    let head: Head = serde_json::from_str(text)?;
    let id = head.id.as_ref().and_then(Value::as_u64);
    let answer = match head.kind.as_str() {
        "message" | "edited" | "deleted" | "reacted" => {
            return read_event(text).map(Incoming::Event);
        }
        "welcome" => return Ok(Incoming::Welcome(serde_json::from_str(text)?)),
        "reset" | "lagged" | "presence" | "typing" | "read" | "announcement" => {
            return Ok(Incoming::Push(read_push(text)?));
        }
        "reconnect" => {
            let ReconnectFields { after_ms } = serde_json::from_str(text)?;
            let after = Duration::from_millis(after_ms);
            return Ok(Incoming::Reconnect { after });
        }
        "joined" => Answer::Joined(serde_json::from_str(text)?, read_page(text)?.events),
        "left" if id.is_none() => {
            let LeftFields { room } = serde_json::from_str(text)?;
            return Ok(Incoming::Removed(room));
        }
        "left" => Answer::Left,
        "refreshed" => {
            let RefreshedFields { expires } = serde_json::from_str(text)?;
            Answer::Refreshed(expires)
        }
        "sent" => Answer::Sent(serde_json::from_str(text)?),
        "history" => Answer::History(read_page(text)?),
        "members" => Answer::Members(serde_json::from_str(text)?),
        "rooms" => Answer::Rooms(serde_json::from_str::<RoomList>(text)?.rooms),
        "pong" => Answer::Pong,
        "error" => Answer::Error(read_error(text)?),
        _ => return Ok(Incoming::Unknown),
    };
    Ok(match (id, answer) {
        (Some(id), answer) => Incoming::Answer(id, answer),
        (None, Answer::Error(refusal)) => Incoming::Push(ClientEvent::Refused(refusal)),
        (None, _) => Incoming::Unknown,
    })
}

fn read_event(text: &str) -> Result<Event, serde_json::Error> {
    let fields: EventFields = serde_json::from_str(text)?;
    let kind = match fields.kind {
        EventType::Message => EventKind::Message,
        EventType::Edited => EventKind::Edited,
        EventType::Deleted => EventKind::Deleted,
        EventType::Reacted => EventKind::Reacted,
    };
    Ok(Event {
        kind,
        room: fields.room,
        epoch: fields.epoch,
        offset: fields.offset,
        message: fields.message,
        from: fields.from,
        ts: fields.ts,
        nonce: fields.nonce,
        body: fields.body,
        target: fields.target,
        reaction: fields.key.zip(fields.on),
        raw: text.to_owned(),
    })
}

fn read_page(text: &str) -> Result<History, serde_json::Error> {
    let page: Page<'_> = serde_json::from_str(text)?;
    let events: Result<Vec<Event>, _> = page
        .events
        .into_iter()
        .map(|event| read_event(event.get()))
        .collect();
    Ok(History {
        events: events?,
        more: page.more,
    })
}

fn read_push(text: &str) -> Result<ClientEvent, serde_json::Error> {
    Ok(match serde_json::from_str(text)? {
        Push::Reset {
            room,
            epoch,
            offset,
        } => ClientEvent::Reset {
            room,
            epoch,
            offset,
        },
        Push::Lagged { room, from, to } => ClientEvent::Lagged { room, from, to },
        Push::Presence {
            room,
            count,
            joined,
            left,
        } => ClientEvent::Presence {
            room,
            count,
            joined,
            left,
        },
        Push::Typing { room, user, on } => ClientEvent::Typing { room, user, on },
        Push::Read { room, user, offset } => ClientEvent::Read { room, user, offset },
        Push::Announcement { room, text, ts } => ClientEvent::Announcement { room, text, ts },
    })
}

fn read_error(text: &str) -> Result<Refusal, serde_json::Error> {
    let fields: ErrorFields = serde_json::from_str(text)?;
    Ok(Refusal {
        code: fields.code,
        message: fields.message,
        retry_after: fields.retry_after_ms.map(Duration::from_millis),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_a_page_keep_their_bytes() {
        let event = r#"{"type":"message","room":"r","message":"M1","from":{"id":"a","name":"A"},"ts":1,"body":{"z":1, "a":2.50},"epoch":"e","offset":1}"#;
        let text = format!(
            r#"{{"type":"joined","id":4,"room":"r","epoch":"e","offset":1,"recovered":true,"members":1,"rights":"rw","events":[{event}]}}"#
        );
        let Incoming::Answer(4, Answer::Joined(joined, events)) = read(&text).unwrap() else {
            panic!("no joined")
        };
        assert_eq!((joined.offset, joined.recovered), (1, true));
        assert_eq!(events[0].raw, event);
    }

    #[test]
    fn an_error_without_an_id_is_a_push() {
        let text = r#"{"type":"error","code":"not_joined","message":"join first"}"#;
        let Incoming::Push(ClientEvent::Refused(refusal)) = read(text).unwrap() else {
            panic!("no push")
        };
        assert_eq!(refusal.code, "not_joined");
        let text =
            r#"{"type":"error","id":3,"code":"rate_limited","message":"m","retry_after_ms":500}"#;
        let Incoming::Answer(3, Answer::Error(refusal)) = read(text).unwrap() else {
            panic!("no answer")
        };
        assert_eq!(refusal.retry_after, Some(Duration::from_millis(500)));
    }

    #[test]
    fn unknown_types_are_ignored_and_garbage_is_an_error() {
        assert!(matches!(
            read(r#"{"type":"weather"}"#),
            Ok(Incoming::Unknown)
        ));
        assert!(read("[]").is_err());
        assert!(read(r#"{"type":"message"}"#).is_err());
    }
}
