//! Nchan: a client that opens the WebSocket of a channel receives it, and publishes by sending
//! text.

use super::frame::Said;
use crate::message;
use crate::worker::wire;

pub(super) fn request(host: &str, room: &str) -> String {
    wire::upgrade(host, &format!("/pubsub/{room}"), "")
}

pub(super) fn hear(frame: &[u8]) -> Result<Said<'_>, String> {
    let number = message::number(frame, "n").ok_or("a message that is not from this bench")?;
    Ok(Said::Message {
        number,
        offset: None,
    })
}
