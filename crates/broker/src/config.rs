//! The broker's settings: where Redis is and how much a stream keeps.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use crate::redis::parse_url;
use crate::{BrokerError, WebhookQueue};

/// What a broker needs to know at its start.
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
    /// What webhooks are to be told; the same on all nodes.
    pub webhooks: Vec<WebhookQueue>,
}

/// Section `redis`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisSection {
    /// `redis://[[user]:password@]host[:port][/db]`; empty: the embedded broker.
    pub url: String,
    /// Isolates several clusters in one Redis.
    pub prefix: String,
    /// Take a Redis whose `maxmemory-policy` may evict rooms in use. Their members are told by
    /// `reset`, but what was acked is gone.
    pub allow_eviction: bool,
}

impl Default for RedisSection {
    fn default() -> Self {
        Self {
            url: String::new(),
            prefix: "hubbub".to_owned(),
            allow_eviction: false,
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
    /// Checks the URL without connecting.
    ///
    /// # Errors
    /// [`BrokerError::BadUrl`] says what is wrong with it.
    pub fn check(&self) -> Result<(), BrokerError> {
        if self.url.is_empty() {
            return Ok(());
        }
        parse_url(&self.url).map(|_client| ())
    }
}

/// Section `history`: how far back a client can resume.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HistorySection {
    /// Events a room's stream keeps.
    pub stream_len: usize,
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
            archive_backlog: 100_000,
            stream_ttl: Duration::from_secs(24 * 60 * 60),
            meta_ttl: Duration::from_secs(30 * 24 * 60 * 60),
        }
    }
}
