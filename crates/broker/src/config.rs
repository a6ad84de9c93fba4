//! The broker's settings: where Redis is and how much a stream keeps.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use crate::redis::client;
use crate::{BrokerError, WebhookQueue};

/// The settings of a broker at its start.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// Section `redis`.
    pub redis: RedisSection,
    /// Section `history`.
    pub history: HistorySection,
    /// `limits.send_timeout`: how long a publish may wait for Redis.
    pub send_timeout: Duration,
    /// `limits.embedded_bytes`: bytes of all streams of the memory broker.
    pub embedded_bytes: ByteSize,
    /// Whether there is an archive that has to get every event.
    pub has_archive: bool,
    /// The webhooks and the events that they want; the same on all nodes.
    pub webhooks: Vec<WebhookQueue>,
}

/// Section `redis`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisSection {
    /// `redis[s]://[[user]:password@]host[:port][/db]`, with `rediss` over TLS; empty: the embedded
    /// broker.
    pub url: String,
    /// Isolates several clusters in one Redis.
    pub prefix: String,
    /// Take a Redis whose `maxmemory-policy` may evict rooms in use. Their members are told by
    /// `reset`, but what was acked is gone.
    pub allow_eviction: bool,
    /// Settings that may differ from those of the other nodes although that is harmful: for the time in
    /// which the nodes are restarted one after the other with another value.
    pub may_differ: Vec<String>,
    /// File with the certificates of who may vouch for Redis, PEM; empty: those of the system.
    pub tls_ca: String,
    /// File with this node's own certificate, PEM, for a Redis that asks for one; empty: none.
    pub tls_cert: String,
    /// File with that certificate's private key, PEM.
    pub tls_key: String,
    /// Take any certificate: nobody can listen, but anyone can pretend to be this Redis.
    pub tls_insecure: bool,
}

impl Default for RedisSection {
    fn default() -> Self {
        Self {
            url: String::new(),
            prefix: "hubbub".to_owned(),
            allow_eviction: false,
            may_differ: Vec::new(),
            tls_ca: String::new(),
            tls_cert: String::new(),
            tls_key: String::new(),
            tls_insecure: false,
        }
    }
}

impl std::fmt::Debug for RedisSection {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisSection")
            .field("prefix", &self.prefix)
            .field("allow_eviction", &self.allow_eviction)
            .finish_non_exhaustive()
    }
}

impl RedisSection {
    pub(crate) fn has_tls_settings(&self) -> bool {
        let files = [&self.tls_ca, &self.tls_cert, &self.tls_key];
        self.tls_insecure || files.iter().any(|file| !file.is_empty())
    }

    /// Checks the URL and reads the files that are named, without connecting.
    ///
    /// # Errors
    /// [`BrokerError::BadUrl`] says what is wrong with it.
    pub fn check(&self) -> Result<(), BrokerError> {
        if self.url.is_empty() {
            return Ok(());
        }
        client(self).map(|_client| ())
    }
}

/// Section `history`: how far back a client can resume.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HistorySection {
    /// Events a room's stream keeps.
    pub stream_len: usize,
    /// Bytes that a room's stream keeps; beyond, the oldest events leave it. Those that wait for the
    /// archive stay.
    pub stream_bytes: ByteSize,
    /// Bytes that all streams in Redis keep together; 0: six tenths of its `maxmemory`, if it has one.
    /// The rooms that one user or one address has begun keep an eighth of it. Beyond, the oldest events
    /// of the largest streams leave.
    pub cluster_bytes: ByteSize,
    /// Events a room's stream keeps for an archive that is behind; beyond, the oldest are lost to
    /// it, and the archive records the hole.
    pub archive_backlog: usize,
    /// How long a quiet room's stream is kept.
    #[serde(with = "humantime_serde")]
    pub stream_ttl: Duration,
    /// How long a quiet room's epoch and offset are kept; longer than `stream_ttl`.
    #[serde(with = "humantime_serde")]
    pub meta_ttl: Duration,
}

impl Default for HistorySection {
    fn default() -> Self {
        Self {
            stream_len: 10_000,
            stream_bytes: ByteSize::mib(32),
            cluster_bytes: ByteSize::b(0),
            archive_backlog: 100_000,
            stream_ttl: Duration::from_secs(24 * 60 * 60),
            meta_ttl: Duration::from_secs(30 * 24 * 60 * 60),
        }
    }
}
