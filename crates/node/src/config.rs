//! The node's settings: identity, limits, acks, drain.

use std::time::Duration;

use bytesize::ByteSize;
use hubbub_protocol::{AckLevel, RoomId};
use serde::{Deserialize, Serialize};

use crate::{Failpoints, pattern};

/// Everything a node needs to know at its start.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeConfig {
    /// Section `node`.
    pub node: NodeSection,
    /// Section `limits`.
    pub limits: Limits,
    /// Section `ack`.
    pub ack: AckSection,
    /// Section `drain`.
    pub drain: DrainSection,
    /// Tables `[[room]]`.
    pub rooms: Vec<RoomRule>,
    /// For tests only, and no setting.
    #[serde(skip)]
    pub failpoints: Failpoints,
}

impl NodeConfig {
    /// The table that holds for a room: the one with the longest match.
    pub(crate) fn rule_of(&self, room: &RoomId) -> Option<&RoomRule> {
        let matching = self.rooms.iter().filter(|rule| rule.matches(room));
        matching.max_by_key(|rule| pattern::weight(&rule.pattern))
    }
}

/// Section `node`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeSection {
    /// Shown in `welcome`, logs and metrics; empty: host name and a random suffix.
    pub id: String,
}

/// Section `ack`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AckSection {
    /// What a `sent` reply promises at least: `stream`, `replicated` or `archived`.
    pub level: AckLevel,
}

/// A table `[[room]]`: what holds for the rooms whose names match. The longest match wins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoomRule {
    /// A room id, or the beginning of one and `*`.
    #[serde(rename = "match")]
    pub pattern: String,
    /// How long the archive keeps events, such as `90d`; none: for ever.
    #[serde(default, with = "humantime_serde")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<Duration>,
}

impl RoomRule {
    fn matches(&self, room: &RoomId) -> bool {
        pattern::matches(&self.pattern, room)
    }

    /// Checks what its types do not.
    ///
    /// # Errors
    /// What is expected instead.
    pub fn check(&self) -> Result<(), String> {
        if !pattern::is_pattern(&self.pattern) {
            return Err(format!("match: {}", pattern::EXPECTED));
        }
        if self.keep.is_some_and(|keep| keep < Duration::from_secs(60)) {
            return Err("keep: a minute or more".to_owned());
        }
        Ok(())
    }
}

/// Section `drain`: how a node leaves.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DrainSection {
    /// From "not ready" until the first client is moved.
    #[serde(with = "humantime_serde")]
    pub ready_delay: Duration,
    /// Over which the clients are moved, at random.
    #[serde(with = "humantime_serde")]
    pub spread: Duration,
    /// From the signal until the node ends in any case.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
}

impl Default for DrainSection {
    fn default() -> Self {
        Self {
            ready_delay: Duration::from_secs(5),
            spread: Duration::from_secs(20),
            deadline: Duration::from_secs(30),
        }
    }
}

