//! A real PostgreSQL on a free port with its own data. Tests can stop, kill, pause and restart it.

use std::fs::Permissions;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions};
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::child::Child;
use crate::deadline::eventually;
use crate::port::free_port;

const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(20);
/// The folder of Debian's PostgreSQL versions. On other systems the programs are in the PATH.
const DEBIAN: &str = "/usr/lib/postgresql";
/// The superuser of the cluster, who needs no password.
pub(crate) const USER: &str = "tester";

/// The server that tests share while any of them runs. Each test uses its own database.
static SHARED: Mutex<Weak<Postgres>> = Mutex::const_new(Weak::new());
/// The number of databases made, so that each gets another name.
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// One PostgreSQL. It is killed when dropped.
#[derive(Debug)]
pub struct Postgres {
    child: Child,
    port: u16,
    /// Its data and its log. The directory is removed when dropped.
    dir: TempDir,
}

impl Postgres {
    /// Initialises an empty data directory, starts the server and waits until it answers.
    ///
    /// # Panics
    /// Panics if PostgreSQL is missing or does not start.
    pub async fn start() -> Self {
        Self::launch(None).await
    }

    /// The same with this certificate and key. All clients except the superuser must use TLS.
    ///
    /// # Panics
    /// Panics if PostgreSQL is missing or does not start.
    pub async fn start_with_tls(cert: &Path, key: &Path) -> Self {
        Self::launch(Some((cert, key))).await
    }

    async fn launch(tls: Option<(&Path, &Path)>) -> Self {
        let dir = TempDir::new().expect("a temporary directory can be made");
        if let Some((user, group)) = owner() {
            chown(dir.path(), Some(user), Some(group))
                .expect("root may change a directory's owner");
        }
        initdb(dir.path());
        if let Some((cert, key)) = tls {
            demand_tls(dir.path(), cert, key);
        }
        let port = free_port();
        let child = spawn(port, dir.path());
        let mut postgres = Self { child, port, dir };
        postgres.ready().await;
        postgres
    }

    /// The server that all tests of this process share. Tests must not stop or pause it.
    pub async fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().await;
        if let Some(running) = shared.upgrade() {
            return running;
        }
        let started = Arc::new(Self::start().await);
        *shared = Arc::downgrade(&started);
        started
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

    /// The value of `archive.url` for a database.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    /// Creates an empty database. Returns its URL.
    pub async fn database(&self) -> String {
        let name = format!("hubbub_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        self.run("postgres", &format!("CREATE DATABASE {name}"))
            .await;
        self.url(&name)
    }

    /// Connects as the superuser.
    ///
    /// # Errors
    /// The error of the server.
    pub async fn connect(&self, database: &str) -> sqlx::Result<PgConnection> {
        let options = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .username(USER)
            .database(database);
        options.connect().await
    }

    /// Runs SQL statements.
    ///
    /// # Panics
    /// Panics if the server refuses them.
    pub async fn run(&self, database: &str, sql: &str) {
        let done = async {
            let mut connection = self.connect(database).await?;
            let sql = AssertSqlSafe(sql.to_owned());
            sqlx::raw_sql(sql).execute(&mut connection).await
        };
        if let Err(error) = done.await {
            panic!("postgres {sql:.200}: {error}");
        }
    }

    /// Stops the server at once, like `pg_ctl stop -m immediate`, and waits for its end.
    pub async fn stop(&mut self) {
        self.signal_all(Signal::CONT);
        send(self.child.pid(), Signal::QUIT);
        self.child.wait_exit(STOP).await;
    }

    /// Kills all of its processes (SIGKILL).
    pub fn kill9(&mut self) {
        let workers = self.workers();
        self.child.kill9();
        for worker in workers {
            send(worker, Signal::KILL);
        }
    }

    /// Starts the server again with the same port and data. Returns how long until it answered.
    pub async fn restart(&mut self) -> Duration {
        self.child = spawn(self.port, self.dir.path());
        self.ready().await
    }

    /// Pauses all of its processes: connections stay open, nothing answers.
    pub fn pause(&self) {
        self.signal_all(Signal::STOP);
    }

    /// Continues all of its processes.
    pub fn resume(&self) {
        self.signal_all(Signal::CONT);
    }

    /// The server gets the signal first, so that it starts no further processes meanwhile.
    fn signal_all(&self, signal: Signal) {
        send(self.child.pid(), signal);
        for worker in self.workers() {
            send(worker, signal);
        }
    }

    /// The processes that the server has started.
    fn workers(&self) -> Vec<u32> {
        let pid = self.child.pid();
        let children = format!("/proc/{pid}/task/{pid}/children");
        let children = std::fs::read_to_string(children).unwrap_or_default();
        children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect()
    }

    async fn ready(&mut self) -> Duration {
        let (result, took) = eventually("postgres answers", START, async || {
            match self.child.exited() {
                Some(status) => Some(Err(status)),
                None => self.connect("postgres").await.is_ok().then_some(Ok(())),
            }
        })
        .await;
        if let Err(status) = result {
            panic!("postgres ended at its start: {status}");
        }
        took
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill9();
    }
}

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // The signal fails only if the process has already ended.
        let _ = kill_process(pid, signal);
    }
}

