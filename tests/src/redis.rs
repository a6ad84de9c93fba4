//! A real Redis on a free port with an append-only file, to be killed, frozen and restarted.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tempfile::TempDir;

use crate::child::Child;
use crate::deadline::eventually;
use crate::port::free_port;

/// The directory that holds the append-only file.
const DATA: &str = "appendonlydir";
const START: Duration = Duration::from_secs(15);

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
    dir: TempDir,
}

impl Redis {
    /// Starts a Redis and waits until it answers.
    ///
    /// # Panics
    /// When redis-server is missing or does not start.
    pub async fn start(fsync: Fsync) -> Self {
        let dir = TempDir::new().expect("a temporary directory can be made");
        let port = free_port();
        let child = spawn(port, fsync, &dir);
        let mut redis = Self {
            child,
            port,
            fsync,
            dir,
        };
        redis.ready().await;
        redis
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
        self.child = spawn(self.port, self.fsync, &self.dir);
        self.ready().await
    }

    /// Throws its data away. It must not be running.
    ///
    /// # Panics
    /// When the files cannot be removed.
    pub fn forget(&self) {
        let data = self.dir.path().join(DATA);
        std::fs::remove_dir_all(data).expect("redis has written its file");
    }

    /// A copy of its data. It must not be running.
    ///
    /// # Panics
    /// When the files cannot be copied.
    #[must_use]
    pub fn copy(&self) -> TempDir {
        let copy = TempDir::new().expect("a temporary directory can be made");
        copy_files(&self.dir.path().join(DATA), copy.path());
        copy
    }

    /// Replaces its data by a copy. It must not be running.
    ///
    /// # Panics
    /// When the files cannot be copied.
    pub fn put_back(&self, copy: &TempDir) {
        self.forget();
        let data = self.dir.path().join(DATA);
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

    /// A connection for commands of the test.
    ///
    /// # Panics
    /// When Redis does not take it.
    pub async fn connection(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.url()).expect("our URL is well-formed");
        client
            .get_multiplexed_async_connection()
            .await
            .expect("redis is up")
    }

    /// Cuts the nodes' subscriptions, and only those; how many.
    ///
    /// # Panics
    /// When Redis does not answer.
    pub async fn kill_subscriptions(&self) -> u64 {
        let mut connection = self.connection().await;
        redis::cmd("CLIENT")
            .arg(&["KILL", "TYPE", "pubsub"])
            .query_async(&mut connection)
            .await
            .expect("redis answers")
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

fn spawn(port: u16, fsync: Fsync, dir: &TempDir) -> Child {
    let fsync = match fsync {
        Fsync::Always => "always",
        Fsync::EverySecond => "everysec",
    };
    let mut command = Command::new("redis-server");
    command.current_dir(dir.path()).args([
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
    ]);
    Child::start("redis-server", command, &dir.path().join("redis.log"))
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
