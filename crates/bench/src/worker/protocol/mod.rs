//! What the members of a load speak: Hubbub's own protocol, or that of a system to compare with.

pub(crate) mod hubbub;
mod nchan;
mod pusher;
mod socketio;

use std::borrow::Cow;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::plan::Credentials;

/// What a cluster is spoken to in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
pub(crate) enum Protocol {
    /// hubbub.v1
    #[default]
    Hubbub,
    /// Socket.IO 5 over a WebSocket, with events named as Hubbub's own: `join`, `send`, `message`
    Socketio,
    /// Nchan's pubsub WebSocket at /pubsub/ROOM
    Nchan,
    /// Pusher's client events on private channels, the key is `app-key`, the secret `--secret`
    Pusher,
}

/// What a frame of the server means.
#[derive(Debug, PartialEq)]
pub(super) enum Said<'a> {
    /// The member may join; what the server calls its connection, where a join wants to know.
    Welcome(Option<&'a str>),
    Joined {
        epoch: Option<&'a str>,
        /// The newest message that is known, 0 if none.
        offset: u64,
        recovered: bool,
    },
    Message {
        number: u64,
        /// Its place in the room, where the protocol has such a thing.
        offset: Option<u64>,
    },
    /// This message was taken.
    Sent(u64),
    Lagged,
    /// A command was refused, with the reason.
    Refused(&'a [u8]),
    /// The server wants to hear this.
    Wants(Cow<'a, str>),
    Nothing,
}

/// Where a member was when it lost its connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Since<'a> {
    pub(super) epoch: &'a str,
    /// 0: it was nowhere.
    pub(super) offset: u64,
}

impl Protocol {
    /// The request for the upgrade, by the member whose name is `user`.
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

    /// What there is to do once the upgrade is through.
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
                // Else a node would wait a little for a guest's first word.
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

    /// Asks to be in the room; `None`: the member is in it since it is connected.
    ///
    /// # Errors
    /// What is missing to sign the request.
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

    /// Sends message `number` with this body.
    pub(super) fn send(self, room: &str, number: u64, body: &str) -> String {
        match self {
            Self::Hubbub => hubbub::send(room, number, body),
            Self::Socketio => socketio::send(room, number, body),
            Self::Nchan => body.to_owned(),
            Self::Pusher => pusher::send(room, body),
        }
    }

    /// Whether who sends is told that its message was taken.
    pub(super) fn has_acks(self) -> bool {
        matches!(self, Self::Hubbub | Self::Socketio)
    }

    /// Whether who sends hears its own message.
    pub(super) fn has_echo(self) -> bool {
        self != Self::Pusher
    }

    /// As it is called in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hubbub => "hubbub",
            Self::Socketio => "socketio",
            Self::Nchan => "nchan",
            Self::Pusher => "pusher",
        }
    }

    /// What a text frame means.
    ///
    /// # Errors
    /// What cannot be part of a load.
    pub(super) fn hear(self, frame: &[u8]) -> Result<Said<'_>, String> {
        match self {
            Self::Hubbub => hubbub::hear(frame),
            Self::Socketio => Ok(socketio::hear(frame)),
            Self::Nchan => nchan::hear(frame),
            Self::Pusher => Ok(pusher::hear(frame)),
        }
    }
}
