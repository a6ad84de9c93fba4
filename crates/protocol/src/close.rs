//! Close codes: they end a connection, and their range says whether to come back.

/// Why the server closes a connection. 44xx: reconnect and resume. 45xx: do not come back as
/// you are. The others are the standard ones of RFC 6455, section 7.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum CloseCode {
    /// 1000: the client asked for it.
    Normal = 1000,
    /// 1002: the bytes break the WebSocket protocol.
    ProtocolError = 1002,
    /// 1003: a binary frame on a text protocol.
    Unsupported = 1003,
    /// 1007: text that is no UTF-8.
    BadData = 1007,
    /// 1008: too many fragments, or too slow ones.
    Policy = 1008,
    /// 1009: a frame above `limits.frame_bytes`.
    TooBig = 1009,
    /// 1011: the server failed.
    Internal = 1011,
    /// 1012: the node goes away for a deploy; come back to any node.
    Restart = 1012,
    /// 1013: the node is overloaded; come back later.
    TryLater = 1013,
    /// 4408: too slow for too long.
    Slow = 4408,
    /// 4409: no pong in time.
    NoPong = 4409,
    /// 4410: the session's state is lost.
    StateLost = 4410,
    /// 4411: the token has expired; come back with a new one.
    TokenExpired = 4411,
    /// 4429: kept sending above the rate limit.
    Flooding = 4429,
    /// 4500: bad frames, repeated.
    BadFrames = 4500,
    /// 4501: the token is not valid.
    BadToken = 4501,
    /// 4503: forbidden or kicked.
    Forbidden = 4503,
    /// 4504: the token was revoked.
    Revoked = 4504,
    /// 4505: too many connections of this user.
    TooManyConnections = 4505,
    /// 4506: no `hello` in time.
    NoHello = 4506,
}

impl CloseCode {
    /// The number on the wire.
    #[must_use]
    pub fn as_u16(self) -> u16 {
        self as u16
    }

    /// The text sent beside the number; ASCII, at most 123 bytes.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Normal => "bye",
            Self::ProtocolError => "websocket protocol error",
            Self::Unsupported => "only text frames here",
            Self::BadData => "text is not utf-8",
            Self::Policy => "fragments: too many or too slow",
            Self::TooBig => "frame too large",
            Self::Internal => "internal error",
            Self::Restart => "node is draining, reconnect and resume",
            Self::TryLater => "overloaded, try later",
            Self::Slow => "reading too slowly, reconnect and resume",
            Self::NoPong => "no pong in time",
            Self::StateLost => "state lost, reconnect and resume",
            Self::TokenExpired => "token expired",
            Self::Flooding => "rate limit exceeded repeatedly",
            Self::BadFrames => "too many bad frames",
            Self::BadToken => "bad token",
            Self::Forbidden => "forbidden",
            Self::Revoked => "token revoked",
            Self::TooManyConnections => "too many connections of this user",
            Self::NoHello => "no hello in time",
        }
    }

    /// Whether a client should reconnect and resume after `code`; an abrupt end counts as yes.
    #[must_use]
    pub fn is_resumable(code: u16) -> bool {
        !(4500..=4599).contains(&code)
    }
}
