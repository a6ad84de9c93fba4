//! Every setting of a node, composed of the crates' own sections.

mod effective;
mod env;
mod error;
mod hints;
mod kind;
mod known;
mod layers;
mod origin;
mod tables;
mod variable;

use std::time::Duration;

use crate::agreement::is_setting;
pub use effective::print_effective;
pub use error::{CheckError, ConfigError};
use hubbub_archive::ArchiveSection;
use hubbub_broker::{BrokerConfig, HistorySection, RedisSection};
use hubbub_gateway::auth::{Auth, AuthError};
use hubbub_gateway::socketio::SocketIoSection;
use hubbub_gateway::{ApiKey, AuthSection, GatewayConfig, HttpSection, OpsSection};
use hubbub_node::{
    AckSection, DrainSection, Failpoints, Limits, NodeConfig, NodeSection, RoomRule,
};
use hubbub_protocol::{AckLevel, RoomId};
use hubbub_webhooks::Webhook;
pub use layers::{Loaded, Setting, SettingsFile, Sources, load};
use serde::{Deserialize, Serialize};

/// All settings. `Default` is what a node has when nobody says anything.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Section `node`: its name.
    pub node: NodeSection,
    /// Section `http`: the clients' port.
    pub http: HttpSection,
    /// Section `ops`: the operators' port.
    pub ops: OpsSection,
    /// Section `redis`: the cluster.
    pub redis: RedisSection,
    /// Section `archive`: long-term history.
    pub archive: ArchiveSection,
    /// Section `auth`: whose tokens count.
    pub auth: AuthSection,
    /// Section `history`: how far back a client can resume.
    pub history: HistorySection,
    /// Section `ack`: what a `sent` reply promises.
    pub ack: AckSection,
    /// Section `limits`.
    pub limits: Limits,
    /// Section `drain`: how a node leaves.
    pub drain: DrainSection,
    /// Section `socketio`: the transport for Socket.IO clients.
    pub socketio: SocketIoSection,
    /// Tables `[[room]]`: what holds for some rooms.
    #[serde(rename = "room")]
    pub rooms: Vec<RoomRule>,
    /// Tables `[[api_key]]`: keys for programs.
    #[serde(rename = "api_key")]
    pub api_keys: Vec<ApiKey>,
    /// Tables `[[webhook]]`: who is told of what happens.
    #[serde(rename = "webhook")]
    pub webhooks: Vec<Webhook>,
    /// Faults for tests, from the environment variable [`FAILPOINTS`]; no setting.
    #[serde(skip)]
    pub failpoints: Failpoints,
}

/// Switches faults on, for tests of the real binary: names with commas between them.
pub const FAILPOINTS: &str = "HUBBUB_FAILPOINTS";

impl Settings {
    /// The node's part.
    #[must_use]
    pub fn node_config(&self) -> NodeConfig {
        NodeConfig {
            node: self.node.clone(),
            limits: self.limits.clone(),
            ack: self.ack.clone(),
            drain: self.drain.clone(),
            rooms: self.rooms.clone(),
            homes: homes(&self.socketio),
            failpoints: self.failpoints,
        }
    }

    /// The broker's part.
    #[must_use]
    pub fn broker_config(&self) -> BrokerConfig {
        BrokerConfig {
            redis: self.redis.clone(),
            history: self.history.clone(),
            send_timeout: self.limits.send_timeout,
            embedded_bytes: self.limits.embedded_bytes,
            has_archive: !self.archive.url.is_empty(),
            webhooks: self.webhooks.iter().map(Webhook::queue).collect(),
        }
    }

    /// The gateway's part, for a process that can hold so many connections.
    #[must_use]
    pub fn gateway_config(&self, connections: usize) -> GatewayConfig {
        GatewayConfig {
            http: self.http.clone(),
            ops: self.ops.clone(),
            socketio: self.socketio.clone(),
            connections,
        }
    }

    /// The tokens that are accepted.
    ///
    /// # Errors
    /// [`AuthError`] names the setting that cannot work.
    pub fn make_auth(&self) -> Result<Auth, AuthError> {
        Auth::new(&self.auth, &self.api_keys)
    }

