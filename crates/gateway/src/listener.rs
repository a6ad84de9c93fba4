//! Accepting TCP connections, for as long as the listener lives.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Accepts, and survives what accepting can meet: without a free file descriptor it waits, longer
/// each time, and never spins.
pub(crate) struct Listener {
    tcp: TcpListener,
    pause: Duration,
}

impl Listener {
    pub(crate) async fn bind(address: &str) -> io::Result<Self> {
        Ok(Self {
            tcp: TcpListener::bind(address).await?,
            pause: FIRST_PAUSE,
        })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// The next connection, with TCP_NODELAY: small frames must not wait for each other.
    pub(crate) async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.tcp.accept().await {
                Ok((stream, address)) => {
                    self.pause = FIRST_PAUSE;
                    // It fails only on a connection that has ended: the first read will tell.
                    drop(stream.set_nodelay(true));
                    return (stream, address);
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, pause = ?self.pause, "cannot accept connections");
                    tokio::time::sleep(self.pause).await;
                    self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }
}

/// The client went away between connecting and being accepted.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::Interrupted
    )
}
