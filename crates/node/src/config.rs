//! The node's settings: identity, limits, acks, drain.

use std::time::Duration;

use bytesize::ByteSize;
use hubbub_protocol::{AckLevel, RoomId};
use serde::{Deserialize, Serialize};

use crate::{Failpoints, Identity, Rights, pattern};

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
    /// Where everybody is taken to: `socketio.default_room`, and the rooms of `socketio.namespaces`.
    pub homes: Vec<RoomId>,
    /// For tests only, and no setting.
    #[serde(skip)]
    pub failpoints: Failpoints,
}

impl NodeConfig {
    /// Whether the settings name this very room: it is everybody's, and no user makes it theirs.
    pub(crate) fn is_named(&self, room: &RoomId) -> bool {
        let has_table = self.rooms.iter().any(|rule| rule.pattern == room.as_str());
        has_table || self.homes.contains(room)
    }

    /// The table that says how long a room's events are kept. One that says nothing at all keeps them
    /// for ever.
    pub(crate) fn retention_of(&self, room: &RoomId) -> Option<&RoomRule> {
        let says = |rule: &RoomRule| {
            rule.keep.is_some() || (rule.rights.is_none() && rule.guests.is_none())
        };
        self.longest(|rule| says(rule) && pattern::matches(&rule.pattern, room))
    }

    /// An identity's rights in a room, if the room is not private: those of its token, or those of the
    /// tables in the settings.
    pub(crate) fn granted(&self, identity: &Identity, room: &RoomId) -> Rights {
        match &identity.rooms {
            Some(grants) => grants.rights(room),
            None => self.policy(identity.guest, |it| pattern::matches(it, room)),
        }
    }

    /// The same for all rooms, as patterns with rights, the longest match counts; `None`: the tables
    /// forbid nothing.
    pub(crate) fn granted_everywhere(&self, identity: &Identity) -> Option<Vec<(String, Rights)>> {
        if let Some(grants) = &identity.rooms {
            return Some(
                grants
                    .iter()
                    .map(|(it, rights)| (it.to_owned(), rights))
                    .collect(),
            );
        }
        if !self
            .rooms
            .iter()
            .any(|rule| rule.rights.is_some() || rule.guests.is_some())
        {
            return None;
        }
        let patterns = self.rooms.iter().map(|rule| rule.pattern.as_str());
        let rights = |inner: &str| {
            let rights = self.policy(identity.guest, |it| pattern::covers(it, inner));
            (inner.to_owned(), rights)
        };
        Some(patterns.chain(["*"]).map(rights).collect())
    }

    /// Guests never may more than others.
    fn policy(&self, guest: bool, matches: impl Fn(&str) -> bool) -> Rights {
        let all = self.longest(|rule| rule.rights.is_some() && matches(&rule.pattern));
        let all = all.and_then(|rule| rule.rights).unwrap_or(Rights::MEMBER);
        if !guest {
            return all;
        }
        let guests = self.longest(|rule| rule.guests.is_some() && matches(&rule.pattern));
        guests
            .and_then(|rule| rule.guests)
            .map_or(all, |guests| guests.and(all))
    }

    fn longest(&self, matches: impl Fn(&RoomRule) -> bool) -> Option<&RoomRule> {
        let matching = self.rooms.iter().filter(|rule| matches(rule));
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
    /// The least level that a `sent` reply promises: `stream`, `replicated` or `archived`.
    pub level: AckLevel,
}

/// A table `[[room]]`: what holds for the rooms whose names match. Of the tables that say something of a
/// matter, the one with the longest match counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoomRule {
    /// A room id, or the beginning of one and `*`.
    #[serde(rename = "match")]
    pub pattern: String,
    /// How long the archive keeps events, such as `90d`; none: for ever.
    #[serde(default, with = "humantime_serde")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<Duration>,
    /// The rights of users whose token has no `rooms` claim; none: `rw`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rights: Option<Rights>,
    /// The part of these rights that guests have; none: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guests: Option<Rights>,
}

