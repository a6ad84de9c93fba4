//! Socket.IO v5 over Engine.IO v4 as bytes: what clients send is read and checked, what they hear
//! is written. No I/O, no async, and nothing that a client sends makes it panic.

mod args;
pub mod encode;
pub mod engine;
mod json;
mod listener;
mod packet;

pub use args::Args;
pub use encode::Answer;
pub use engine::{EngineError, Message, Packet, decode_packet, decode_payload, encode_payload};
pub use listener::Listener;
pub use packet::{Heard, PacketError};

/// The namespace that every client may ask for.
pub const MAIN_NAMESPACE: &str = "/";
/// Binary attachments of one packet; the reference client sends no more either.
pub const MAX_ATTACHMENTS: usize = 10;
/// Bytes of a namespace's name.
pub const MAX_NAMESPACE_BYTES: usize = 256;
/// Names that the client's library keeps for itself.
pub const RESERVED_EVENTS: [&str; 6] = [
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "newListener",
    "removeListener",
];
