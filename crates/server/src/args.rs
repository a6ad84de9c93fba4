//! The arguments of the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::commands::{ADMIN_HELP, AdminArgs};
use crate::config::{ConfigError, Loaded, SettingsFile, Sources, load};

/// Chat that runs on your own machines and scales by adding nodes.
#[derive(Debug, Parser)]
#[command(name = "hubbub", version, about, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  hubbub demo                      a cluster of three nodes on this machine: open the URLs it prints
  hubbub serve                     one node that stands alone
  hubbub serve --redis-url redis://127.0.0.1:6379
                                   one node of a cluster; start as many as you like
  hubbub config                    all settings, and where each one came from

Settings come from hubbub.toml, then from the environment (HUBBUB__SECTION__KEY), then from flags;
the later wins. RUST_LOG says what is logged: RUST_LOG=debug hubbub serve.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole cluster on this machine, without any other service
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(DemoArgs),
    /// Run one node: of a cluster with redis.url set, alone without
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(SettingsArgs),
    /// Make a token (a JWT) with the configured secret and print it
    #[command(after_help = TOKEN_EXAMPLES)]
    Token(TokenArgs),
    /// Check the settings and print them, each with where it came from, secrets hidden
    #[command(after_help = CONFIG_EXAMPLES)]
    Config(SettingsArgs),
    /// Ask a node whether it is ready: exit code 0 when it is, 1 when not
    #[command(after_help = HEALTHCHECK_EXAMPLES)]
    Healthcheck(HealthcheckArgs),
    /// Measure memory, CPU, latency, loss and order under load
    Bench(hubbub_bench::BenchArgs),
    /// Check the archive, or take a room out of it
    #[command(subcommand)]
    Archive(ArchiveCommand),
    /// Look at a running cluster, keep people out, delete messages, drain nodes
    #[command(after_help = ADMIN_HELP)]
    Admin(AdminArgs),
    /// Judge what clients have heard: nothing lost, nothing twice, one order for all
    #[command(after_help = VERIFY_HELP)]
    Verify(VerifyArgs),
}

const DEMO_EXAMPLES: &str = "\
Examples:
  hubbub demo                      nodes on the ports 3000, 3001 and 3002
  hubbub demo --nodes 5 --port 4000
  hubbub demo --redis-url redis://127.0.0.1:6379
  hubbub demo --ops-port 9090      with /readyz and /metrics on the ports 9090, 9091, 9092";

const SERVE_EXAMPLES: &str = "\
Examples:
  hubbub serve --config /etc/hubbub.toml
  hubbub serve --redis-url redis://127.0.0.1:6379 --http-bind 0.0.0.0:3000 --node-id gw-1
  hubbub serve --set limits.connections=10000 --set drain.spread=10s
  HUBBUB__REDIS__URL=redis://127.0.0.1:6379 hubbub serve

SIGTERM and Ctrl-C move the clients to other nodes first (see drain.* in `hubbub config`);
a second signal ends the node at once. SIGHUP is logged and changes nothing: settings are read at the
start.";

const TOKEN_EXAMPLES: &str = "\
Examples:
  hubbub token --sub alice --name Alice
  hubbub token --sub bot-7 --ttl 30days --room 'news=r' --room 'team-*=rw'

auth.secret must be set, for example by HUBBUB__AUTH__SECRET. Without --room the token is good for
every room that is not private.";

const CONFIG_EXAMPLES: &str = "\
Examples:
  hubbub config                    what `hubbub serve` would use here
  hubbub config > hubbub.toml      a file to begin with
  HUBBUB__DRAIN__SPREAD=10s hubbub config --config /etc/hubbub.toml";

const HEALTHCHECK_EXAMPLES: &str = "\
Examples:
  hubbub healthcheck
  hubbub healthcheck --url http://10.0.0.7:9090/readyz";

const ARCHIVE_VERIFY_HELP: &str = "\
In every room, offsets must follow each other without a hole, and no event may be there twice. With
redis.url set, the streams are compared too: what they say is archived must be there, under the same
id. Nodes may run meanwhile; nothing is changed. Events that retention took away, and losses that the
archive has recorded, are no holes.

Exit code: 0 when all is whole, 1 when not, 2 when that cannot be found out.

Examples:
  hubbub archive verify
  hubbub archive verify --archive-url postgres://hubbub@db/hubbub --redis-url redis://127.0.0.1:6379
  hubbub archive verify --config /etc/hubbub.toml";

const ARCHIVE_ADOPT_HELP: &str = "\
An archive belongs to the first cluster that uses it, and other clusters are refused: two clusters in one
database would number their events alike. After this command the archive belongs to the next cluster that
starts with it. The nodes that use it now must have been stopped for ten seconds.

Exit code: 0 when it is done, 2 when it is not.

Example:
  hubbub archive adopt --archive-url postgres://hubbub@db/hubbub";

const ARCHIVE_EXPORT_HELP: &str = "\
Standard output gets JSON Lines: each event as it was sent, in the order of the offsets, with edits,
deletions and reactions as events of their own.

