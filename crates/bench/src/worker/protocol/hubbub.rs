//! hubbub.v1.

use super::frame::{ServerFrame, Since};
use crate::message;
use crate::worker::wire;

pub(super) const HELLO: &str = r#"{"type":"hello"}"#;

pub(crate) fn request(host: &str, token: Option<&str>) -> String {
    let token = token.map(|token| format!("authorization: Bearer {token}\r\n"));
    let headers = format!(
        "sec-websocket-protocol: hubbub.v1\r\n{}",
        token.unwrap_or_default()
    );
    wire::upgrade(host, "/v1/ws", &headers)
}

pub(super) fn join(room: &str, Since { epoch, offset }: Since<'_>) -> String {
    match offset {
        0 => format!(r#"{{"type":"join","id":1,"room":"{room}"}}"#),
        offset => format!(
            r#"{{"type":"join","id":1,"room":"{room}","since":{{"epoch":"{epoch}","offset":{offset}}}}}"#
        ),
    }
}

pub(super) fn send(room: &str, number: u64, body: &str) -> String {
    format!(r#"{{"type":"send","id":{number},"room":"{room}","nonce":"b-{number}","body":{body}}}"#)
}

pub(super) fn parse(frame: &[u8]) -> Result<ServerFrame<'_>, String> {
    let kind = frame.strip_prefix(br#"{"type":""#).unwrap_or_default();
    let read = if kind.starts_with(b"message\"") {
        let (number, offset) =
            message::read(frame).ok_or("a message that is not from this bench")?;
        ServerFrame::Message {
            number,
            offset: Some(offset),
        }
    } else if kind.starts_with(b"sent\"") {
        let id = message::number(frame, "id");
        id.map_or(ServerFrame::Ignored, ServerFrame::Sent)
    } else if kind.starts_with(b"welcome\"") {
        ServerFrame::Welcome(None)
    } else if kind.starts_with(b"joined\"") {
        joined(frame)
    } else if kind.starts_with(b"lagged\"") {
        ServerFrame::Lagged
    } else if kind.starts_with(b"error\"") {
        ServerFrame::Refused(frame)
    } else {
        ServerFrame::Ignored
    };
    Ok(read)
}

/// The answer to a join, by itself or inside another frame.
pub(super) fn joined(frame: &[u8]) -> ServerFrame<'_> {
    // The offset of the newest event, or the room's head if there is none.
    let newest = memchr::memmem::rfind(frame, br#""offset":"#);
    let newest = newest.and_then(|at| message::number(&frame[at..], "offset"));
    ServerFrame::Joined {
        epoch: message::text(frame, "epoch"),
        offset: newest.unwrap_or(0),
        recovered: memchr::memmem::find(frame, br#""recovered":true"#).is_some(),
    }
}
