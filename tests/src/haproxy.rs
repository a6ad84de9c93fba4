//! A real HAProxy in front of nodes, with the test's configuration.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::child::Child;
use crate::deadline::eventually;
use crate::port::free_port;

const START: Duration = Duration::from_secs(15);

/// One HAProxy. It is killed when dropped.
#[derive(Debug)]
pub struct HaProxy {
    child: Child,
    port: u16,
    _dir: TempDir,
}

impl HaProxy {
    /// Starts HAProxy with this configuration, in which `$FRONT` stands for the port to listen on.
    ///
    /// # Panics
    /// Panics if haproxy is missing or does not start.
    pub async fn start(config: &str) -> Self {
        let dir = TempDir::new().expect("a temporary directory can be made");
        let port = free_port();
        let file = dir.path().join("haproxy.cfg");
        let config = config.replace("$FRONT", &port.to_string());
        std::fs::write(&file, config).expect("there is room for a file");
        let debian = Path::new("/usr/sbin/haproxy");
        let program = if debian.is_file() {
            debian
        } else {
            Path::new("haproxy")
        };
        let mut command = Command::new(program);
        // -db keeps HAProxy in the foreground.
        command.arg("-db").arg("-f").arg(&file);
        let child = Child::start("haproxy", command, &dir.path().join("haproxy.log"));
        let mut haproxy = Self {
            child,
            port,
            _dir: dir,
        };
        haproxy.ready().await;
        haproxy
    }

    /// The address for clients.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
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
