//! Pusher 7. The members of a private channel may send each other client events. The server does
//! not answer them, and the sender does not receive them.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::frame::ServerFrame;
use crate::access::Credentials;
use crate::message;
use crate::worker::wire;

const KEY: &str = "app-key";

pub(super) fn request(host: &str) -> String {
    wire::upgrade(host, &format!("/app/{KEY}?protocol=7"), "")
}

pub(super) fn join(room: &str, socket: &str, credentials: &Credentials) -> Result<String, String> {
    let Credentials::Secret(secret) = credentials else {
        return Err("a private channel needs the app's --secret".to_owned());
    };
    let channel = format!("private-{room}");
    let signature = sign(secret, &format!("{socket}:{channel}"));
    Ok(format!(
        r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}","auth":"{KEY}:{signature}"}}}}"#
    ))
}

/// HMAC-SHA256 in hexadecimal digits.
fn sign(secret: &str, text: &str) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key length is valid");
    mac.update(text.as_bytes());
    let bytes = mac.finalize().into_bytes();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn send(room: &str, body: &str) -> String {
    format!(r#"{{"event":"client-message","channel":"private-{room}","data":{body}}}"#)
}

pub(super) fn parse(frame: &[u8]) -> ServerFrame<'_> {
    match message::text(frame, "event") {
        Some("client-message") => match message::number(frame, "n") {
            Some(number) => ServerFrame::Message {
                number,
                offset: None,
            },
            None => ServerFrame::Ignored,
        },
        Some("pusher:ping") => ServerFrame::Reply(r#"{"event":"pusher:pong","data":{}}"#.into()),
        Some("pusher:connection_established") => ServerFrame::Welcome(socket(frame)),
        Some("pusher_internal:subscription_succeeded") => ServerFrame::Joined {
            epoch: None,
            offset: 0,
            recovered: false,
        },
        Some("pusher:error" | "pusher:subscription_error") => ServerFrame::Refused(frame),
        _ => ServerFrame::Ignored,
    }
}

/// The value of `socket_id`, in JSON inside a JSON string.
fn socket(frame: &[u8]) -> Option<&str> {
    let name = br#"socket_id\":\""#;
    let start = memchr::memmem::find(frame, name)? + name.len();
    let length = frame[start..].iter().position(|&byte| byte == b'\\')?;
    std::str::from_utf8(&frame[start..start + length]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_is_signed_as_the_documentation_of_pusher_says() {
        // The worked example of "Authenticating users", Pusher Channels' protocol reference.
        let signature = sign("7ad3773142a6692b25b8", "1234.1234:private-foobar");
        assert_eq!(
            signature,
            "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4"
        );
    }

    #[test]
    fn the_socket_is_found() {
        let frame = br#"{"event":"pusher:connection_established","data":"{\"activity_timeout\":120,\"socket_id\":\"12.34\"}"}"#;
        assert_eq!(parse(frame), ServerFrame::Welcome(Some("12.34")));
    }
}