    /// Checks what the types of the settings do not.
    ///
    /// # Errors
    /// [`CheckError`] names what has to change.
    pub fn check(&self) -> Result<(), CheckError> {
        self.make_auth()?;
        self.http.check()?;
        self.ops.check()?;
        hints::check_password("redis.url", &self.redis.url)?;
        hints::check_password("archive.url", &self.archive.url)?;
        self.redis.check()?;
        self.archive.check(!self.redis.url.is_empty())?;
        self.socketio.check(&self.limits)?;
        hubbub_webhooks::check(&self.webhooks)?;
        check_address("http.bind", &self.http.bind)?;
        if !self.ops.bind.is_empty() {
            check_address("ops.bind", &self.ops.bind)?;
        }
        self.check_zeros()?;
        let named = self.redis.may_differ.iter();
        if let Some(name) = named.into_iter().find(|name| !is_setting(name)) {
            return Err(CheckError::NotCompared(name.clone()));
        }
        self.check_pairs()
    }

    fn check_zeros(&self) -> Result<(), CheckError> {
        let limits = &self.limits;
        let times = [
            ("limits.header_timeout", limits.header_timeout),
            ("limits.hello_timeout", limits.hello_timeout),
            ("limits.assemble_timeout", limits.assemble_timeout),
            ("limits.ping_interval", limits.ping_interval),
            ("limits.pong_timeout", limits.pong_timeout),
            ("limits.write_timeout", limits.write_timeout),
            ("limits.send_timeout", limits.send_timeout),
            ("history.stream_ttl", self.history.stream_ttl),
        ];
        let counts = [
            ("limits.frame_bytes", limits.frame_bytes.as_u64()),
            ("limits.body_bytes", limits.body_bytes.as_u64()),
            ("limits.outbox_bytes", limits.outbox_bytes.as_u64()),
            (
                "limits.outbox_node_bytes",
                limits.outbox_node_bytes.as_u64(),
            ),
            ("limits.embedded_bytes", limits.embedded_bytes.as_u64()),
            ("limits.headers", limits.headers as u64),
            ("limits.outbox_frames", limits.outbox_frames as u64),
            ("limits.resume_page", limits.resume_page as u64),
            ("history.stream_len", self.history.stream_len as u64),
            ("history.stream_bytes", self.history.stream_bytes.as_u64()),
        ];
        let zero_time = times
            .iter()
            .find(|(_, time)| *time == Duration::ZERO)
            .map(|(key, _)| key);
        let zero_count = counts
            .iter()
            .find(|(_, count)| *count == 0)
            .map(|(key, _)| key);
        zero_time
            .or(zero_count)
            .map_or(Ok(()), |key| Err(CheckError::Zero(key)))
    }

    fn has_token_twice(&self) -> bool {
        let token = &self.ops.token;
        let is_key = self.api_keys.iter().any(|it| it.key == *token);
        !token.is_empty() && (self.auth.secret.contains(token) || is_key)
    }

