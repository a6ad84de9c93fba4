//! Frames as the events of a `text/event-stream`.

use std::io::Write;

use hubbub_protocol::command::Since;
use hubbub_protocol::id::OFFSET_LIMIT;
use hubbub_protocol::{CloseCode, Epoch, Frame, Position};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

/// Frames that have a place in the room's order.
const DURABLE: [&str; 4] = ["message", "edited", "deleted", "reacted"];
/// Between the parts of an event's id; an epoch may have one in it.
const SEPARATOR: char = ':';
/// Before the events of a `joined` frame; nothing that a user chose stands before it.
const EVENTS: &str = ",\"events\":[";

/// Sent while nothing happens.
pub(super) const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

/// How a stream tells what happens.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// Each event of the room stands by itself, with its place as id. `resumes`: the client asked for
    /// what it has missed.
    OneRoom { resumes: bool },
    /// A place in one of several rooms would be no place to come back to.
    AsOnSocket,
}

#[derive(Deserialize)]
struct Joined<'a> {
    #[serde(borrow)]
    room: &'a RawValue,
    #[serde(flatten)]
    position: Position,
    recovered: bool,
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
}

/// After how many milliseconds the client shall come back.
pub(super) fn retry(after_ms: u32, out: &mut Vec<u8>) {
    write_to(out, format_args!("retry: {after_ms}\n\n"));
}

/// A frame as one event, or as several: those that `joined` has are events of their own.
pub(super) fn frame(frame: &Frame, form: Form, out: &mut Vec<u8>) {
    let text = frame.as_str();
    let Form::OneRoom { resumes } = form else {
        return event(kind_of(text), text, None, out);
    };
    match kind_of(text) {
        "joined" => joined(text, resumes, out),
        kind if DURABLE.contains(&kind) => event(kind, text, place_of(text).as_ref(), out),
        kind => event(kind, text, None, out),
    }
}

/// The last event of a stream.
pub(super) fn close(code: CloseCode, out: &mut Vec<u8>) {
    let frame = json!({
        "type": "close",
        "code": code.as_u16(),
        "reason": code.reason(),
        "reconnect": CloseCode::is_resumable(code.as_u16()),
    });
    event("close", &frame.to_string(), None, out);
}

/// The place that an event's id says; `None`: it was no id of ours.
pub(super) fn since(id: &str) -> Option<Since> {
    let (epoch, offset) = id.rsplit_once(SEPARATOR)?;
    let is_number = !offset.is_empty() && offset.bytes().all(|byte| byte.is_ascii_digit());
    let offset = offset.parse().ok().filter(|_| is_number)?;
    let epoch = Epoch::new(epoch).ok()?;
    (offset < OFFSET_LIMIT).then_some(Since {
        position: Position { epoch, offset },
        message: None,
    })
}

/// A place where nobody can be: what comes of it is that the client starts over.
pub(super) fn nowhere() -> Since {
    let epoch = Epoch::new("-").expect("a dash is a valid epoch");
    let position = Position { epoch, offset: 0 };
    Since {
        position,
        message: None,
    }
}

