//! The nodes under load: processes that the bench starts, or nodes that already run.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use clap::Args;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::access::{Access, Credentials, Protocol};
use crate::error::BenchError;
use crate::redis::Redis;
use crate::usage;

/// How long a node may take to become ready.
const START: Duration = Duration::from_secs(20);
/// How many bytes of a failed node's log the error shows.
const LAST_WORDS: usize = 2000;

/// One node, ready. A node that the bench started is killed when dropped.
#[derive(Debug)]
pub(crate) struct Node {
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    /// Its process, if known.
    pub(crate) pid: Option<u32>,
    /// The process, to be killed, and its directory, to be removed, if the bench started it.
    own: Option<(Child, TempDir)>,
}

/// The cluster under load: nodes that the bench starts, or nodes that already run.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Target {
    /// Nodes to start
    #[arg(long, default_value_t = 1, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=16))]
    nodes: usize,
    /// Redis for the nodes to start; without it there is one node with the embedded broker. With
    /// --url: the running nodes' Redis, to measure its load
    #[arg(long, value_name = "URL")]
    redis_url: Option<String>,
    /// A running node to use, as http://127.0.0.1:3000; repeat it for several nodes. The node's
    /// limits must allow the load
    #[arg(long, value_name = "URL")]
    url: Vec<String>,
    /// The process ID of each --url, in the same order; without it CPU and memory are not reported
    #[arg(long, value_name = "PID", requires = "url")]
    pid: Vec<u32>,
    /// The running cluster's auth.secret, to sign a token for each connection; without it all are
    /// guests
    #[arg(long, value_name = "SECRET", requires = "url")]
    secret: Option<String>,
    /// A setting of the nodes to start; may be repeated
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "url")]
    set: Vec<String>,
    /// The protocol to speak to the nodes; nchan and pusher are for other systems, by --url
    #[arg(long, value_enum, default_value_t)]
    protocol: Protocol,
    /// Another program to start as the nodes, to compare with
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    program: Option<PathBuf>,
}

impl Target {
    fn access(&self, credentials: Credentials) -> Access {
        Access {
            protocol: self.protocol,
            credentials,
        }
    }
}

/// The nodes, and how clients get access.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    pub(crate) access: Access,
    pub(crate) redis: Option<Redis>,
}

impl Cluster {
    /// Opens the same cluster of another program, beside the first one on the same Redis.
    pub(crate) async fn open_other(target: &Target, program: PathBuf) -> Result<Self, BenchError> {
        let target = Target {
            program: Some(program),
            ..target.clone()
        };
        Self::open(&target, 1).await
    }

    /// Attaches to the named nodes, or starts new ones, at least `least`.
    pub(crate) async fn open(target: &Target, least: usize) -> Result<Self, BenchError> {
        let redis = target.redis_url.as_deref().map(Redis::new).transpose()?;
        if !target.url.is_empty() {
            return Self::attach(target, redis);
        }
        if matches!(target.protocol, Protocol::Nchan | Protocol::Pusher) {
            return Err(BenchError::Arguments(
                "--protocol nchan and pusher are for other systems: name their nodes by --url",
            ));
        }
        let count = target.nodes.max(least);
        if count > 1 && redis.is_none() {
            return Err(BenchError::Arguments(
                "several nodes need --redis-url to be one cluster",
            ));
        }
        let secret: String = std::iter::repeat_with(fastrand::alphanumeric)
            .take(48)
            .collect();
        let mut nodes = Vec::new();
        for _ in 0..count {
            nodes.push(Node::start(target, &secret).await?);
        }
        Ok(Self {
            nodes,
            access: target.access(Credentials::Secret(secret)),
            redis,
        })
    }

    fn attach(target: &Target, redis: Option<Redis>) -> Result<Self, BenchError> {
        if !target.pid.is_empty() && target.pid.len() != target.url.len() {
            return Err(BenchError::Arguments(
                "give a --pid for each --url, or for none",
            ));
        }
        let pids = target
            .pid
            .iter()
            .copied()
            .map(Some)
            .chain(std::iter::repeat(None));
        let nodes = target
            .url
            .iter()
            .zip(pids)
            .map(|(url, pid)| Node::attach(url, pid));
        let secret = target.secret.clone();
        Ok(Self {
            nodes: nodes.collect::<Result<_, _>>()?,
            access: target.access(secret.map_or(Credentials::Guest, Credentials::Secret)),
            redis,
        })
    }

