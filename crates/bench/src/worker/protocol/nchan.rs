//! Nchan: a client that opens the WebSocket of a channel receives it, and publishes by sending
//! text.

use super::frame::ServerFrame;
use crate::message;
use crate::worker::wire;

pub(super) fn request(host: &str, room: &str) -> String {
    wire::upgrade(host, &format!("/pubsub/{room}"), "")
}

pub(super) fn parse(frame: &[u8]) -> Result<ServerFrame<'_>, String> {
    let number = message::number(frame, "n").ok_or("a message that is not from this bench")?;
    Ok(ServerFrame::Message {
        number,
        offset: None,
    })
}