impl RoomRule {
    /// Checks what its types do not.
    ///
    /// # Errors
    /// The form that is expected.
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
    /// Bytes that wait for all connections of this node; beyond: the largest are closed, 4408. Answers
    /// that are being made and bodies that are being read may take as much again.
    pub outbox_node_bytes: ByteSize,
    /// Sends a second of one connection, kept up.
    pub sends_per_second: u32,
    /// Sends at once of one connection.
    pub sends_burst: u32,
    /// Sends a second of one user over the whole cluster, kept up; at once `sends_burst`, but at least
    /// one and at most three seconds' worth.
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
    /// Guests that an address (IPv6: /64) may make a minute, kept up, and at once.
    pub guests_per_minute: u32,
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
            guests_per_minute: 200,
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
        let patterns = ["*", "team-*", "team-a", "team-ab*"];
        let config = NodeConfig {
            rooms: patterns.map(|it| rule(it, None, None)).to_vec(),
            ..NodeConfig::default()
        };
        let of = |room: &str| {
            let room = RoomId::new(room).unwrap();
            config.retention_of(&room).map(|rule| rule.pattern.as_str())
        };
        assert_eq!(of("lobby"), Some("*"));
        assert_eq!(of("team-x"), Some("team-*"));
        assert_eq!(of("team-a"), Some("team-a"));
        assert_eq!(of("team-abc"), Some("team-ab*"));
    }

    fn rule(pattern: &str, rights: Option<&str>, guests: Option<&str>) -> RoomRule {
        let read = |text: &str| Rights::try_from(text.to_owned()).unwrap();
        RoomRule {
            pattern: pattern.to_owned(),
            keep: None,
            rights: rights.map(read),
            guests: guests.map(read),
        }
    }

    fn identity(guest: bool, rooms: Option<&str>) -> Identity {
        let user = hubbub_protocol::User {
            id: hubbub_protocol::UserId::new("u").unwrap(),
            name: "U".into(),
        };
        Identity {
            guest,
            rooms: rooms.map(|rooms| serde_json::from_str(rooms).unwrap()),
            ..Identity::of(user)
        }
    }

    #[test]
    fn tables_say_what_may_be_done_where_a_token_does_not() {
        let config = NodeConfig {
            rooms: vec![
                rule("*", None, Some("r")),
                rule("news-*", Some("r"), None),
                rule("news-open", Some("rw"), Some("rw")),
                rule("staff-*", None, Some("")),
                rule("staff-desk", Some("rw"), None),
            ],
            ..NodeConfig::default()
        };
        let rights = |identity: &Identity, room: &str| {
            let room = RoomId::new(room).unwrap();
            config.granted(identity, &room).as_str()
        };
        let (user, guest) = (identity(false, None), identity(true, None));
        for (room, users, guests) in [
            ("lobby", "rw", "r"),
            ("news-today", "r", "r"),
            ("news-open", "rw", "rw"),
            ("staff-x", "rw", ""),
            ("staff-desk", "rw", ""),
        ] {
            let both = (rights(&user, room), rights(&guest, room));
            assert_eq!(both, (users, guests), "{room}");
        }
        // A token's claim counts alone.
        let claims = identity(false, Some(r#"{"news-*":"rwm"}"#));
        assert_eq!(rights(&claims, "news-today"), "rwm");
        assert_eq!(rights(&claims, "lobby"), "");
        // The list of all rooms says the same of each.
        for who in [&user, &guest, &claims] {
            let everywhere = config.granted_everywhere(who).unwrap();
            for room in ["lobby", "news-today", "news-open", "staff-x", "staff-desk"] {
                let id = RoomId::new(room).unwrap();
                let matching = everywhere
                    .iter()
                    .filter(|(it, _)| pattern::matches(it, &id));
                let longest = matching.max_by_key(|(it, _)| pattern::weight(it));
                let listed = longest.map_or(Rights::NONE, |(_, rights)| *rights);
                assert_eq!(listed.as_str(), rights(who, room), "{room}");
            }
        }
        assert!(NodeConfig::default().granted_everywhere(&user).is_none());
    }

    #[test]
    fn a_table_with_rights_says_nothing_of_how_long_events_are_kept() {
        let keep = RoomRule {
            keep: Some(Duration::from_secs(60)),
            ..rule("*", None, None)
        };
        let config = NodeConfig {
            rooms: vec![
                keep,
                rule("news-*", Some("r"), None),
                rule("law-*", None, None),
            ],
            ..NodeConfig::default()
        };
        let keep = |room: &str| {
            let room = RoomId::new(room).unwrap();
            config.retention_of(&room).and_then(|rule| rule.keep)
        };
        assert!(keep("news-x").is_some() && keep("lobby").is_some());
        assert!(keep("law-x").is_none());
    }

    #[test]
    fn a_table_names_rooms_and_keeps_a_minute_or_more() {
        let check = |pattern: &str, seconds| {
            let rule = RoomRule {
                keep: Some(Duration::from_secs(seconds)),
                ..rule(pattern, None, None)
            };
            rule.check().is_ok()
        };
        assert!(check("*", 60) && check("team-*", 60) && check("lobby", 60));
        assert!(!check("", 60) && !check("a b", 60) && !check("a*b", 60) && !check("a", 59));
    }
}
