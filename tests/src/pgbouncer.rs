//! A real PgBouncer between nodes and a PostgreSQL.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::child::Child;
use crate::deadline::eventually;
use crate::port::free_port;
use crate::postgres::{Postgres, USER, owner};

const START: Duration = Duration::from_secs(20);

/// One PgBouncer; killed when dropped.
#[derive(Debug)]
pub struct PgBouncer {
    _child: Child,
    port: u16,
    /// Its settings and its log.
    _dir: TempDir,
}

impl PgBouncer {
    /// Starts one before this server: `mode` is its `pool_mode`, `more` are further lines of its
    /// settings.
    ///
    /// # Panics
    /// When it is missing or does not start.
    pub async fn start(postgres: &Postgres, mode: &str, more: &str) -> Self {
        let dir = TempDir::new().expect("a temporary directory can be made");
        let port = free_port();
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={} user={USER}\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = {mode}\n{more}\n",
            postgres.address().port()
        );
        let file = dir.path().join("pgbouncer.ini");
        std::fs::write(&file, settings).expect("there is room for a file");
        let mut command = Command::new("pgbouncer");
        command.arg(&file).current_dir(dir.path());
        if let Some((user, group)) = owner() {
            for path in [dir.path(), &file] {
                chown(path, Some(user), Some(group)).expect("root may give a file away");
            }
            command.uid(user).gid(group);
        }
        let child = Child::start("pgbouncer", command, &dir.path().join("pgbouncer.log"));
        eventually("pgbouncer listens", START, async || {
            TcpStream::connect(("127.0.0.1", port)).await.ok()
        })
        .await;
        Self {
            _child: child,
            port,
            _dir: dir,
        }
    }

    /// What nodes take as `archive.url` for the database of this URL, through it.
    ///
    /// # Panics
    /// When it is no URL of a database.
    #[must_use]
    pub fn url(&self, direct: &str) -> String {
        let (_, database) = direct.rsplit_once('/').expect("a URL of a database");
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }
}
