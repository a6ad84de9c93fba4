//! Names of keys and channels in Redis. Section 6 of ARCHITECTURE.md lists what each holds.
//!
//! A room belongs to one of 64 partitions. All keys of a partition carry its tag in braces, so
//! that in a Redis Cluster they share a slot and one script may touch them.

use hubbub_protocol::RoomId;

/// One tag a line, one in each 256 of the 16,384 slots of a Redis Cluster.
const TAGS: &str = include_str!("partition-tags.txt");
/// How many partitions there are. Fixed for ever: a room's keys depend on it.
pub(crate) const PARTITIONS: usize = 64;

/// Makes all names of one cluster.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    prefix: String,
    tags: Vec<&'static str>,
}

/// The keys of one room, and its channel.
#[derive(Debug)]
pub(crate) struct RoomKeys {
    pub(crate) meta: String,
    pub(crate) stream: String,
    pub(crate) nonces: String,
    pub(crate) older_nonces: String,
    pub(crate) tombstones: String,
    pub(crate) edits: String,
    pub(crate) users: String,
    pub(crate) changes: String,
    pub(crate) waiting: String,
    pub(crate) webhooks: String,
    pub(crate) attendance: String,
    pub(crate) channel: String,
}

impl RoomKeys {
    /// The first keys of every script that may begin a new life of the room, in their order.
    pub(crate) fn of_life(&self) -> [&str; 6] {
        [
            &self.meta,
            &self.stream,
            &self.nonces,
            &self.older_nonces,
            &self.tombstones,
            &self.edits,
        ]
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
        let partition = self.partition(partition_of(room));
        let base = self.channel(room);
        RoomKeys {
            meta: format!("{base}:meta"),
            stream: format!("{base}:stream"),
            nonces: format!("{base}:nonces"),
            older_nonces: format!("{base}:nonces-older"),
            tombstones: format!("{base}:tombstones"),
            edits: format!("{base}:edits"),
            users: format!("{base}:users"),
            changes: format!("{partition}:changes"),
            waiting: format!("{partition}:archive"),
            webhooks: format!("{base}:webhooks"),
            attendance: format!("{base}:attendance"),
            channel: base,
        }
    }

    /// The channel that carries a room's packets.
    pub(crate) fn channel(&self, room: &RoomId) -> String {
        format!(
            "{}:room:{}",
            self.partition(partition_of(room)),
            encode(room.as_str())
        )
    }

    /// The users that a lease has in a room.
    pub(crate) fn lease_users(&self, room: &RoomId, lease: &str) -> String {
        format!("{}:node:{}", self.channel(room), encode(lease))
    }

    /// The rooms of a partition in which a lease has users.
    pub(crate) fn lease_rooms(&self, partition: usize, lease: &str) -> String {
        format!("{}:node:{}:rooms", self.partition(partition), encode(lease))
    }

    /// Rooms of a partition by the time of their newest change.
    pub(crate) fn changes(&self, partition: usize) -> String {
        format!("{}:changes", self.partition(partition))
    }

    /// Rooms of a partition that wait for the archive, by the time when they began to.
    pub(crate) fn waiting(&self, partition: usize) -> String {
        format!("{}:archive", self.partition(partition))
    }

    /// Rooms of a partition that wait for a webhook, by the time when they began to.
    pub(crate) fn webhook(&self, partition: usize, name: &str) -> String {
        format!("{}:webhook:{}", self.partition(partition), encode(name))
    }

    /// What a node writes before it waits for a replica.
    pub(crate) fn replicated(&self, lease: &str) -> String {
        format!("{}:replicated:{}", self.prefix, encode(lease))
    }

    /// Leases by the time of their last renewal.
    pub(crate) fn nodes(&self) -> String {
        format!("{}:nodes", self.prefix)
    }

    /// Orders of operators by their sequence.
    pub(crate) fn orders(&self) -> String {
        format!("{}:orders", self.prefix)
    }

    /// What lasting orders have left: the rule's name → the order.
    pub(crate) fn rules(&self) -> String {
        format!("{}:rules", self.prefix)
    }

    /// Names of rules by the time when they end.
    pub(crate) fn rule_ends(&self) -> String {
        format!("{}:rules:ends", self.prefix)
    }

    /// The channel on which all nodes hear of orders and questions.
    pub(crate) fn control(&self) -> String {
        format!("{}:control", self.prefix)
    }

    /// Where nodes put their answers to a question.
    pub(crate) fn answers(&self, question: &str) -> String {
        format!("{}:answers:{}", self.prefix, encode(question))
    }

    /// How much of a limit a user has taken.
    pub(crate) fn pace(&self, limit: &str, user: &str) -> String {
        format!("{}:pace:{limit}:{}", self.prefix, encode(user))
    }

    /// Who a ticket stands for.
    pub(crate) fn ticket(&self, digest: &str) -> String {
        format!("{}:ticket:{digest}", self.prefix)
    }

    /// The cluster's secret.
    pub(crate) fn secret(&self) -> String {
        format!("{}:secret", self.prefix)
    }

    /// The channel on which a node hears itself.
    pub(crate) fn probe(&self, lease: &str) -> String {
        format!("{}:probe:{}", self.prefix, encode(lease))
    }

    fn partition(&self, partition: usize) -> String {
        format!("{}:{{{}}}", self.prefix, self.tags[partition])
    }
}

/// Which partition a room belongs to: FNV-1a over its id, the same in every version.
pub(crate) fn partition_of(room: &RoomId) -> usize {
    let hash = room
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    usize::try_from(hash % PARTITIONS as u64).expect("a partition is below 64")
}

/// Keeps a name from reaching hash tags, patterns and our own separator: ids may hold `:`, and
/// what else they may hold is harmless.
fn encode(name: &str) -> String {
    name.bytes()
        .fold(String::with_capacity(name.len()), |mut encoded, byte| {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' => {
                    encoded.push(char::from(byte));
                }
                other => encoded.push_str(&format!("%{other:02X}")),
            }
            encoded
        })
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
        for name in [
            names.meta,
            names.stream,
            names.nonces,
            names.older_nonces,
            names.tombstones,
            names.edits,
            names.users,
            names.changes,
            names.waiting,
            names.webhooks,
            names.attendance,
            keys.webhook(partition_of(&room), "a:b"),
            names.channel,
            keys.lease_users(&room, "gw-1:x"),
            keys.lease_rooms(partition_of(&room), "gw-1:x"),
        ] {
            assert!(name.starts_with(&tag), "{name} has not {tag}");
        }
    }

    #[test]
    fn no_two_rooms_share_a_key() {
        let keys = Keys::new("hubbub");
        let plain = keys.room(&RoomId::new("a").unwrap()).meta;
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
