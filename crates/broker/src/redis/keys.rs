//! Names of keys and channels in Redis. ARCHITECTURE.md ("In Redis") lists the content of each.
//!
//! A room belongs to one of 64 partitions. All keys of a partition carry its tag in braces, so
//! that in a Redis Cluster they share a slot and one script may touch them.

use std::fmt::{self, Write};

use hubbub_protocol::RoomId;
use redis::{RedisWrite, ToRedisArgs};

/// One tag per line: one for each block of 256 among the 16,384 slots of a Redis Cluster.
const TAGS: &str = include_str!("partition-tags.txt");
/// The number of partitions. It must never change: a room's keys depend on it.
pub(crate) const PARTITIONS: usize = 64;
/// Bytes that most names have beyond the prefix.
const NAME_BYTES: usize = 64;
const CHANGES: &str = ":changes";
const WAITING: &str = ":archive";
const RUN: &str = ":run";
const SIZES: &str = ":sizes";

/// Builds all names of one cluster.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    prefix: String,
    tags: Vec<&'static str>,
}

/// A key that is put together where it is written: each message names nine of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key<'a> {
    base: &'a str,
    part: &'static str,
}

impl<'a> From<&'a String> for Key<'a> {
    fn from(whole: &'a String) -> Self {
        Self {
            base: whole,
            part: "",
        }
    }
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.base)?;
        f.write_str(self.part)
    }
}

impl ToRedisArgs for Key<'_> {
    fn write_redis_args<W: RedisWrite + ?Sized>(&self, out: &mut W) {
        out.write_arg_fmt(self);
    }
}

/// The keys of one room, and its channel.
#[derive(Debug)]
pub(crate) struct RoomKeys {
    channel: String,
    /// Length of the part of `channel` that names the partition, in bytes.
    partition: usize,
}

