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

/// A special key: the value is a whole settings file, for tables that no environment variable can
/// hold.
pub const FILE: &str = "hubbub.toml";

/// The binary under test: `HUBBUB_BIN`, or the one built beside the tests.
///
/// # Panics
/// Panics if there is none. The text says how to build it.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("HUBBUB_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("the test's own path is known");
    let beside = test.parent().and_then(|deps| deps.parent());
    let path = beside
        .expect("tests are in target/PROFILE/deps")
        .join("hubbub");
    assert!(
        path.is_file(),
        "{} is missing: run `cargo build --release -p hubbub` first, or set HUBBUB_BIN",
        path.display()
    );
    path
}

/// The command `hubbub ARGS` in an empty directory, with these settings and none from the
/// environment.
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
        if *key == FILE {
            std::fs::write(dir.path().join(FILE), value).expect("a file can be written");
            continue;
        }
        let name = key.to_uppercase().replace('.', "__");
        command.env(format!("HUBBUB__{name}"), value);
    }
    command
}

/// Runs `hubbub ARGS` until it ends.
///
/// # Panics
/// Panics if it cannot be started.
#[must_use]
pub fn run(settings: &[Setting<'_>], args: &[&str]) -> Output {
    let dir = TempDir::new().expect("a temporary directory can be made");
    command(&dir, settings, args)
        .output()
        .expect("the binary can be started")
}

/// How a node is started.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    /// The value of `node.id`.
    pub name: String,
    /// Settings in addition to those of every test.
    pub settings: Vec<(String, String)>,
    /// Environment variables that are not settings.
    pub env: Vec<(String, String)>,
    /// A program with arguments that starts the binary, for example `prlimit --nofile=256`.
    pub through: Vec<String>,
}

impl Launch {
    /// A launch with these settings and nothing else.
    #[must_use]
    pub fn new(name: &str, settings: &[Setting<'_>]) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
        .with(settings)
    }

    /// Adds settings.
    #[must_use]
    pub fn with(mut self, settings: &[Setting<'_>]) -> Self {
        let owned = |(key, value): &Setting<'_>| ((*key).to_owned(), (*value).to_owned());
        self.settings.extend(settings.iter().map(owned));
        self
    }

    fn command(&self, dir: &TempDir, http: SocketAddr, ops: SocketAddr) -> Command {
        let (http, ops) = (http.to_string(), ops.to_string());
        let mut settings = vec![
            ("node.id", self.name.as_str()),
            ("http.bind", http.as_str()),
            ("ops.bind", ops.as_str()),
            ("limits.sends_per_second", "0"),
            ("limits.user_sends_per_second", "0"),
            ("limits.user_new_rooms_per_minute", "0"),
            ("limits.connections_per_address", "0"),
            ("limits.guests_per_minute", "0"),
        ];
        let own = self.settings.iter();
        settings.extend(own.map(|(key, value)| (key.as_str(), value.as_str())));
        let bare = command(dir, &settings, &["serve"]);
        let mut command = match self.through.split_first() {
            None => bare,
            Some((program, args)) => {
                let mut command = Command::new(program);
                command
                    .args(args)
                    .arg(bare.get_program())
                    .args(bare.get_args())
                    .current_dir(dir.path());
                for (name, value) in bare.get_envs() {
                    match value {
                        Some(value) => command.env(name, value),
                        None => command.env_remove(name),
                    };
                }
                command
            }
        };
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A running `hubbub serve`. It is killed when dropped.
#[derive(Debug)]
pub struct NodeProcess {
    launch: Launch,
    child: Child,
    http: SocketAddr,
    ops: SocketAddr,
    /// Its working directory, which contains its log.
    dir: TempDir,
}

impl NodeProcess {
    /// Starts a node and waits until it is ready.
    pub async fn start(name: &str, settings: &[Setting<'_>]) -> Self {
        let mut node = Self::spawn(name, settings);
        node.ready().await;
        node
    }

    /// Starts a node without waiting.
    #[must_use]
    pub fn spawn(name: &str, settings: &[Setting<'_>]) -> Self {
        Self::launch(Launch::new(name, settings))
    }

    /// Starts a node from this launch without waiting.
    ///
    /// # Panics
    /// Panics if the binary is missing.
    #[must_use]
    pub fn launch(launch: Launch) -> Self {
        let dir = TempDir::new().expect("a temporary directory can be made");
        let http = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let ops = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let child = start(&launch, &dir, http, ops);
        Self {
            launch,
            child,
            http,
            ops,
            dir,
        }
    }

    /// Kills the node and starts it again on the same ports, without waiting.
    pub fn restart(&mut self) {
        self.child.kill9();
        self.child = start(&self.launch, &self.dir, self.http, self.ops);
    }

    /// The process ID.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// The exit status, if the process has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.exited()
    }

    /// Waits until `/readyz` answers 200. Returns how long that took.
    ///
    /// # Panics
    /// Panics if the process ends instead.
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

    /// The address for clients.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.http
    }

    /// The address of the ops port.
    #[must_use]
    pub fn ops(&self) -> SocketAddr {
        self.ops
    }

    /// Everything the node has printed.
    #[must_use]
    pub fn log(&self) -> String {
        self.child.output()
    }

    /// The working directory.
    #[must_use]
    pub fn dir(&self) -> &TempDir {
        &self.dir
    }

    /// Kills the node (SIGKILL).
    pub fn kill9(&mut self) {
        self.child.kill9();
    }

    /// Asks the node to end (SIGTERM).
    pub fn sigterm(&self) {
        self.child.sigterm();
    }

    /// Pauses the node (SIGSTOP).
    pub fn pause(&self) {
        self.child.pause();
    }

    /// Continues the node (SIGCONT).
    pub fn resume(&self) {
        self.child.resume();
    }

    /// Waits for the end of the node. Returns its status and how long that took.
    pub async fn wait_exit(&mut self, deadline: Duration) -> (ExitStatus, Duration) {
        self.child.wait_exit(deadline).await
    }
}

fn start(launch: &Launch, dir: &TempDir, http: SocketAddr, ops: SocketAddr) -> Child {
    let command = launch.command(dir, http, ops);
    Child::start(&launch.name, command, &dir.path().join("node.log"))
}
