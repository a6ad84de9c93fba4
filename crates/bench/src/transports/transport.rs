//! The transports that can be measured.

use clap::ValueEnum;

/// A transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    /// hubbub.v1 over WebSocket
    Websocket,
    /// Socket.IO over WebSocket
    SocketioWebsocket,
    /// Socket.IO over long polling
    SocketioPolling,
    /// Server-sent events
    Sse,
    /// The newest messages by REST, polled
    Rest,
}

impl Transport {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Websocket => "WebSocket",
            Self::SocketioWebsocket => "Socket.IO, WebSocket",
            Self::SocketioPolling => "Socket.IO, long polling",
            Self::Sse => "SSE",
            Self::Rest => "REST, short polling",
        }
    }
}
