//! Nchan: who opens the WebSocket of a channel hears it, and publishes by saying something.

use super::Said;
use crate::message;
use crate::worker::wire;

pub(super) fn request(host: &str, room: &str) -> String {
    wire::upgrade(host, &format!("/pubsub/{room}"), "")
}

pub(super) fn hear(frame: &[u8]) -> Result<Said<'_>, String> {
    let number = message::number(frame, "n").ok_or("a message that is none of ours")?;
    Ok(Said::Message {
        number,
        offset: None,
    })
}
