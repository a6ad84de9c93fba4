//! A real nginx in front of nodes, with the configuration in `deploy/`.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::child::Child;
use crate::deadline::eventually;
use crate::port::free_port;

const START: Duration = Duration::from_secs(15);
/// The ports in the deployed configuration: sticky, and round robin.
const PORTS: [&str; 2] = ["listen 8082", "listen 8083"];

/// One nginx. It is killed when dropped.
#[derive(Debug)]
pub struct Nginx {
    child: Child,
    ports: [u16; 2],
    _dir: TempDir,
}

impl Nginx {
    /// Starts nginx on free ports, with `node` as its only gateway.
    ///
    /// # Panics
    /// Panics if nginx is missing or does not start.
    pub async fn start(node: SocketAddr) -> Self {
        let dir = TempDir::new().expect("a temporary directory can be made");
        let deployed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nginx/nginx.conf");
        let mut config = fs::read_to_string(deployed).expect("the repository has it");
        config = config.replace("/tmp/", &format!("{}/", dir.path().display()));
        for number in 1..=3 {
            config = config.replace(&format!("gateway-{number}:3000"), &node.to_string());
        }
        let ports = [free_port(), free_port()];
        for (deployed, port) in PORTS.into_iter().zip(ports) {
            assert!(config.contains(deployed), "{deployed}");
            config = config.replace(deployed, &format!("listen 127.0.0.1:{port}"));
        }
        let file = dir.path().join("nginx.conf");
        fs::write(&file, config).expect("there is room for a file");
        let debian = Path::new("/usr/sbin/nginx");
        let program = if debian.is_file() {
            debian
        } else {
            Path::new("nginx")
        };
        let mut command = Command::new(program);
        // nginx runs as one process, so that no worker outlives the process that is killed.
        command.args(["-g", "master_process off;", "-e", "stderr", "-c"]);
        command.arg(&file).arg("-p").arg(dir.path());
        let child = Child::start("nginx", command, &dir.path().join("nginx.log"));
        let mut nginx = Self {
            child,
            ports,
            _dir: dir,
        };
        nginx.ready().await;
        nginx
    }

    /// The addresses for clients: sticky, and round robin.
    #[must_use]
    pub fn addresses(&self) -> [SocketAddr; 2] {
        self.ports
            .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
    }

    async fn ready(&mut self) {
        let (addresses, child) = (self.addresses(), &mut self.child);
        let listens = async || {
            if let Some(status) = child.exited() {
                panic!("nginx ended at its start: {status}\n{}", child.output());
            }
            addresses
                .iter()
                .all(|address| TcpStream::connect(address).is_ok())
                .then_some(())
        };
        eventually("nginx listens", START, listens).await;
    }
}
