//! Socket.IO 5 in Engine.IO 4 over a WebSocket. Packets are text: `4` is a message, and inside it
//! `0` is CONNECT, `2` EVENT, `3` ACK, `4` CONNECT_ERROR.

use super::frame::ServerFrame;
use super::hubbub;
use crate::message;
use crate::worker::wire;

pub(super) fn request(host: &str) -> String {
    wire::upgrade(host, "/socket.io/?EIO=4&transport=websocket", "")
}

pub(super) fn connect(token: Option<&str>) -> String {
    let auth = token.map(|token| format!(r#"{{"token":"{token}"}}"#));
    format!("40{}", auth.unwrap_or_default())
}

pub(super) fn join(room: &str) -> String {
    format!(r#"421["join",{{"room":"{room}"}}]"#)
}

pub(super) fn send(room: &str, number: u64, body: &str) -> String {
    format!(r#"42{number}["send",{{"room":"{room}","nonce":"b-{number}","body":{body}}}]"#)
}

pub(super) fn parse(frame: &[u8]) -> ServerFrame<'_> {
    match frame {
        b"2" => ServerFrame::Reply("3".into()),
        [b'4', b'0', ..] => ServerFrame::Welcome(None),
        [b'4', b'2', event @ ..] => event_of(event),
        [b'4', b'3', answer @ ..] => answer_of(answer),
        [b'4', b'4', ..] => ServerFrame::Refused(frame),
        _ => ServerFrame::Ignored,
    }
}

fn event_of(event: &[u8]) -> ServerFrame<'_> {
    let is = |name: &[u8]| event[2.min(event.len())..].starts_with(name);
    if is(b"message\"")
        && let Some(number) = message::number(event, "n")
    {
        let offset = memchr::memmem::rfind(event, br#""offset":"#);
        return ServerFrame::Message {
            number,
            offset: offset.and_then(|at| message::number(&event[at..], "offset")),
        };
    }
    if is(b"lagged\"") {
        return ServerFrame::Lagged;
    }
    if is(b"error\"") {
        return ServerFrame::Refused(event);
    }
    ServerFrame::Ignored
}

/// Reads an ack: the frame of a Hubbub node, or any answer of another server.
fn answer_of(answer: &[u8]) -> ServerFrame<'_> {
    let is = |kind: &[u8]| memchr::memmem::find(answer, kind).is_some();
    if is(br#""type":"joined""#) {
        hubbub::joined(answer)
    } else if is(br#""type":"error""#) {
        ServerFrame::Refused(answer)
    } else {
        message::leading_number(answer).map_or(ServerFrame::Ignored, ServerFrame::Sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frames_of_a_server_are_told_apart() {
        let message = |offset| ServerFrame::Message { number: 7, offset };
        let sealed = br#"42["message",{"type":"message","room":"r","body":{"n":7,"p":"x"},"ts":1,"epoch":"e","offset":9},"p/9/e"]"#;
        let joined = ServerFrame::Joined {
            epoch: Some("e"),
            offset: 9,
            recovered: false,
        };
        for (frame, expected) in [
            (b"2".as_slice(), ServerFrame::Reply("3".into())),
            (b"0{\"sid\":\"a\"}", ServerFrame::Ignored),
            (b"40{\"sid\":\"a\"}", ServerFrame::Welcome(None)),
            (br#"431[{"type":"joined","epoch":"e","offset":9}]"#, joined),
            (b"437[{\"type\":\"sent\"}]", ServerFrame::Sent(7)),
            (b"42[\"message\",{\"n\":7,\"p\":\"x\"}]", message(None)),
            (sealed, message(Some(9))),
            (b"42[\"presence\",{\"n\":7}]", ServerFrame::Ignored),
            (b"42", ServerFrame::Ignored),
        ] {
            assert_eq!(parse(frame), expected, "{}", String::from_utf8_lossy(frame));
        }
    }
}
