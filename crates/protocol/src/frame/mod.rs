//! The frames for clients: each reply and each push is encoded once, and its bytes are shared.

mod encoded;
mod rooms;
mod server;

pub use encoded::Frame;
pub use rooms::{MyRoom, RoomEntry, RoomSummary};
pub use server::{ServerFrame, WelcomeLimits};