    fn check_pairs(&self) -> Result<(), CheckError> {
        let drain = &self.drain;
        let http = &self.http;
        let contradictions = [
            (
                http.tls_cert.is_empty() != http.tls_key.is_empty(),
                "http.tls_cert and http.tls_key belong together: set both or neither",
            ),
            (
                http.proxy_protocol && http.trusted_proxies.is_empty(),
                "http.proxy_protocol needs http.trusted_proxies: nobody else may connect then",
            ),
            (
                self.failpoints != Failpoints::default() && !is_loopback(&self.ops.bind),
                "HUBBUB_FAILPOINTS is for tests: it needs ops.bind on 127.0.0.1",
            ),
            (
                self.has_token_twice(),
                "ops.token must be no other secret too: neither auth.secret nor a key of [[api_key]]",
            ),
            (
                self.auth.jwks_refresh < Duration::from_secs(10),
                "auth.jwks_refresh must be 10s or more: keys are not fetched more often",
            ),
            (
                self.limits.frame_bytes <= self.limits.body_bytes,
                "limits.frame_bytes must be larger than limits.body_bytes: a frame holds a body",
            ),
            (
                self.history.meta_ttl <= self.history.stream_ttl,
                "history.meta_ttl must be longer than history.stream_ttl: \
                 offsets must outlive the events",
            ),
            (
                self.ack.level == AckLevel::Archived && self.archive.url.is_empty(),
                "ack.level = \"archived\" needs an archive: set archive.url",
            ),
            (
                self.ack.level == AckLevel::Replicated && self.redis.url.is_empty(),
                "ack.level = \"replicated\" needs Redis with a replica: set redis.url",
            ),
            (
                drain.ready_delay.saturating_add(drain.spread) > drain.deadline,
                "drain.deadline must not be shorter than drain.ready_delay and drain.spread \
                 together: clients would be cut off",
            ),
        ];
        let found = contradictions.iter().find(|(wrong, _)| *wrong);
        found.map_or(Ok(()), |(_, message)| {
            Err(CheckError::Contradiction(message))
        })
    }
}

/// The rooms in which Socket.IO clients begin.
fn homes(socketio: &SocketIoSection) -> Vec<RoomId> {
    // A name that is none was refused by the check.
    let rooms = socketio.rooms().unwrap_or_default().into_iter();
    rooms.map(|(_, room)| room).collect()
}

fn is_loopback(bind: &str) -> bool {
    let address = bind.parse::<std::net::SocketAddr>();
    bind.is_empty() || address.is_ok_and(|address| address.ip().is_loopback())
}

fn check_address(key: &'static str, value: &str) -> Result<(), CheckError> {
    let parts = value.rsplit_once(':');
    if parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()) {
        return Ok(());
    }
    Err(CheckError::Address {
        key,
        value: value.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut Settings)) -> String {
        let mut settings = Settings::default();
        change(&mut settings);
        settings.check().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_work() {
        Settings::default().check().unwrap();
    }

    #[test]
    fn what_cannot_work_is_named() {
        assert!(refusal(|s| s.http.bind = "3000".to_owned()).starts_with("http.bind"));
        assert!(refusal(|s| s.redis.url = "http://h".to_owned()).starts_with("redis.url"));
        assert!(refusal(|s| s.ops.bind = "localhost:many".to_owned()).starts_with("ops.bind"));
        assert!(refusal(|s| s.auth.secret = "short".to_owned().into()).starts_with("auth.secret"));
        assert!(
            refusal(|s| s.http.allowed_origins = vec!["x".to_owned()]).contains("allowed_origins")
        );
        assert!(
            refusal(|s| s.limits.ping_interval = Duration::ZERO).contains("limits.ping_interval")
        );
        let unknown = refusal(|s| s.redis.may_differ = vec!["limits".to_owned()]);
        assert!(unknown.starts_with("redis.may_differ") && unknown.contains("history.stream_len"));
        assert!(refusal(|s| s.limits.resume_page = 0).contains("limits.resume_page"));
        assert!(refusal(|s| s.limits.body_bytes = s.limits.frame_bytes).contains("body_bytes"));
        assert!(refusal(|s| s.history.meta_ttl = s.history.stream_ttl).contains("meta_ttl"));
        assert!(refusal(|s| s.archive.url = "mysql://h/db".to_owned()).starts_with("archive.url"));
        assert!(
            refusal(|s| {
                s.archive.url = "sqlite://hubbub.db".to_owned();
                s.redis.url = "redis://localhost".to_owned();
            })
            .contains("sqlite cannot be used")
        );
        assert!(refusal(|s| s.http.tls_key = "key.pem".to_owned()).contains("http.tls_cert"));
        assert!(refusal(|s| s.http.proxy_protocol = true).contains("http.trusted_proxies"));
        assert!(refusal(|s| s.drain.deadline = Duration::from_secs(1)).contains("drain.deadline"));
    }

    #[test]
    fn no_operators_port_is_fine() {
        let mut settings = Settings::default();
        settings.ops.bind = String::new();
        settings.check().unwrap();
    }
}