    /// Returns an error unless the cluster speaks hubbub.v1, for a bench that supports nothing
    /// else.
    pub(crate) fn check_is_hubbub(&self) -> Result<(), BenchError> {
        match self.access.protocol {
            Protocol::Hubbub => Ok(()),
            _ => Err(BenchError::Arguments(
                "this bench speaks hubbub.v1 to the nodes: leave --protocol out",
            )),
        }
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.address).collect()
    }

    /// The processes of the nodes, if all are known.
    pub(crate) fn pids(&self) -> Option<Vec<u32>> {
        self.nodes.iter().map(|node| node.pid).collect()
    }

    /// CPU time used so far by all nodes, in nanoseconds, if their processes are known.
    pub(crate) fn cpu(&self) -> Result<Option<u64>, BenchError> {
        self.pids().map(|pids| usage::cpu_of(&pids)).transpose()
    }
}

impl Node {
    fn attach(url: &str, pid: Option<u32>) -> Result<Self, BenchError> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        if matches!(scheme, "https" | "wss") {
            return Err(BenchError::Arguments(
                "--url must be http: the bench does not speak TLS",
            ));
        }
        let authority = rest.split('/').next().unwrap_or(rest);
        let address = authority.to_socket_addrs()?.find(SocketAddr::is_ipv4);
        Ok(Self {
            address: address.ok_or(BenchError::Arguments("--url has no IPv4 address"))?,
            pid,
            own: None,
        })
    }

    async fn start(target: &Target, secret: &str) -> Result<Self, BenchError> {
        let dir = TempDir::with_prefix("hubbub-bench")?;
        let (http, ops) = (free_address()?, free_address()?);
        let log = dir.path().join("node.log");
        let mut child = command(target, secret, http, ops, dir.path())?.spawn()?;
        wait_ready(&mut child, ops, &log).await?;
        Ok(Self {
            address: http,
            pid: child.id(),
            own: Some((child, dir)),
        })
    }

    /// Kills the process without a shutdown, as a crash would.
    pub(crate) async fn kill(&mut self) -> Result<(), BenchError> {
        let Some((child, _)) = &mut self.own else {
            return Err(BenchError::Arguments(
                "only a node that the bench started can be killed",
            ));
        };
        child.kill().await?;
        Ok(())
    }
}

/// A port that was free a moment ago.
fn free_address() -> Result<SocketAddr, BenchError> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn command(
    target: &Target,
    secret: &str,
    http: SocketAddr,
    ops: SocketAddr,
    dir: &Path,
) -> Result<Command, BenchError> {
    let log = std::fs::File::create(dir.join("node.log"))?;
    let program = target
        .program
        .clone()
        .map_or_else(std::env::current_exe, Ok)?;
    let mut command = Command::new(program);
    command
        .arg("serve")
        .current_dir(dir)
        .env("HUBBUB__HTTP__BIND", http.to_string())
        .env("HUBBUB__OPS__BIND", ops.to_string())
        .env("HUBBUB__AUTH__MODE", "jwt")
        .env("HUBBUB__AUTH__SECRET", secret)
        .env("HUBBUB__LIMITS__CONNECTIONS", "0")
        .env("HUBBUB__LIMITS__CONNECTIONS_PER_ADDRESS", "0")
        .env("HUBBUB__LIMITS__GUESTS_PER_MINUTE", "0")
        .env("HUBBUB__LIMITS__ACCEPTS_PER_SECOND", "0")
        .env("HUBBUB__LIMITS__SENDS_PER_SECOND", "0")
        .env("HUBBUB__LIMITS__USER_SENDS_PER_SECOND", "0")
        .env("HUBBUB__LIMITS__USER_NEW_ROOMS_PER_MINUTE", "0")
        .env("HUBBUB__REDIS__PREFIX", format!("bench-{}", &secret[..8]))
        .env(
            "HUBBUB__REDIS__URL",
            target.redis_url.as_deref().unwrap_or_default(),
        )
        .env("RUST_LOG", "warn")
        .args(target.set.iter().flat_map(|setting| ["--set", setting]))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true);
    Ok(command)
}

async fn wait_ready(child: &mut Child, ops: SocketAddr, log: &Path) -> Result<(), BenchError> {
    let start = Instant::now();
    loop {
        if is_ready(ops).await {
            return Ok(());
        }
        if child.try_wait()?.is_some() || start.elapsed() > START {
            let log = std::fs::read_to_string(log).unwrap_or_default();
            let start = log.ceil_char_boundary(log.len().saturating_sub(LAST_WORDS));
            let log = log[start..].to_owned();
            return Err(BenchError::NotReady { log });
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn is_ready(ops: SocketAddr) -> bool {
    let ask = async {
        let mut socket = TcpStream::connect(ops).await?;
        let request = "GET /readyz HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n";
        socket.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await?;
        Ok::<bool, std::io::Error>(answer.starts_with("HTTP/1.1 200"))
    };
    ask.await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_cut_down_to_its_authority() {
        for url in [
            "http://127.0.0.1:3000",
            "ws://127.0.0.1:3000/v1/ws",
            "127.0.0.1:3000",
        ] {
            let node = Node::attach(url, None).unwrap();
            assert_eq!(node.address.to_string(), "127.0.0.1:3000");
        }
    }
}