fn joined(text: &str, resumes: bool, out: &mut Vec<u8>) {
    let (Ok(joined), Some(head)) = (serde_json::from_str::<Joined<'_>>(text), text.find(EVENTS))
    else {
        tracing::error!("a frame of our own cannot be read");
        return event("joined", text, None, out);
    };
    let Position { epoch, offset } = &joined.position;
    if resumes && !joined.recovered {
        let room = joined.room.get();
        let reset =
            format!(r#"{{"type":"reset","room":{room},"epoch":"{epoch}","offset":{offset}}}"#);
        event("reset", &reset, None, out);
    }
    let place = joined.events.is_empty().then_some(&joined.position);
    let empty = format!("{}{EVENTS}]}}", &text[..head]);
    event("joined", &empty, place, out);
    for one in joined.events {
        let text = one.get();
        event(kind_of(text), text, place_of(text).as_ref(), out);
    }
}

fn event(kind: &str, json: &str, place: Option<&Position>, out: &mut Vec<u8>) {
    out.reserve(json.len() + 80);
    if let Some(Position { epoch, offset }) = place {
        write_to(out, format_args!("id: {epoch}{SEPARATOR}{offset}\n"));
    }
    // Compact JSON has no line break in it.
    write_to(out, format_args!("event: {kind}\ndata: {json}\n\n"));
}

fn write_to(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a vector takes everything");
}

/// The first field of every frame.
fn kind_of(text: &str) -> &str {
    let kind = text.strip_prefix(r#"{"type":""#);
    let kind = kind.and_then(|rest| rest.split_once('"'));
    kind.map_or("message", |(kind, _)| kind)
}

/// The last two fields of an event.
fn place_of(text: &str) -> Option<Position> {
    let (rest, offset) = text.strip_suffix('}')?.rsplit_once(r#","offset":"#)?;
    let (_, epoch) = rest.strip_suffix('"')?.rsplit_once(r#","epoch":""#)?;
    let epoch = Epoch::new(epoch).ok();
    let place = epoch.zip(offset.parse().ok());
    let place = place.map(|(epoch, offset)| Position { epoch, offset });
    place.or_else(|| serde_json::from_str(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(json: &str, resumes: bool) -> String {
        write(json, Form::OneRoom { resumes })
    }

    fn write(json: &str, form: Form) -> String {
        let mut out = Vec::new();
        frame(&Frame::from_text(json.to_owned()), form, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_event_of_the_room_has_its_place_as_id() {
        let tricky = r#"{"type":"message","body":",\"epoch\":\"x\",\"offset\":1}","ts":5,"epoch":"a:b","offset":58}"#;
        assert_eq!(
            encode(tricky, false),
            format!("id: a:b:58\nevent: message\ndata: {tricky}\n\n")
        );
        let typing = r#"{"type":"typing","room":"r","user":{},"on":true}"#;
        assert_eq!(
            encode(typing, false),
            format!("event: typing\ndata: {typing}\n\n")
        );
    }

    #[test]
    fn the_events_of_a_join_are_events_of_their_own() {
        let one = r#"{"type":"message","ts":1,"epoch":"e","offset":1}"#;
        let two = r#"{"type":"edited","ts":1,"epoch":"e","offset":2}"#;
        let head = r#"{"type":"joined","room":"r","epoch":"e","offset":2,"recovered":true"#;
        let text = encode(&format!(r#"{head},"events":[{one},{two}]}}"#), true);
        let expected = format!(
            "event: joined\ndata: {head},\"events\":[]}}\n\n\
             id: e:1\nevent: message\ndata: {one}\n\n\
             id: e:2\nevent: edited\ndata: {two}\n\n"
        );
        assert_eq!(text, expected);
        let nothing = encode(&format!(r#"{head},"events":[]}}"#), true);
        assert!(nothing.starts_with("id: e:2\nevent: joined\n"), "{nothing}");
    }

    #[test]
    fn of_several_rooms_frames_are_as_on_a_socket() {
        let one = r#"{"type":"message","room":"r","ts":1,"epoch":"e","offset":1}"#;
        let joined = format!(
            r#"{{"type":"joined","id":"r","room":"r","epoch":"e","offset":1,"recovered":false,"events":[{one}]}}"#
        );
        for (kind, json) in [("message", one), ("joined", &joined)] {
            let text = write(json, Form::AsOnSocket);
            assert_eq!(text, format!("event: {kind}\ndata: {json}\n\n"));
        }
    }

    #[test]
    fn who_cannot_resume_is_told_to_start_over() {
        let head = r#"{"type":"joined","room":"r","epoch":"e","offset":2,"recovered":false"#;
        let frame = format!(r#"{head},"events":[]}}"#);
        let reset = "event: reset\ndata: {\"type\":\"reset\",\"room\":\"r\",\"epoch\":\"e\",\"offset\":2}\n\n";
        assert!(encode(&frame, true).starts_with(reset));
        assert!(!encode(&frame, false).contains("reset"));
    }

    #[test]
    fn an_id_is_read_back() {
        let read = |id: &str| since(id).map(|since| since.position);
        let place = read("a:b:58").unwrap();
        assert_eq!((place.epoch.as_str(), place.offset), ("a:b", 58));
        assert!(read("e:0").is_some());
        for bad in [
            "",
            "e",
            "e:",
            ":5",
            "e:-1",
            "e:+1",
            "e:1.5",
            "e:x",
            "e f:1",
            "e:9007199254740992",
            "e:99999999999999999999999",
            "\u{1f419}:1",
        ] {
            assert!(read(bad).is_none(), "{bad}");
        }
        let long = format!("{}:1", "e".repeat(33));
        assert!(read(&long).is_none());
    }
}