/// The user and group under which it runs: it refuses root, so then it is `postgres`.
pub(crate) fn owner() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").expect("/etc/passwd can be read");
    let line = users
        .lines()
        .find_map(|line| line.strip_prefix("postgres:"));
    let line = line.expect("the package of postgresql makes a user `postgres`: is it installed?");
    let mut ids = line
        .split(':')
        .skip(1)
        .map(|id| id.parse().expect("an id is a number"));
    let mut next = || ids.next().expect("a user has two ids");
    Some((next(), next()))
}

/// The program of the newest installed version.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions
        .map(|entry| entry.path())
        .max_by_key(|path| version(path));
    newest.map_or_else(|| name.into(), |path| path.join("bin").join(name))
}

fn command(name: &str, dir: &Path) -> Command {
    let mut command = Command::new(program(name));
    command.current_dir(dir).env_clear().env("LC_ALL", "C");
    if let Some((user, group)) = owner() {
        command.uid(user).gid(group);
    }
    command
}

fn initdb(dir: &Path) {
    let args = ["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C"];
    let done = command("initdb", dir)
        .args(args)
        .args(["--username", USER, "--pgdata"])
        .arg(dir.join("data"))
        .output();
    let done = done.unwrap_or_else(|error| panic!("cannot start initdb, is it installed? {error}"));
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "initdb: {errors}");
}

/// Copies the files to where the server may read them, and enables TLS in its settings.
fn demand_tls(dir: &Path, cert: &Path, key: &Path) {
    let data = dir.join("data");
    for (from, name) in [(cert, "server.crt"), (key, "server.key")] {
        let to = data.join(name);
        std::fs::copy(from, &to).expect("there is room for a file");
        std::fs::set_permissions(&to, Permissions::from_mode(0o600))
            .expect("the file belongs to this user");
        if let Some((user, group)) = owner() {
            chown(&to, Some(user), Some(group)).expect("root may change a file's owner");
        }
    }
    let rules = format!("host all {USER} 127.0.0.1/32 trust\nhostssl all all 127.0.0.1/32 trust\n");
    std::fs::write(data.join("pg_hba.conf"), rules).expect("initdb has written it");
    let mut settings = std::fs::OpenOptions::new();
    let settings = settings.append(true).open(data.join("postgresql.conf"));
    let mut settings = settings.expect("initdb has written it");
    writeln!(settings, "ssl = on").expect("there is room for a line");
}

fn spawn(port: u16, dir: &Path) -> Child {
    let mut command = command("postgres", dir);
    command.arg("-D").arg(dir.join("data"));
    let port = port.to_string();
    for setting in [
        ("listen_addresses", "127.0.0.1"),
        ("port", port.as_str()),
        ("unix_socket_directories", ""),
        ("max_connections", "200"),
    ] {
        command
            .arg("-c")
            .arg(format!("{}={}", setting.0, setting.1));
    }
    Child::start("postgres", command, &dir.join("postgres.log"))
}