/// Section `limits`. A rate or a count of 0 means no limit.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of one WebSocket message; beyond: close 1009.
    pub frame_bytes: ByteSize,
    /// Fragments of one WebSocket message; beyond: close 1008. Byte limits do not see empty ones.
    pub fragments: u32,
    /// From the first byte of a WebSocket message to its last; beyond: close 1008.
    #[serde(with = "humantime_serde")]
    pub assemble_timeout: Duration,
    /// Bytes of one body; beyond: `too_large`.
    pub body_bytes: ByteSize,
    /// Bytes of all request headers; beyond: 431.
    pub header_bytes: ByteSize,
    /// Number of request headers; beyond: 431.
    pub headers: usize,
    /// From the first byte to the last header.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// From the upgrade to `hello`; beyond: close 4506.
    #[serde(with = "humantime_serde")]
    pub hello_timeout: Duration,
    /// Between two pings, ± 20 % at random.
    #[serde(with = "humantime_serde")]
    pub ping_interval: Duration,
    /// From a ping to its pong; beyond: close 4409.
    #[serde(with = "humantime_serde")]
    pub pong_timeout: Duration,
    /// In which the socket must take at least a byte; beyond: close 4408.
    #[serde(with = "humantime_serde")]
    pub write_timeout: Duration,
    /// For the broker to answer a send; beyond: `unavailable` or `unknown`.
    #[serde(with = "humantime_serde")]
    pub send_timeout: Duration,
    /// Rooms that one connection may join.
    pub rooms_per_connection: u32,
    /// Bytes that wait for one connection; beyond: `lagged`.
    pub outbox_bytes: ByteSize,
    /// Frames that wait for one connection; beyond: `lagged`.
    pub outbox_frames: usize,
    /// Bytes that wait for all connections of this node; beyond: the largest are closed, 4408.
    pub outbox_node_bytes: ByteSize,
    /// Sends a second of one connection, kept up.
    pub sends_per_second: u32,
    /// Sends at once of one connection.
    pub sends_burst: u32,
    /// Sends a second of one user over the whole cluster, kept up; three seconds' worth at once.
    pub user_sends_per_second: u32,
    /// Rooms that one user may begin in a minute, over the whole cluster.
    pub user_new_rooms_per_minute: u32,
    /// Connections of this node; 0: the open-file limit less 64.
    pub connections: usize,
    /// Connections from one IPv4 address or IPv6 /64 network to this node.
    pub connections_per_address: u32,
    /// Connections of one user to this node.
    pub connections_per_user: u32,
    /// Connections that this node takes in a second.
    pub accepts_per_second: u32,
    /// Members up to which a room lists who they are.
    pub presence_list: usize,
    /// Events in one page.
    pub resume_page: usize,
    /// Events that one resume may ask for.
    pub resume_events: usize,
    /// Bytes of all streams of the embedded broker.
    pub embedded_bytes: ByteSize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes: ByteSize::kib(64),
            fragments: 1_024,
            assemble_timeout: Duration::from_secs(10),
            body_bytes: ByteSize::kib(16),
            header_bytes: ByteSize::kib(16),
            headers: 100,
            header_timeout: Duration::from_secs(10),
            hello_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            send_timeout: Duration::from_secs(2),
            rooms_per_connection: 128,
            outbox_bytes: ByteSize::mib(1),
            outbox_frames: 1024,
            outbox_node_bytes: ByteSize::mib(256),
            sends_per_second: 10,
            sends_burst: 30,
            user_sends_per_second: 20,
            user_new_rooms_per_minute: 20,
            connections: 0,
            connections_per_address: 200,
            connections_per_user: 20,
            accepts_per_second: 2_000,
            presence_list: 1_000,
            resume_page: 300,
            resume_events: 10_000,
            embedded_bytes: ByteSize::mib(256),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_match_holds() {
        let rule = |pattern: &str| RoomRule {
            pattern: pattern.to_owned(),
            keep: None,
        };
        let config = NodeConfig {
            rooms: ["*", "team-*", "team-a", "team-ab*"].map(rule).to_vec(),
            ..NodeConfig::default()
        };
        let of = |room: &str| {
            let room = RoomId::new(room).unwrap();
            config.rule_of(&room).map(|rule| rule.pattern.as_str())
        };
        assert_eq!(of("lobby"), Some("*"));
        assert_eq!(of("team-x"), Some("team-*"));
        assert_eq!(of("team-a"), Some("team-a"));
        assert_eq!(of("team-abc"), Some("team-ab*"));
    }

    #[test]
    fn a_table_names_rooms_and_keeps_a_minute_or_more() {
        let check = |pattern: &str, seconds| {
            let rule = RoomRule {
                pattern: pattern.to_owned(),
                keep: Some(Duration::from_secs(seconds)),
            };
            rule.check().is_ok()
        };
        assert!(check("*", 60) && check("team-*", 60) && check("lobby", 60));
        assert!(!check("", 60) && !check("a b", 60) && !check("a*b", 60) && !check("a", 59));
    }
}