impl RoomKeys {
    /// The first keys of every script that may store events, in order.
    pub(crate) fn of_event(&self) -> [Key<'_>; 9] {
        [
            self.meta(),
            self.stream(),
            self.of_room(":nonces"),
            self.of_room(":nonces-older"),
            self.tombstones(),
            self.edits(),
            self.changes(),
            self.waiting(),
            self.sizes(),
        ]
    }

    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    pub(crate) fn meta(&self) -> Key<'_> {
        self.of_room(":meta")
    }

    pub(crate) fn stream(&self) -> Key<'_> {
        self.of_room(":stream")
    }

    pub(crate) fn tombstones(&self) -> Key<'_> {
        self.of_room(":tombstones")
    }

    pub(crate) fn edits(&self) -> Key<'_> {
        self.of_room(":edits")
    }

    pub(crate) fn users(&self) -> Key<'_> {
        self.of_room(":users")
    }

    pub(crate) fn webhooks(&self) -> Key<'_> {
        self.of_room(":webhooks")
    }

    pub(crate) fn attendance(&self) -> Key<'_> {
        self.of_room(":attendance")
    }

    /// The partition's rooms by the time of their newest change.
    pub(crate) fn changes(&self) -> Key<'_> {
        self.of_partition(CHANGES)
    }

    /// The partition's rooms that wait for the archive.
    pub(crate) fn waiting(&self) -> Key<'_> {
        self.of_partition(WAITING)
    }

    /// The partition's run.
    pub(crate) fn run(&self) -> Key<'_> {
        self.of_partition(RUN)
    }

    /// The sizes of the partition's streams.
    pub(crate) fn sizes(&self) -> Key<'_> {
        self.of_partition(SIZES)
    }

    fn of_room(&self, part: &'static str) -> Key<'_> {
        let base = &self.channel;
        Key { base, part }
    }

    fn of_partition(&self, part: &'static str) -> Key<'_> {
        let base = &self.channel[..self.partition];
        Key { base, part }
    }
}

impl Keys {
    pub(crate) fn new(prefix: &str) -> Self {
        let tags: Vec<_> = TAGS.lines().collect();
        assert_eq!(tags.len(), PARTITIONS, "one tag for each partition");
        Self {
            prefix: encode(prefix),
            tags,
        }
    }

    pub(crate) fn room(&self, room: &RoomId) -> RoomKeys {
        let mut channel = self.partition(partition_of(room));
        let partition = channel.len();
        channel.push_str(":room:");
        encode_into(&mut channel, room.as_str());
        RoomKeys { channel, partition }
    }

    /// The channel that carries a room's packets.
    pub(crate) fn channel(&self, room: &RoomId) -> String {
        self.room(room).channel
    }

    /// The users that a lease has registered in a room.
    pub(crate) fn lease_users(&self, room: &RoomId, lease: &str) -> String {
        format!("{}:node:{}", self.channel(room), encode(lease))
    }

    /// The rooms of a partition in which a lease has registered users.
    pub(crate) fn lease_rooms(&self, partition: usize, lease: &str) -> String {
        format!("{}:node:{}:rooms", self.partition(partition), encode(lease))
    }

    /// A partition's rooms by the time of their newest change.
    pub(crate) fn changes(&self, partition: usize) -> String {
        self.partition(partition) + CHANGES
    }

    /// A partition's run.
    pub(crate) fn run(&self, partition: usize) -> String {
        self.partition(partition) + RUN
    }

    /// The sizes of a partition's streams, by room.
    pub(crate) fn sizes(&self, partition: usize) -> String {
        self.partition(partition) + SIZES
    }

    /// A partition's rooms that wait for the archive, by the time when they began to wait.
    pub(crate) fn waiting(&self, partition: usize) -> String {
        self.partition(partition) + WAITING
    }

    /// A partition's rooms that wait for a webhook, by the time when they began to wait.
    pub(crate) fn webhook(&self, partition: usize, name: &str) -> String {
        format!("{}:webhook:{}", self.partition(partition), encode(name))
    }

    /// The key that a node writes before it waits for a replica.
    pub(crate) fn replicated(&self, lease: &str) -> String {
        format!("{}:replicated:{}", self.prefix, encode(lease))
    }

    /// Leases by the time of their last renewal.
    pub(crate) fn nodes(&self) -> String {
        format!("{}:nodes", self.prefix)
    }

    /// Leases of nodes that wait to join, by the time of their last renewal.
    pub(crate) fn waiting_nodes(&self) -> String {
        format!("{}:nodes:waiting", self.prefix)
    }

    /// The settings that nodes have declared, by lease.
    pub(crate) fn node_settings(&self) -> String {
        format!("{}:nodes:settings", self.prefix)
    }

    /// The cluster's ID in the archive, and the ID of this Redis data.
    pub(crate) fn identity(&self) -> String {
        format!("{}:identity", self.prefix)
    }

    /// The operators' orders, by sequence.
    pub(crate) fn orders(&self) -> String {
        format!("{}:orders", self.prefix)
    }

    /// The rules of lasting orders: the rule's name → the order.
    pub(crate) fn rules(&self) -> String {
        format!("{}:rules", self.prefix)
    }

    /// Names of rules, by the time when they end.
    pub(crate) fn rule_ends(&self) -> String {
        format!("{}:rules:ends", self.prefix)
    }

    /// The channel on which all nodes receive orders and questions.
    pub(crate) fn control(&self) -> String {
        format!("{}:control", self.prefix)
    }

    /// The nodes' answers to a question.
    pub(crate) fn answers(&self, question: &str) -> String {
        format!("{}:answers:{}", self.prefix, encode(question))
    }

    /// The part of a limit that a user has taken.
    pub(crate) fn pace(&self, limit: &str, user: &str) -> String {
        format!("{}:pace:{limit}:{}", self.prefix, encode(user))
    }

    /// The content of a ticket.
    pub(crate) fn ticket(&self, digest: &str) -> String {
        format!("{}:ticket:{digest}", self.prefix)
    }

    /// The cluster's secret.
    pub(crate) fn secret(&self) -> String {
        format!("{}:secret", self.prefix)
    }

    /// Since when that secret is the cluster's.
    pub(crate) fn secret_born(&self) -> String {
        format!("{}:secret:born", self.prefix)
    }

    /// Secrets that gave way to it.
    pub(crate) fn former_secrets(&self) -> String {
        format!("{}:secret:former", self.prefix)
    }

    /// The channel on which a node receives its own probes.
    pub(crate) fn probe(&self, lease: &str) -> String {
        format!("{}:probe:{}", self.prefix, encode(lease))
    }

    fn partition(&self, partition: usize) -> String {
        let mut name = String::with_capacity(self.prefix.len() + NAME_BYTES);
        // Writing to a string never fails.
        let _ = write!(name, "{}:{{{}}}", self.prefix, self.tags[partition]);
        name
    }
}

/// A room's partition: FNV-1a over its ID, the same in every version.
pub(crate) fn partition_of(room: &RoomId) -> usize {
    let hash = room
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    usize::try_from(hash % PARTITIONS as u64).expect("a partition is below 64")
}

/// Percent-encodes a name, so that it contains no hash tags, no patterns and no `:`, our separator.
/// Room and user IDs may hold `:`.
fn encode(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    encode_into(&mut encoded, name);
    encoded
}

fn encode_into(encoded: &mut String, name: &str) {
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' => {
                encoded.push(char::from(byte));
            }
            // Writing to a string never fails.
            other => drop(write!(encoded, "%{other:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_a_room_share_its_partitions_tag() {
        let keys = Keys::new("hubbub");
        let room = RoomId::new("lobby").unwrap();
        let tag = format!("hubbub:{{{}}}:", keys.tags[partition_of(&room)]);
        let names = keys.room(&room);
        let others = [
            names.users(),
            names.changes(),
            names.waiting(),
            names.run(),
            names.webhooks(),
            names.attendance(),
        ];
        let whole = [
            keys.changes(partition_of(&room)),
            keys.waiting(partition_of(&room)),
            keys.sizes(partition_of(&room)),
            keys.webhook(partition_of(&room), "a:b"),
            keys.channel(&room),
            keys.lease_users(&room, "gw-1:x"),
            keys.lease_rooms(partition_of(&room), "gw-1:x"),
        ];
        let of_room = names.of_event().into_iter().chain(others);
        for name in of_room.map(|key| key.to_string()).chain(whole) {
            assert!(name.starts_with(&tag), "{name} lacks the tag {tag}");
        }
        assert_eq!(
            names.changes().to_string(),
            keys.changes(partition_of(&room))
        );
        assert_eq!(
            names.waiting().to_string(),
            keys.waiting(partition_of(&room))
        );
    }

    #[test]
    fn no_two_rooms_share_a_key() {
        let keys = Keys::new("hubbub");
        let plain = keys.room(&RoomId::new("a").unwrap()).meta().to_string();
        let tricky = keys.channel(&RoomId::new("a:meta").unwrap());
        assert_ne!(plain, tricky);
        assert!(tricky.ends_with(":room:a%3Ameta"));
    }

    #[test]
    fn partitions_never_move() {
        let partition = |room: &str| partition_of(&RoomId::new(room).unwrap());
        assert_eq!(
            [partition("lobby"), partition("a"), partition("room-1")],
            [51, 12, 12]
        );
    }
}
