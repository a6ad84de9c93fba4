//! Reads and checks the bytes of Socket.IO v5 over Engine.IO v4, and writes them. This module has no I/O
//! and no async, and no input of a client makes it panic.

mod args;
pub mod encode;
pub mod engine;
mod json;
mod packet;
mod reader;

pub use args::Args;
pub use encode::Answer;
pub use engine::{
    EngineError, EnginePacket, Message, decode_packet, decode_payload, encode_payload,
};
pub use packet::{ClientPacket, ClientPacketError};
pub use reader::PacketReader;

/// The namespace that every client may join.
pub const MAIN_NAMESPACE: &str = "/";
/// The most binary attachments of one packet. The reference implementation has the same limit.
pub const MAX_ATTACHMENTS: usize = 10;
/// The most bytes of a namespace's name.
pub const MAX_NAMESPACE_BYTES: usize = 256;
/// Event names that the client's library reserves.
pub const RESERVED_EVENTS: [&str; 6] = [
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "newListener",
    "removeListener",
];
