//! The frames of a server, as far as a load needs them.

use std::borrow::Cow;

/// The meaning of a frame from the server.
#[derive(Debug, PartialEq)]
pub(crate) enum ServerFrame<'a> {
    /// The member may join. The value is the server's ID of the connection, if a join needs it.
    Welcome(Option<&'a str>),
    Joined {
        epoch: Option<&'a str>,
        /// The newest known message, 0 if none.
        offset: u64,
        recovered: bool,
    },
    Message {
        number: u64,
        /// Its place in the room, if the protocol has offsets.
        offset: Option<u64>,
    },
    /// The server accepted this message.
    Sent(u64),
    Lagged,
    /// A command was refused, with the reason.
    Refused(&'a [u8]),
    /// The server expects this frame as the reply.
    Reply(Cow<'a, str>),
    Ignored,
}

/// A member's last position before it lost its connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Since<'a> {
    pub(crate) epoch: &'a str,
    /// 0 if it had none.
    pub(crate) offset: u64,
}
