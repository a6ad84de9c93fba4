//! Frames as the events of a `text/event-stream`.

use std::io::Write;

use hubbub_protocol::{CloseCode, Epoch, Frame, Position, Since};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

/// Frames that have a place in the room's order.
const DURABLE: [&str; 4] = ["message", "edited", "deleted", "reacted"];
/// Before the events of a `joined` frame; nothing that a user chose stands before it.
const EVENTS: &str = ",\"events\":[";

/// Sent while nothing happens.
pub(super) const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

/// How a stream tells what happens.
#[derive(Debug, Clone)]
pub(super) enum Form {
    /// Each event of the room stands by itself, with its position as id. `since` is the position
    /// that the client resumes from.
    OneRoom { since: Option<Since> },
    /// Events have no id: a position in one of several rooms is no position to resume from.
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
pub(super) fn frame(frame: &Frame, form: &Form, out: &mut Vec<u8>) {
    let text = frame.as_str();
    let Form::OneRoom { since } = form else {
        return event(kind_of(text), text, None, out);
    };
    match kind_of(text) {
        "joined" => joined(text, since.as_ref(), out),
        // The events after a live reset follow its offset, so a client resumes from there.
        "reset" => event("reset", text, position_of(text).as_ref(), out),
        kind if DURABLE.contains(&kind) => event(kind, text, position_of(text).as_ref(), out),
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

/// A position that no room has: a client that resumes from it starts over.
pub(super) fn nowhere() -> Since {
    Since::at(Epoch::new("-").expect("a dash is a valid epoch"), 0)
}

fn joined(text: &str, since: Option<&Since>, out: &mut Vec<u8>) {
    let (Ok(joined), Some(head)) = (serde_json::from_str::<Joined<'_>>(text), text.find(EVENTS))
    else {
        tracing::error!("a frame of our own cannot be read");
        return event("joined", text, None, out);
    };
    if since.is_some() && !joined.recovered {
        // Without an id: a client that loses the connection before the newest page is told again.
        let Position { epoch, offset } = &joined.position;
        let room = joined.room.get();
        let reset =
            format!(r#"{{"type":"reset","room":{room},"epoch":"{epoch}","offset":{offset}}}"#);
        event("reset", &reset, None, out);
    }
    let position = joined.events.is_empty().then(|| reached(&joined, since));
    let empty = format!("{}{EVENTS}]}}", &text[..head]);
    event("joined", &empty, position.as_ref(), out);
    for one in joined.events {
        let text = one.get();
        event(kind_of(text), text, position_of(text).as_ref(), out);
    }
}

/// The position after a join that brings no events. A client that has missed nothing keeps the
/// message id that it came with.
fn reached(joined: &Joined<'_>, since: Option<&Since>) -> Since {
    let Position { epoch, offset } = &joined.position;
    let same = since.filter(|since| joined.recovered && since.position == joined.position);
    same.cloned()
        .unwrap_or_else(|| Since::at(epoch.clone(), *offset))
}

fn event(kind: &str, json: &str, position: Option<&Since>, out: &mut Vec<u8>) {
    out.reserve(json.len() + 120);
    if let Some(position) = position {
        write_to(out, format_args!("id: {position}\n"));
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
    let kind = kind.and_then(|delay| delay.split_once('"'));
    kind.map_or("message", |(kind, _)| kind)
}

/// The position of an event or a reset, with the event's id where the frame has one.
fn position_of(text: &str) -> Option<Since> {
    if let Some((position, message)) = last_position(text).zip(message_of(text)) {
        return Some(Since::event(position, message));
    }
    let since: Since = serde_json::from_str(text).ok()?;
    let message = since.message.unwrap_or_default();
    Some(Since::event(since.position, &message))
}

/// The last two fields of an event.
fn last_position(text: &str) -> Option<Position> {
    let (delay, offset) = text.strip_suffix('}')?.rsplit_once(r#","offset":"#)?;
    let (_, epoch) = delay.strip_suffix('"')?.rsplit_once(r#","epoch":""#)?;
    let epoch = Epoch::new(epoch).ok()?;
    let offset = offset.parse().ok()?;
    Some(Position { epoch, offset })
}

/// The third field of an event. Neither it nor the room before it ever has an escaped character.
fn message_of(text: &str) -> Option<&str> {
    let (_, delay) = text.split_once(r#","room":""#)?;
    let (_, delay) = delay.split_once('"')?;
    let (message, _) = delay.strip_prefix(r#","message":""#)?.split_once('"')?;
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(json: &str, since: Option<&str>) -> String {
        let since = since.map(|since| since.parse().unwrap());
        write(json, &Form::OneRoom { since })
    }

    fn write(json: &str, form: &Form) -> String {
        let mut out = Vec::new();
        frame(&Frame::from_text(json.to_owned()), form, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_event_of_the_room_has_its_position_as_id() {
        let tricky = r#"{"type":"message","room":"r","message":"M1","body":",\"epoch\":\"x\",\"offset\":1,\"message\":\"M2\"}","ts":5,"epoch":"a:b","offset":58}"#;
        assert_eq!(
            encode(tricky, None),
            format!("id: a:b:58:M1\nevent: message\ndata: {tricky}\n\n")
        );
        // Of this event only the position is left.
        let vanished = r#"{"type":"message","room":"r","message":"-","deleted":true,"ts":0,"epoch":"e","offset":9}"#;
        assert!(encode(vanished, None).starts_with("id: e:9\n"));
        let typing = r#"{"type":"typing","room":"r","user":{},"on":true}"#;
        assert_eq!(
            encode(typing, None),
            format!("event: typing\ndata: {typing}\n\n")
        );
    }

    #[test]
    fn every_kind_of_event_has_its_message_in_its_id() {
        for kind in DURABLE {
            let text = format!(
                r#"{{"type":"{kind}","room":"r","message":"M4","target":1,"ts":1,"epoch":"e","offset":4}}"#
            );
            assert!(encode(&text, None).starts_with("id: e:4:M4\n"), "{text}");
        }
    }

    #[test]
    fn a_live_reset_is_a_position_to_resume_from() {
        let reset = r#"{"type":"reset","room":"r","epoch":"f","offset":12}"#;
        let text = format!("id: f:12\nevent: reset\ndata: {reset}\n\n");
        assert_eq!(encode(reset, None), text);
        assert_eq!(
            write(reset, &Form::AsOnSocket),
            format!("event: reset\ndata: {reset}\n\n")
        );
    }

    #[test]
    fn the_events_of_a_join_are_events_of_their_own() {
        let one = r#"{"type":"message","room":"r","message":"M1","ts":1,"epoch":"e","offset":1}"#;
        let two = r#"{"type":"edited","room":"r","message":"M2","ts":1,"epoch":"e","offset":2}"#;
        let head = r#"{"type":"joined","room":"r","epoch":"e","offset":2,"recovered":true"#;
        let text = encode(&format!(r#"{head},"events":[{one},{two}]}}"#), Some("e:0"));
        let expected = format!(
            "event: joined\ndata: {head},\"events\":[]}}\n\n\
             id: e:1:M1\nevent: message\ndata: {one}\n\n\
             id: e:2:M2\nevent: edited\ndata: {two}\n\n"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn a_join_without_events_keeps_the_message_that_the_client_came_with() {
        let joined = |recovered: bool| {
            format!(
                r#"{{"type":"joined","room":"r","epoch":"e","offset":2,"recovered":{recovered},"events":[]}}"#
            )
        };
        let id_after = |since: Option<&str>, recovered| {
            let text = encode(&joined(recovered), since);
            let (_, id) = text.split_once("id: ").unwrap();
            id.split_once('\n').unwrap().0.to_owned()
        };
        assert_eq!(id_after(None, true), "e:2");
        assert_eq!(id_after(Some("e:2"), true), "e:2");
        assert_eq!(id_after(Some("e:2:M2"), true), "e:2:M2");
        assert_eq!(id_after(Some("e:1:M1"), true), "e:2");
        assert_eq!(id_after(Some("e:2:M2"), false), "e:2", "another stream");
    }

    #[test]
    fn of_several_rooms_frames_are_as_on_a_socket() {
        let one = r#"{"type":"message","room":"r","ts":1,"epoch":"e","offset":1}"#;
        let joined = format!(
            r#"{{"type":"joined","id":"r","room":"r","epoch":"e","offset":1,"recovered":false,"events":[{one}]}}"#
        );
        for (kind, json) in [("message", one), ("joined", &joined)] {
            let text = write(json, &Form::AsOnSocket);
            assert_eq!(text, format!("event: {kind}\ndata: {json}\n\n"));
        }
    }

    #[test]
    fn a_client_that_cannot_resume_is_told_to_start_over() {
        let head = r#"{"type":"joined","room":"r","epoch":"e","offset":2,"recovered":false"#;
        let frame = format!(r#"{head},"events":[]}}"#);
        let reset = "event: reset\ndata: {\"type\":\"reset\",\"room\":\"r\",\"epoch\":\"e\",\"offset\":2}\n\n";
        assert!(encode(&frame, Some("d:7:M7")).starts_with(reset));
        assert!(!encode(&frame, None).contains("reset"));
    }
}
