//! The Socket.IO transport: Engine.IO sessions over HTTP and WebSockets, and the chat behind them.
//!
//! [`Engine`] knows transports and nothing of the chat; what is said and heard on a connection
//! comes from a [`Handler`]. The product has one, in `chat`; the conformance example has its own.

mod backlog;
mod bodies;
mod chat;
mod client;
mod clock;
mod config;
mod echo;
mod engine;
mod handler;
mod polling;
mod probe;
mod refusal;
mod session;
mod sessions;
mod socket;

pub use backlog::Backlog;
pub(crate) use chat::{Chat, ChatHandler};
pub(crate) use client::{ClientFiles, get_client};
pub use config::{SocketIoError, SocketIoSection};
pub use echo::echo_socket;
pub use engine::{Engine, EngineOptions};
pub use handler::{ClientMessage, Ended, Handler, Inbound, Outbound, Paid};
