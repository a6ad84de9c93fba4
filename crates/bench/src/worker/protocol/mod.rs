//! The frames of each protocol: Hubbub's own, and those of the systems to compare with.

mod frame;
pub(crate) mod hubbub;
mod nchan;
mod pusher;
mod socketio;

pub(super) use frame::{ServerFrame, Since};

use crate::access::{Credentials, Protocol};

impl Protocol {
    /// The request for the upgrade, for the member named `user`.
    ///
    /// # Errors
    /// Why the member's token could not be signed.
    pub(super) fn request(
        self,
        host: &str,
        room: &str,
        user: &str,
        credentials: &Credentials,
    ) -> Result<String, String> {
        match self {
            Self::Hubbub => Ok(hubbub::request(host, credentials.token(user)?.as_deref())),
            Self::Socketio => Ok(socketio::request(host)),
            Self::Nchan => Ok(nchan::request(host, room)),
            Self::Pusher => Ok(pusher::request(host)),
        }
    }

    /// The next step after the upgrade.
    ///
    /// # Errors
    /// Why the member's token could not be signed.
    pub(super) fn upgraded(
        self,
        user: &str,
        credentials: &Credentials,
    ) -> Result<ServerFrame<'static>, String> {
        match self {
            Self::Hubbub if matches!(credentials, Credentials::Guest) => {
                // Without a hello, a node would wait a moment for a guest's first frame.
                Ok(ServerFrame::Reply(hubbub::HELLO.into()))
            }
            Self::Hubbub | Self::Pusher => Ok(ServerFrame::Ignored),
            Self::Socketio => {
                let token = credentials.token(user)?;
                Ok(ServerFrame::Reply(
                    socketio::connect(token.as_deref()).into(),
                ))
            }
            Self::Nchan => Ok(ServerFrame::Welcome(None)),
        }
    }

    /// The frame that joins the room; `None` if the member has been in it since it connected.
    ///
    /// # Errors
    /// The part that is missing to sign the request.
    pub(super) fn join(
        self,
        room: &str,
        since: Since<'_>,
        socket: &str,
        credentials: &Credentials,
    ) -> Result<Option<String>, String> {
        match self {
            Self::Hubbub => Ok(Some(hubbub::join(room, since))),
            Self::Socketio => Ok(Some(socketio::join(room))),
            Self::Nchan => Ok(None),
            Self::Pusher => pusher::join(room, socket, credentials).map(Some),
        }
    }

    /// The frame that sends message `number` with this body.
    pub(super) fn send(self, room: &str, number: u64, body: &str) -> String {
        match self {
            Self::Hubbub => hubbub::send(room, number, body),
            Self::Socketio => socketio::send(room, number, body),
            Self::Nchan => body.to_owned(),
            Self::Pusher => pusher::send(room, body),
        }
    }

    /// Whether the sender is told that its message was accepted.
    pub(super) fn has_acks(self) -> bool {
        matches!(self, Self::Hubbub | Self::Socketio)
    }

    /// Whether the sender receives its own message.
    pub(super) fn has_echo(self) -> bool {
        self != Self::Pusher
    }

    /// Parses a text frame.
    ///
    /// # Errors
    /// The frame cannot be part of a load.
    pub(super) fn parse(self, frame: &[u8]) -> Result<ServerFrame<'_>, String> {
        match self {
            Self::Hubbub => hubbub::parse(frame),
            Self::Socketio => Ok(socketio::parse(frame)),
            Self::Nchan => nchan::parse(frame),
            Self::Pusher => Ok(pusher::parse(frame)),
        }
    }
}
