//! Nodes as users run them: the real `hubbub serve`, with settings from the environment.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Output};
use std::time::Duration;

use tempfile::TempDir;

use crate::child::Child;
use crate::deadline::eventually;
use crate::http;
use crate::port::free_port;

const START: Duration = Duration::from_secs(20);

/// One setting: its key as in the documentation, and its value.
pub type Setting<'a> = (&'a str, &'a str);

/// The binary under test: `HUBBUB_BIN`, or the one built beside the tests.
///
/// # Panics
/// When there is none; the text says how to build it.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("HUBBUB_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a test knows where it is");
    let beside = test.parent().and_then(|deps| deps.parent());
    let path = beside
        .expect("tests lie in target/PROFILE/deps")
        .join("hubbub");
    assert!(
        path.is_file(),
        "{} is missing: run `cargo build --release -p hubbub` first, or set HUBBUB_BIN",
        path.display()
    );
    path
}

/// `hubbub ARGS` in an empty directory, with these settings and none from outside.
#[must_use]
pub fn command(dir: &TempDir, settings: &[Setting<'_>], args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.current_dir(dir.path()).args(args);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HUBBUB__") {
            command.env_remove(name);
        }
    }
    for (key, value) in settings {
        let name = key.to_uppercase().replace('.', "__");
        command.env(format!("HUBBUB__{name}"), value);
    }
    command
}

/// Runs `hubbub ARGS` to its end.
///
/// # Panics
/// When it cannot be started.
#[must_use]
pub fn run(settings: &[Setting<'_>], args: &[&str]) -> Output {
    let dir = TempDir::new().expect("a temporary directory can be made");
    command(&dir, settings, args)
        .output()
        .expect("the binary can be started")
}

/// A running `hubbub serve`. Dropped, it is killed.
#[derive(Debug)]
pub struct NodeProcess {
    child: Child,
    http: SocketAddr,
    ops: SocketAddr,
    /// Its working directory, with its log.
    dir: TempDir,
}

impl NodeProcess {
    /// Starts a node and waits until it is ready.
    pub async fn start(name: &str, settings: &[Setting<'_>]) -> Self {
        let mut node = Self::spawn(name, settings);
        node.ready().await;
        node
    }

    /// Starts a node and does not wait.
    ///
    /// # Panics
    /// When the binary is missing.
    #[must_use]
    pub fn spawn(name: &str, settings: &[Setting<'_>]) -> Self {
        let dir = TempDir::new().expect("a temporary directory can be made");
        let http = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let ops = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let (http_bind, ops_bind) = (http.to_string(), ops.to_string());
        let mut all = vec![
            ("node.id", name),
            ("http.bind", http_bind.as_str()),
            ("ops.bind", ops_bind.as_str()),
            ("limits.sends_per_second", "0"),
            ("limits.connections_per_address", "0"),
        ];
        all.extend_from_slice(settings);
        let command = command(&dir, &all, &["serve"]);
        let child = Child::start(name, command, &dir.path().join("node.log"));
        Self {
            child,
            http,
            ops,
            dir,
        }
    }

    /// Waits until `/readyz` answers 200; how long that took.
    ///
    /// # Panics
    /// When the process ends instead.
    pub async fn ready(&mut self) -> Duration {
        let (ops, child) = (self.ops, &mut self.child);
        let (result, took) = eventually("the node is ready", START, async || {
            if let Some(status) = child.exited() {
                return Some(Err(status));
            }
            let answer = http::try_get(ops, "/readyz").await?;
            (answer.status == 200).then_some(Ok(()))
        })
        .await;
        if let Err(status) = result {
            panic!("the node ended at its start: {status}");
        }
        took
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.http
    }

    /// Where operators look.
    #[must_use]
    pub fn ops(&self) -> SocketAddr {
        self.ops
    }

    /// Everything it has printed.
    #[must_use]
    pub fn log(&self) -> String {
        self.child.output()
    }

    /// Its working directory.
    #[must_use]
    pub fn dir(&self) -> &TempDir {
        &self.dir
    }

    /// `kill -9`.
    pub fn kill9(&mut self) {
        self.child.kill9();
    }

    /// Asks it to end.
    pub fn sigterm(&self) {
        self.child.sigterm();
    }

    /// Freezes it.
    pub fn pause(&self) {
        self.child.pause();
    }

    /// Thaws it.
    pub fn resume(&self) {
        self.child.resume();
    }

    /// Waits for its end.
    pub async fn wait_exit(&mut self, deadline: Duration) -> (ExitStatus, Duration) {
        self.child.wait_exit(deadline).await
    }
}
