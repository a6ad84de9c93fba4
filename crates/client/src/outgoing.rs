//! Writes the client's frames.

use hubbub_protocol::RoomId;
use hubbub_protocol::command::Since;
use serde::Serialize;
use serde_json::value::RawValue;

/// A frame to the server.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Outgoing<'a> {
    Join {
        id: u64,
        room: &'a RoomId,
        #[serde(skip_serializing_if = "Option::is_none")]
        since: Option<&'a Since>,
        #[serde(skip_serializing_if = "Option::is_none")]
        recent: Option<usize>,
    },
    Leave {
        id: u64,
        room: &'a RoomId,
    },
    Send {
        id: u64,
        room: &'a RoomId,
        nonce: &'a str,
        body: &'a RawValue,
    },
    Edit {
        id: u64,
        room: &'a RoomId,
        target: u64,
        nonce: &'a str,
        body: &'a RawValue,
    },
    Delete {
        id: u64,
        room: &'a RoomId,
        target: u64,
        nonce: &'a str,
    },
    React {
        id: u64,
        room: &'a RoomId,
        target: u64,
        nonce: &'a str,
        key: &'a str,
        on: bool,
    },
    Typing {
        room: &'a RoomId,
        on: bool,
    },
    Read {
        room: &'a RoomId,
        offset: u64,
    },
    History {
        id: u64,
        room: &'a RoomId,
        #[serde(skip_serializing_if = "Option::is_none")]
        before: Option<u64>,
        limit: usize,
    },
    Members {
        id: u64,
        room: &'a RoomId,
    },
    Rooms {
        id: u64,
    },
    Refresh {
        id: u64,
        token: &'a str,
    },
    Ping {
        id: u64,
    },
}

impl Outgoing<'_> {
    pub(crate) fn encode(&self) -> String {
        serde_json::to_string(self).expect("plain structs always serialize")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_resumes_or_requests_the_newest_events() {
        let room = RoomId::new("r").unwrap();
        let join = Outgoing::Join {
            id: 1,
            room: &room,
            since: None,
            recent: Some(5),
        };
        assert_eq!(
            join.encode(),
            r#"{"type":"join","id":1,"room":"r","recent":5}"#
        );
    }
}
