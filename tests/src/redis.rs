//! A real Redis on a free port with an append-only file, to be killed, frozen and restarted.

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

/// When Redis forces its append-only file to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// Before each answer: nothing acked is lost by a kill.
    Always,
    /// Once a second.
    EverySecond,
}

/// One Redis; killed when dropped.
#[derive(Debug)]
pub struct Redis {
    child: Child,
    port: u16,
    fsync: Fsync,
    /// More of its settings, as arguments.
    more: Vec<String>,
    /// Where its files are.
    place: PathBuf,
    /// Removed with it.
    _dir: TempDir,
}

impl Redis {
    /// Starts a Redis and waits until it answers.
    ///
    /// # Panics
    /// When redis-server is missing or does not start.
    pub async fn start(fsync: Fsync) -> Self {
        let dir = TempDir::new().expect("a temporary directory can be made");
        let place = dir.path().to_owned();
        Self::launch(fsync, place, dir, Vec::new()).await
    }

    /// Starts a Redis that takes TLS, with this certificate and key, on a second port; that port. Who
    /// has a certificate of his own that `ca` has signed may show it.
    ///
    /// # Panics
    /// When redis-server is missing or does not start.
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

    /// Starts a Redis whose files are in `place`, somewhere in `dir`.
    ///
    /// # Panics
    /// When redis-server is missing or does not start.
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

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What nodes take as `redis.url`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// `kill -9`.
    pub fn kill9(&mut self) {
        self.child.kill9();
    }

    /// Starts it again on the same port and file; how long until it answered.
    pub async fn restart(&mut self) -> Duration {
        self.child = spawn(self.port, self.fsync, &self.place, &self.more);
        self.ready().await
    }

    /// Throws its data away. It must not be running.
    ///
    /// # Panics
    /// When the files cannot be removed.
    pub fn forget(&self) {
        let data = self.place.join(DATA);
        std::fs::remove_dir_all(data).expect("redis has written its file");
    }

    /// A copy of its data; of a running one without what is on its way to the file.
    ///
    /// # Panics
    /// When the files cannot be copied.
    #[must_use]
    pub fn copy(&self) -> TempDir {
        let copy = TempDir::new().expect("a temporary directory can be made");
        copy_files(&self.place.join(DATA), copy.path());
        copy
    }

    /// Replaces its data by a copy. It must not be running.
    ///
    /// # Panics
    /// When the files cannot be copied.
    pub fn put_back(&self, copy: &TempDir) {
        self.forget();
        let data = self.place.join(DATA);
        std::fs::create_dir(&data).expect("the directory is gone");
        copy_files(copy.path(), &data);
    }

    /// Freezes it: connections stay, nothing answers.
    pub fn pause(&self) {
        self.child.pause();
    }

    /// Thaws it.
    pub fn resume(&self) {
        self.child.resume();
    }

    /// One command, by its words.
    ///
    /// # Errors
    /// What Redis says, or that it does not answer within seconds.
    ///
    /// # Panics
    /// Without a word.
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

    /// One command, by its words.
    ///
    /// # Panics
    /// When Redis refuses it or does not answer.
    pub async fn command<T: FromRedisValue>(&self, words: &[&str]) -> T {
        match self.try_command(words).await {
            Ok(value) => value,
            Err(error) => panic!("redis {:.200}: {error}", words.join(" ")),
        }
    }

    /// Cuts the nodes' subscriptions, and only those; how many.
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

/// Whether a Redis answers that has loaded its data.
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
