//! A real Redis on a free port with an append-only file. Tests can kill, pause and restart it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use redis::{AsyncConnectionConfig, FromRedisValue, RedisResult};
use tempfile::TempDir;

use crate::child::Child;
use crate::deadline::eventually;
use crate::port::free_port;

/// The directory that holds the append-only file.
const DATA: &str = "appendonlydir";
const START: Duration = Duration::from_secs(15);
const ANSWER: Duration = Duration::from_secs(10);

/// When Redis writes its append-only file to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// Before each answer: a kill loses nothing that was acked.
    Always,
    /// Once a second.
    EverySecond,
}

/// One Redis. It is killed when dropped.
#[derive(Debug)]
pub struct Redis {
    child: Child,
    port: u16,
    fsync: Fsync,
    /// Additional settings, as arguments.
    more: Vec<String>,
    /// The folder of its files.
    place: PathBuf,
    /// The directory is removed when this is dropped.
    _dir: TempDir,
}

impl Redis {
    /// Starts a Redis and waits until it answers.
    ///
    /// # Panics
    /// Panics if redis-server is missing or does not start.
    pub async fn start(fsync: Fsync) -> Self {
        let dir = TempDir::new().expect("a temporary directory can be made");
        let place = dir.path().to_owned();
        Self::launch(fsync, place, dir, Vec::new()).await
    }

    /// Starts a Redis with TLS, with this certificate and key, on a second port. Returns that port
    /// too. A client may show its own certificate, which `ca` must have signed.
    ///
    /// # Panics
    /// Panics if redis-server is missing or does not start.
    pub async fn start_with_tls(
        cert: &Path,
        key: &Path,
        ca: &Path,
        clients_must_show_one: bool,
    ) -> (Self, u16) {
        let dir = TempDir::new().expect("a temporary directory can be made");
        let place = dir.path().to_owned();
        let port = free_port();
        let clients = if clients_must_show_one { "yes" } else { "no" };
        let files = [("cert", cert), ("key", key), ("ca-cert", ca)];
        let mut more = vec!["--tls-port".to_owned(), port.to_string()];
        more.extend(["--tls-auth-clients".to_owned(), clients.to_owned()]);
        for (name, path) in files {
            more.extend([format!("--tls-{name}-file"), path.display().to_string()]);
        }
        (
            Self::launch(Fsync::EverySecond, place, dir, more).await,
            port,
        )
    }

    /// Starts a Redis with its files in `place`, which is inside `dir`.
    ///
    /// # Panics
    /// Panics if redis-server is missing or does not start.
    pub async fn start_in(fsync: Fsync, place: PathBuf, dir: TempDir) -> Self {
        Self::launch(fsync, place, dir, Vec::new()).await
    }

    async fn launch(fsync: Fsync, place: PathBuf, dir: TempDir, more: Vec<String>) -> Self {
        let port = free_port();
        let child = spawn(port, fsync, &place, &more);
        let mut redis = Self {
            child,
            port,
            fsync,
            more,
            place,
            _dir: dir,
        };
        redis.ready().await;
        redis
    }

    /// The process ID.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// The address of the server.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The value of `redis.url` for nodes.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills the server (SIGKILL).
    pub fn kill9(&mut self) {
        self.child.kill9();
    }

    /// Starts the server again with the same port and file. Returns how long until it answered.
    pub async fn restart(&mut self) -> Duration {
        self.child = spawn(self.port, self.fsync, &self.place, &self.more);
        self.ready().await
    }

    /// Deletes the data. The server must not run.
    ///
    /// # Panics
    /// Panics if the files cannot be removed.
    pub fn forget(&self) {
        let data = self.place.join(DATA);
        std::fs::remove_dir_all(data).expect("redis has written its file");
    }

    /// A copy of the data. The copy of a running server lacks data that is not in the file yet.
    ///
    /// # Panics
    /// Panics if the files cannot be copied.
    #[must_use]
    pub fn copy(&self) -> TempDir {
        let copy = TempDir::new().expect("a temporary directory can be made");
        copy_files(&self.place.join(DATA), copy.path());
        copy
    }

    /// Replaces the data with a copy. The server must not run.
    ///
    /// # Panics
    /// Panics if the files cannot be copied.
    pub fn put_back(&self, copy: &TempDir) {
        self.forget();
        let data = self.place.join(DATA);
        std::fs::create_dir(&data).expect("the directory is gone");
        copy_files(copy.path(), &data);
    }

    /// Pauses the server: connections stay open, nothing answers.
    pub fn pause(&self) {
        self.child.pause();
    }

    /// Continues the server.
    pub fn resume(&self) {
        self.child.resume();
    }

    /// Runs one command, given as words.
    ///
    /// # Errors
    /// The error of Redis, or no answer within seconds.
    ///
    /// # Panics
    /// Panics if there are no words.
    pub async fn try_command<T: FromRedisValue>(&self, words: &[&str]) -> RedisResult<T> {
        let client = redis::Client::open(self.url()).expect("our URL is well-formed");
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER))
            .set_response_timeout(Some(ANSWER));
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        let (name, args) = words.split_first().expect("a command has a name");
        redis::cmd(name)
            .arg(args)
            .query_async(&mut connection)
            .await
    }

    /// Runs one command, given as words.
    ///
    /// # Panics
    /// Panics if Redis refuses it or does not answer.
    pub async fn command<T: FromRedisValue>(&self, words: &[&str]) -> T {
        match self.try_command(words).await {
            Ok(value) => value,
            Err(error) => panic!("redis {:.200}: {error}", words.join(" ")),
        }
    }

    /// Ends the nodes' subscriptions, and only those. Returns how many.
    pub async fn kill_subscriptions(&self) -> u64 {
        self.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await
    }

    async fn ready(&mut self) -> Duration {
        let (port, child) = (self.port, &mut self.child);
        let (result, took) = eventually("redis answers", START, async || match child.exited() {
            Some(status) => Some(Err(status)),
            None => ping(port).then_some(Ok(())),
        })
        .await;
        if let Err(status) = result {
            panic!("redis-server ended at its start: {status}");
        }
        took
    }
}

fn copy_files(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("redis has written its file") {
        let file = entry.expect("the directory can be read");
        std::fs::copy(file.path(), to.join(file.file_name())).expect("there is room for a copy");
    }
}

fn spawn(port: u16, fsync: Fsync, place: &Path, more: &[String]) -> Child {
    let fsync = match fsync {
        Fsync::Always => "always",
        Fsync::EverySecond => "everysec",
    };
    let mut command = Command::new("redis-server");
    command.current_dir(place).args([
        "--port",
        &port.to_string(),
        "--bind",
        "127.0.0.1",
        "--appendonly",
        "yes",
        "--appendfsync",
        fsync,
        "--save",
        "",
        "--lazyfree-lazy-expire",
        "yes",
        "--lazyfree-lazy-server-del",
        "yes",
        "--enable-debug-command",
        "local",
    ]);
    command.args(more);
    Child::start("redis-server", command, &place.join("redis.log"))
}

/// Whether a Redis that has loaded its data answers.
fn ping(port: u16) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        socket.write_all(b"PING\r\n")?;
        let mut answer = [0; 5];
        socket.read_exact(&mut answer)?;
        Ok(&answer == b"+PONG")
    };
    ask().unwrap_or(false)
}
