//! The settings that the nodes of a cluster compare.
//!
//! A difference that loses, splits or exposes data keeps a starting node out. Everything else may
//! differ while the nodes are restarted one after the other, and is only reported.

use hubbub_broker::Rule;

/// A setting: its key, how nodes agree on it, and what a difference does.
type Row = (&'static str, Rule, &'static str);

/// Every setting that is compared, in the order of its values in a declaration.
pub(crate) const SETTINGS: [Row; 32] = [
    (
        "protocol",
        Rule::Same,
        "nodes do not understand each other's packets, so messages are lost",
    ),
    (
        "cluster secret",
        Rule::Same,
        "guests of one node are unknown to the other and retries are stored twice, for the seconds that \
         the nodes need to agree on one",
    ),
    (
        "redis form",
        Rule::Same,
        "the nodes look for a room's data in different places, so rooms are split",
    ),
    (
        "partitions",
        Rule::Same,
        "the nodes look for a room's data in different places, so rooms are split",
    ),
    (
        "archive.url",
        Rule::Same,
        "history is split, and what one node takes never reaches the other's archive",
    ),
    (
        "auth.mode",
        Rule::Same,
        "one node lets in guests whom the other refuses",
    ),
    (
        "auth.secret",
        Rule::Overlap,
        "tokens that one node takes or makes are refused by the other",
    ),
    (
        "auth.public_key",
        Rule::Overlap,
        "tokens that one node takes are refused by the other",
    ),
    (
        "auth.jwks_url",
        Rule::Overlap,
        "tokens that one node takes are refused by the other",
    ),
    (
        "auth keys",
        Rule::Overlap,
        "no token counts on both nodes: auth.secret, auth.public_key and auth.jwks_url have nothing in \
         common",
    ),
    (
        "auth.issuer",
        Rule::Check,
        "one node takes tokens that the other refuses",
    ),
    (
        "auth.audience",
        Rule::Check,
        "one node takes tokens that the other refuses",
    ),
    (
        "history.stream_len",
        Rule::Same,
        "each node cuts every room's stream to its own length, so events that the other keeps are lost",
    ),
    (
        "history.stream_bytes",
        Rule::Same,
        "each node cuts every room's stream to its own size, so events that the other keeps are lost",
    ),
    (
        "history.cluster_bytes",
        Rule::Free,
        "all streams together are kept to one size or the other, as the nodes come and go",
    ),
    (
        "history.archive_backlog",
        Rule::Same,
        "one node cuts streams that the other keeps for the archive, so events are lost",
    ),
    (
        "history.stream_ttl",
        Rule::Same,
        "one node lets streams expire that the other keeps, so events are lost",
    ),
    (
        "history.meta_ttl",
        Rule::Same,
        "one node lets a room's place expire that the other keeps, so offsets are lost",
    ),
    (
        "room",
        Rule::Same,
        "one node allows what the other forbids, or deletes what the other keeps",
    ),
    (
        "webhook",
        Rule::Same,
        "events that pass through one node are never posted by the other",
    ),
    (
        "webhook secret",
        Rule::Same,
        "requests of one node have a signature that the receiver does not expect",
    ),
    (
        "api_key",
        Rule::Free,
        "a program's key counts on one node only",
    ),
    (
        "ack.level",
        Rule::Free,
        "an ack means more on one node than on the other",
    ),
    (
        "auth.cookie",
        Rule::Free,
        "a browser that one node has signed in is unknown to the other",
    ),
    (
        "http.allowed_origins",
        Rule::Free,
        "a page may connect to one node only",
    ),
    (
        "http.public_urls",
        Rule::Free,
        "a page that one node serves cannot go to the other, or is refused there",
    ),
    (
        "http.trusted_proxies",
        Rule::Free,
        "limits and bans count a client's address on one node and its proxy's on the other",
    ),
    (
        "http.forwarded_header",
        Rule::Free,
        "limits and bans count a client's address on one node and its proxy's on the other",
    ),
    (
        "socketio.default_room",
        Rule::Free,
        "Socket.IO clients of the two nodes are in different rooms",
    ),
    (
        "limits.body_bytes",
        Rule::Free,
        "one node takes messages that the other refuses",
    ),
    (
        "limits.user_sends_per_second",
        Rule::Free,
        "a user may send faster over one node than over the other",
    ),
    (
        "limits.user_new_rooms_per_minute",
        Rule::Free,
        "a user may begin more rooms over one node than over the other",
    ),
];

/// Whether a setting of this name is compared.
pub(crate) fn is_setting(name: &str) -> bool {
    SETTINGS.iter().any(|(setting, ..)| *setting == name)
}
