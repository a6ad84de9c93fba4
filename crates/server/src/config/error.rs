//! [`ConfigError`] and [`CheckError`]: the reasons why settings cannot be used.

use std::io;
use std::path::PathBuf;

use hubbub_archive::ArchiveError;
use hubbub_broker::BrokerError;
use hubbub_gateway::OpsError;
use hubbub_gateway::auth::AuthError;
use hubbub_gateway::auth::origin::OriginError;
use hubbub_gateway::socketio::SocketIoError;
use hubbub_webhooks::WebhookError;

use crate::agreement::SETTINGS;

/// The reason why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// `--config` names no file.
    #[error("there is no file {}", .0.display())]
    NoFile(PathBuf),
    /// The file is not TOML.
    #[error("{}: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Where it breaks, without the line itself: that may be a secret's.
        why: String,
    },
    /// There is no such setting.
    #[error("unknown setting {key} ({origin}): did you mean {nearest}?")]
    UnknownKey {
        /// As written.
        key: String,
        /// Where it came from.
        origin: String,
        /// The known key that looks most like it.
        nearest: String,
    },
    /// A variable of the environment that would be ignored.
    #[error(
        "{name} is no setting of a node and would be ignored: did you mean {meant}? Two underscores \
         stand between the parts"
    )]
    NearMiss {
        /// As written.
        name: String,
        /// The variable that sets something.
        meant: String,
    },
    /// A node that was given an empty `redis.url` stands alone, which nobody means who sets it.
    #[error(
        "redis.url is empty ({origin}): the node would stand alone instead of joining its cluster. \
         Set it to redis://HOST:PORT, or remove it for a node that stands alone"
    )]
    EmptyRedisUrl {
        /// Where it came from.
        origin: String,
    },
    /// A table that may be repeated, written as something else.
    #[error(
        "{name} ({origin}): expected a list of tables, each begun by [[{name}]] with two brackets in a \
         settings file"
    )]
    NoTables {
        /// The tables' name.
        name: &'static str,
        /// Where it came from.
        origin: String,
    },
    /// A table among others of its name that cannot be read.
    #[error("[[{name}]], table {number} ({origin}): {problem}")]
    BadTable {
        /// The tables' name.
        name: &'static str,
        /// Which one, counted from 1.
        number: usize,
        /// Where they came from.
        origin: String,
        /// The fault.
        problem: String,
    },
    /// A value of the wrong form.
    #[error("{key} = {value} ({origin}): {problem}")]
    BadValue {
        /// The setting.
        key: String,
        /// As written; hidden for secrets.
        value: String,
        /// Where it came from.
        origin: String,
        /// The fault, or the form that is expected.
        problem: String,
    },
    /// A variable names a file that cannot be read.
    #[error("{name}: cannot read {}: {source}", path.display())]
    UnreadableValue {
        /// The variable.
        name: String,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A variable names a file that holds something else than a value.
    #[error("{name}: {} {problem}", path.display())]
    BadValueFile {
        /// The variable.
        name: String,
        /// The file.
        path: PathBuf,
        /// The fault and the remedy.
        problem: &'static str,
    },
    /// One variable has the value, and another names its file.
    #[error("{name} and {name}_FILE are both set: keep one")]
    ValueAndFile {
        /// The variable that has the value.
        name: String,
    },
    /// A flag that is not `KEY=VALUE`.
    #[error("--set {0}: expected KEY=VALUE, such as --set limits.connections=1000")]
    BadFlag(String),
    /// Each value is right, but they cannot work.
    #[error(transparent)]
    Check(#[from] CheckError),
}

/// Settings that cannot work, alone or together.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Section `auth`.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// Origins in section `http`.
    #[error("http.allowed_origins or http.public_urls: {0}")]
    Origin(#[from] OriginError),
    /// Section `ops`.
    #[error(transparent)]
    Ops(#[from] OpsError),
    /// Section `redis`.
    #[error(transparent)]
    Redis(#[from] BrokerError),
    /// Section `archive`.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Section `socketio`.
    #[error(transparent)]
    SocketIo(#[from] SocketIoError),
    /// Tables `[[webhook]]`.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    /// A character of a user name or password that means something else in a URL.
    #[error(
        "{key}: the user name or the password has {special:?} in it, which ends it there in a URL: write \
         {encoded} in its place (percent-encoding)"
    )]
    SpecialCharacter {
        /// The setting.
        key: &'static str,
        /// The character.
        special: char,
        /// How it is written.
        encoded: String,
    },
    /// Not `host:port`.
    #[error("{key} = {value:?} is not an address and a port, such as 127.0.0.1:3000")]
    Address {
        /// The setting.
        key: &'static str,
        /// The value.
        value: String,
    },
    /// A time or a size that would stop everything.
    #[error("{0} must be more than 0")]
    Zero(&'static str),
    /// `redis.may_differ` names something that is not compared.
    #[error(
        "redis.may_differ: {0:?} is not compared between nodes; those that are: {names}",
        names = SETTINGS.map(|(name, ..)| name).join(", ")
    )]
    NotCompared(String),
    /// Two settings that contradict each other.
    #[error("{0}")]
    Contradiction(&'static str),
}
