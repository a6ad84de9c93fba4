//! The protocols that the members of a load speak: Hubbub's own, or that of a system to compare
//! with.

pub(crate) mod hubbub;
mod nchan;
mod pusher;
mod socketio;

use std::borrow::Cow;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::plan::Credentials;

/// The protocol of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
pub(crate) enum Protocol {
    /// hubbub.v1
    #[default]
    Hubbub,
    /// Socket.IO 5 over a WebSocket, with events named as Hubbub's own: `join`, `send`, `message`
    Socketio,
    /// Nchan's pubsub WebSocket at /pubsub/ROOM
    Nchan,
    /// Pusher's client events on private channels; the key is `app-key`, the secret is `--secret`
    Pusher,
}

/// The meaning of a frame from the server.
#[derive(Debug, PartialEq)]
pub(super) enum Said<'a> {
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
    /// The server needs this frame next.
    Wants(Cow<'a, str>),
    Nothing,
}

/// A member's last position before it lost its connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Since<'a> {
    pub(super) epoch: &'a str,
    /// 0 if it had none.
    pub(super) offset: u64,
}

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
    ) -> Result<Said<'static>, String> {
        match self {
            Self::Hubbub if matches!(credentials, Credentials::Guest) => {
                // Without a hello, a node would wait a moment for a guest's first frame.
                Ok(Said::Wants(hubbub::HELLO.into()))
            }
            Self::Hubbub | Self::Pusher => Ok(Said::Nothing),
            Self::Socketio => {
                let token = credentials.token(user)?;
                Ok(Said::Wants(socketio::connect(token.as_deref()).into()))
            }
            Self::Nchan => Ok(Said::Welcome(None)),
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

    /// The name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hubbub => "hubbub",
            Self::Socketio => "socketio",
            Self::Nchan => "nchan",
            Self::Pusher => "pusher",
        }
    }

    /// Parses a text frame.
    ///
    /// # Errors
    /// The frame cannot be part of a load.
    pub(super) fn hear(self, frame: &[u8]) -> Result<Said<'_>, String> {
        match self {
            Self::Hubbub => hubbub::hear(frame),
            Self::Socketio => Ok(socketio::hear(frame)),
            Self::Nchan => nchan::hear(frame),
            Self::Pusher => Ok(pusher::hear(frame)),
        }
    }
}
