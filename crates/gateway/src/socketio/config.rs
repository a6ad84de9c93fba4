//! Section `socketio`.

use std::time::Duration;

use bytesize::ByteSize;
use hubbub_node::Limits;
use hubbub_protocol::RoomId;
use hubbub_protocol::socketio::{MAIN_NAMESPACE, MAX_NAMESPACE_BYTES, RESERVED_EVENTS};
use serde::{Deserialize, Serialize};

use super::chat::COMMANDS;
use super::engine::EngineOptions;

/// Section `socketio`: the transport for Socket.IO clients.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SocketIoSection {
    /// Whether Socket.IO clients may connect.
    pub enabled: bool,
    /// The room that every client of the namespace `/` is in.
    pub default_room: String,
    /// Events that are passed on to everyone in the sender's default room, under their own name.
    pub relay_events: Vec<String>,
    /// Further namespaces, such as `/news`. Each has a default room of its own: the one of `/`, a
    /// colon, and its name with `:` for each further slash.
    pub namespaces: Vec<String>,
    /// Between two pings.
    #[serde(with = "humantime_serde")]
    pub ping_interval: Duration,
    /// From a ping to its pong.
    #[serde(with = "humantime_serde")]
    pub ping_timeout: Duration,
    /// Bytes of one WebSocket message, and of one HTTP body.
    #[serde(serialize_with = "exact_size")]
    pub max_payload: ByteSize,
    /// From the handshake until the client has come into a namespace.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// The folder with `socket.io.js`, for `/socket.io/socket.io.js`; empty: the files that were
    /// built in, if there are any.
    pub client_dir: String,
}

impl Default for SocketIoSection {
    fn default() -> Self {
        let engine = EngineOptions::default();
        Self {
            enabled: true,
            default_room: "lobby".to_owned(),
            relay_events: vec!["chat message".to_owned()],
            namespaces: Vec::new(),
            ping_interval: engine.ping_interval,
            ping_timeout: engine.ping_timeout,
            max_payload: ByteSize(engine.max_payload as u64),
            connect_timeout: Duration::from_secs(45),
            client_dir: String::new(),
        }
    }
}

/// A unit would lose some of a million bytes.
fn exact_size<S: serde::Serializer>(size: &ByteSize, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&size.as_u64())
}

/// Why section `socketio` cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SocketIoError {
    /// No room can have that name.
    #[error("socketio.default_room, or a namespace's: {0:?} is no room id")]
    Room(String),
    /// An event that means something else already.
    #[error("socketio.relay_events: {0:?} has a meaning of its own, choose another name")]
    Event(String),
    /// No namespace can have that name.
    #[error("socketio.namespaces: {0:?} must begin with a slash, have a name, and no comma")]
    Namespace(String),
    /// A time that would end every connection, or a size that no message has.
    #[error("socketio.{0} must be more than 0")]
    Zero(&'static str),
    /// A message of `limits.body_bytes` would not fit.
    #[error("socketio.max_payload must be larger than limits.body_bytes: it holds a body")]
    Payload,
}

impl SocketIoSection {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// [`SocketIoError`] names the setting.
    pub fn check(&self, limits: &Limits) -> Result<(), SocketIoError> {
        self.rooms()?;
        for event in &self.relay_events {
            if COMMANDS.contains(&event.as_str()) || RESERVED_EVENTS.contains(&event.as_str()) {
                return Err(SocketIoError::Event(event.clone()));
            }
        }
        for (name, time) in [
            ("ping_interval", self.ping_interval),
            ("ping_timeout", self.ping_timeout),
            ("connect_timeout", self.connect_timeout),
        ] {
            if time == Duration::ZERO {
                return Err(SocketIoError::Zero(name));
            }
        }
        if self.max_payload <= limits.body_bytes {
            return Err(SocketIoError::Payload);
        }
        Ok(())
    }

    /// The namespaces, `/` first, each with its default room.
    /// The namespaces, `/` first, each with its default room.
    ///
    /// # Errors
    /// [`SocketIoError`] names what cannot be one.
    pub fn rooms(&self) -> Result<Vec<(String, RoomId)>, SocketIoError> {
        let main = (MAIN_NAMESPACE.to_owned(), room(&self.default_room)?);
        let mut rooms = vec![main];
        for namespace in &self.namespaces {
            let name = namespace.strip_prefix('/').filter(|name| {
                !name.is_empty() && !name.contains(',') && namespace.len() <= MAX_NAMESPACE_BYTES
            });
            let name = name.ok_or_else(|| SocketIoError::Namespace(namespace.clone()))?;
            let own = format!("{}:{}", self.default_room, name.replace('/', ":"));
            rooms.push((namespace.clone(), room(&own)?));
        }
        Ok(rooms)
    }

    pub(crate) fn engine_options(&self, limits: &Limits) -> EngineOptions {
        EngineOptions {
            ping_interval: self.ping_interval,
            ping_timeout: self.ping_timeout,
            connect_timeout: Some(self.connect_timeout),
            max_payload: usize::try_from(self.max_payload.as_u64()).unwrap_or(usize::MAX),
            fragments: limits.fragments,
            assemble_timeout: limits.assemble_timeout,
            write_timeout: limits.write_timeout,
        }
    }
}

fn room(name: &str) -> Result<RoomId, SocketIoError> {
    RoomId::new(name).map_err(|_| SocketIoError::Room(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut SocketIoSection)) -> SocketIoError {
        let mut section = SocketIoSection::default();
        change(&mut section);
        section.check(&Limits::default()).unwrap_err()
    }

    #[test]
    fn the_defaults_work_and_what_cannot_is_named() {
        SocketIoSection::default()
            .check(&Limits::default())
            .unwrap();
        let room = refusal(|s| s.default_room = "a b".to_owned());
        assert_eq!(room, SocketIoError::Room("a b".to_owned()));
        for event in ["join", "connect"] {
            let event = event.to_owned();
            assert_eq!(
                refusal(|s| s.relay_events.push(event.clone())),
                SocketIoError::Event(event)
            );
        }
        for bad in ["news", "/", "/a,b"] {
            let named = SocketIoError::Namespace(bad.to_owned());
            assert_eq!(refusal(|s| s.namespaces = vec![bad.to_owned()]), named);
        }
        let zero = refusal(|s| s.ping_timeout = Duration::ZERO);
        assert_eq!(zero, SocketIoError::Zero("ping_timeout"));
        assert_eq!(
            refusal(|s| s.max_payload = ByteSize(1_000)),
            SocketIoError::Payload
        );
    }

    #[test]
    fn each_namespace_has_a_default_room_of_its_own() {
        let section = SocketIoSection {
            namespaces: vec!["/news".to_owned(), "/a/b".to_owned()],
            ..SocketIoSection::default()
        };
        let rooms: Vec<_> = section.rooms().unwrap();
        let rooms: Vec<_> = rooms
            .iter()
            .map(|(name, room)| (name.as_str(), room.as_str()))
            .collect();
        assert_eq!(
            rooms,
            [
                ("/", "lobby"),
                ("/news", "lobby:news"),
                ("/a/b", "lobby:a:b")
            ]
        );
    }
}
