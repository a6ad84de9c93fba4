//! The nodes under load: processes of our own, or such that run already.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::Attach;
use crate::error::BenchError;
use crate::procfs;

/// How long a node may take to become ready.
const START: Duration = Duration::from_secs(20);
/// Bytes of its log that a failed node shows.
const LAST_WORDS: usize = 2000;

/// One node, ready. Of our own, it is killed when dropped.
#[derive(Debug)]
pub(crate) struct Node {
    /// `host:port` for clients.
    pub(crate) authority: String,
    /// Its process.
    pub(crate) pid: u32,
    /// Held to be killed, its directory to be removed.
    _own: Option<(Child, TempDir)>,
}

/// CPU time used so far by all of them.
pub(crate) fn cpu(nodes: &[Node]) -> Result<Duration, BenchError> {
    nodes.iter().map(|node| procfs::cpu(node.pid)).sum()
}

/// The nodes to attach to, or `count` new ones.
pub(crate) async fn open(
    attach: &Attach,
    count: usize,
    redis_url: Option<&str>,
) -> Result<Vec<Node>, BenchError> {
    if attach.url.len() != attach.pid.len() {
        return Err(BenchError::Arguments("each --url needs its --pid"));
    }
    if !attach.url.is_empty() {
        let pairs = attach.url.iter().zip(&attach.pid);
        return Ok(pairs.map(|(url, pid)| Node::attach(url, *pid)).collect());
    }
    if count > 1 && redis_url.is_none() {
        return Err(BenchError::Arguments(
            "several nodes need --redis-url to be one cluster",
        ));
    }
    let mut nodes = Vec::new();
    for _ in 0..count {
        nodes.push(Node::start(redis_url).await?);
    }
    Ok(nodes)
}

impl Node {
    fn attach(url: &str, pid: u32) -> Self {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        Self {
            authority: rest.split('/').next().unwrap_or(rest).to_owned(),
            pid,
            _own: None,
        }
    }

    async fn start(redis_url: Option<&str>) -> Result<Self, BenchError> {
        let dir = TempDir::with_prefix("hubbub-bench")?;
        let (http, ops) = (free_address()?, free_address()?);
        let log = dir.path().join("node.log");
        let mut child = command(http, ops, redis_url, dir.path(), &log)?.spawn()?;
        wait_ready(&mut child, ops, &log).await?;
        Ok(Self {
            authority: http.to_string(),
            pid: child.id().unwrap_or_default(),
            _own: Some((child, dir)),
        })
    }
}

/// A port that was free a moment ago.
fn free_address() -> Result<SocketAddr, BenchError> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn command(
    http: SocketAddr,
    ops: SocketAddr,
    redis_url: Option<&str>,
    dir: &Path,
    log: &PathBuf,
) -> Result<Command, BenchError> {
    let log = std::fs::File::create(log)?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("serve")
        .current_dir(dir)
        .env("HUBBUB__HTTP__BIND", http.to_string())
        .env("HUBBUB__OPS__BIND", ops.to_string())
        .env("HUBBUB__LIMITS__CONNECTIONS_PER_ADDRESS", "0")
        .env("HUBBUB__LIMITS__GUESTS_PER_MINUTE", "0")
        .env("HUBBUB__LIMITS__ACCEPTS_PER_SECOND", "0")
        .env("HUBBUB__LIMITS__SENDS_PER_SECOND", "0")
        .env("HUBBUB__REDIS__URL", redis_url.unwrap_or_default())
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
            assert_eq!(Node::attach(url, 1).authority, "127.0.0.1:3000");
        }
    }
}
