//! A real HAProxy in front of the nodes. Tests can kill and restart it.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hubbub_tests::child::Child;
use hubbub_tests::deadline::eventually;
use hubbub_tests::port::free_port;
use tempfile::TempDir;

use crate::arena::Arena;

const START: Duration = Duration::from_secs(15);

/// One HAProxy. It is killed when dropped.
pub(crate) struct Balancer {
    child: Child,
    port: u16,
    env: Vec<(String, String)>,
    dir: TempDir,
}

impl Balancer {
    /// Starts HAProxy in front of the nodes, for this many clients.
    pub(crate) async fn start(arena: &Arena, clients: usize) -> Self {
        let dir = TempDir::new().expect("a temporary directory can be made");
        let port = free_port();
        let socket = dir.path().join("stats").to_string_lossy().into_owned();
        let mut env = vec![
            ("FRONT".to_owned(), port.to_string()),
            ("MAXCONN".to_owned(), clients.to_string()),
            ("SOCKET".to_owned(), socket),
        ];
        for (number, (door, ops)) in arena.doors.iter().zip(&arena.ops).enumerate() {
            env.push((format!("DOOR_{number}"), door.port().to_string()));
            env.push((format!("OPS_{number}"), ops.port().to_string()));
        }
        let mut balancer = Self {
            child: spawn(&env, &dir),
            port,
            env,
            dir,
        };
        balancer.ready().await;
        balancer
    }

    /// The address for clients.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub(crate) fn kill9(&mut self) {
        self.child.kill9();
    }

    pub(crate) async fn restart(&mut self) {
        self.child = spawn(&self.env, &self.dir);
        self.ready().await;
    }

    async fn ready(&mut self) {
        let (address, child) = (self.address(), &mut self.child);
        let listens = async || {
            if let Some(status) = child.exited() {
                panic!("haproxy ended at its start: {status}\n{}", child.output());
            }
            TcpStream::connect(address).ok().map(drop)
        };
        eventually("haproxy listens", START, listens).await;
    }
}

fn spawn(env: &[(String, String)], dir: &TempDir) -> Child {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("faults/haproxy.cfg");
    let program = if Path::new("/usr/sbin/haproxy").is_file() {
        "/usr/sbin/haproxy"
    } else {
        "haproxy"
    };
    let mut command = Command::new(program);
    // -db keeps HAProxy in the foreground.
    command.arg("-db").arg("-f").arg(config);
    command.envs(env.iter().map(|(name, value)| (name, value)));
    Child::start("haproxy", command, &dir.path().join("haproxy.log"))
}