Examples:
  hubbub archive export lobby > lobby.jsonl
  hubbub archive export lobby --archive-url sqlite:///var/lib/hubbub.db | jq .body.text";

const VERIFY_HELP: &str = "\
A log is one client's: JSON Lines, one frame of the server a line, byte for byte as it came and in
its order. What counts are durable events, joined (with its events), reset, left, welcome and sent;
other types are passed over. A sender adds {\"type\":\"refused\",\"room\":…,\"nonce\":…} for a send
that was refused for good, and the same with \"unknown\" for one that was never answered; a nonce
in its sent lines is compared too. A log that ends before its room does says {\"type\":\"left\"} with
the room.

Exit code: 0 when every promise was kept, 1 when not, 2 when a log cannot be read.

Examples:
  hubbub verify alice.jsonl bob.jsonl
  hubbub verify logs/*.jsonl";

/// Flags for settings; they win over file and environment.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SettingsArgs {
    /// Settings file; without it hubbub.toml in the current folder, if there is one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and port for clients (http.bind)
    #[arg(long, value_name = "ADDRESS")]
    http_bind: Option<String>,
    /// Address and port for operators (ops.bind); "" for none
    #[arg(long, value_name = "ADDRESS")]
    ops_bind: Option<String>,
    /// The cluster's Redis (redis.url)
    #[arg(long, value_name = "URL")]
    redis_url: Option<String>,
    /// Where long-term history is (archive.url)
    #[arg(long, value_name = "URL")]
    archive_url: Option<String>,
    /// This node's name (node.id)
    #[arg(long, value_name = "NAME")]
    node_id: Option<String>,
    /// Any setting; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Flags of `hubbub demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// How many nodes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) nodes: u16,
    /// The first node's port; the others follow
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: u16,
    /// The first node's port for operators; the others follow
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) ops_port: Option<u16>,
    /// Keep the archive in this folder; without it, it goes when the demo ends
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Use this Redis instead of the embedded broker
    #[arg(long, value_name = "URL")]
    pub(crate) redis_url: Option<String>,
}

/// Flags of `hubbub token`.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// The user's id
    #[arg(long, value_name = "ID")]
    pub(crate) sub: String,
    /// The name that others see
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// How long the token is good
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
    pub(crate) ttl: Duration,
    /// A room id, or the beginning of one and *, and any of r, w, m and p; may be repeated
    #[arg(long = "room", value_name = "PATTERN=RIGHTS")]
    pub(crate) rooms: Vec<String>,
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
}

/// Commands of `hubbub archive`.
#[derive(Debug, Subcommand)]
pub(crate) enum ArchiveCommand {
    /// Check that no event is missing, none is there twice, and streams agree
    #[command(after_help = ARCHIVE_VERIFY_HELP)]
    Verify(SettingsArgs),
    /// Write all events of a room, a line each
    #[command(after_help = ARCHIVE_EXPORT_HELP)]
    Export(ExportArgs),
    /// Take the archive from the cluster it belongs to, for the next one that starts
    #[command(after_help = ARCHIVE_ADOPT_HELP)]
    Adopt(SettingsArgs),
}

/// Arguments of `hubbub archive export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Which room
    pub(crate) room: String,
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
}

/// Arguments of `hubbub verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Logs, one a client; its file name is the client's name
    #[arg(required = true, value_name = "LOG")]
    pub(crate) logs: Vec<PathBuf>,
}

/// Flags of `hubbub healthcheck`.
#[derive(Debug, Args)]
pub(crate) struct HealthcheckArgs {
    /// The URL to ask
    #[arg(long, default_value = "http://127.0.0.1:9090/readyz")]
    pub(crate) url: String,
}

impl SettingsArgs {
    /// Reads the settings from all their sources.
    pub(crate) fn load(&self) -> Result<Loaded, ConfigError> {
        let named = [
            ("http.bind", &self.http_bind, "--http-bind"),
            ("ops.bind", &self.ops_bind, "--ops-bind"),
            ("redis.url", &self.redis_url, "--redis-url"),
            ("archive.url", &self.archive_url, "--archive-url"),
            ("node.id", &self.node_id, "--node-id"),
        ];
        let mut flags = Vec::new();
        for assignment in &self.set {
            let (key, value) = assignment
                .split_once('=')
                .ok_or_else(|| ConfigError::BadFlag(assignment.clone()))?;
            flags.push((key.trim().to_owned(), value.to_owned(), "--set".to_owned()));
        }
        for (key, value, flag) in named {
            if let Some(value) = value {
                flags.push((key.to_owned(), value.clone(), flag.to_owned()));
            }
        }
        let file = self
            .config
            .clone()
            .map_or(SettingsFile::Usual, SettingsFile::Named);
        load(&Sources {
            file,
            env: environment(),
            flags,
        })
    }
}

/// The variables that are text; no setting can be anything else.
pub(crate) fn environment() -> Vec<(String, String)> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}
