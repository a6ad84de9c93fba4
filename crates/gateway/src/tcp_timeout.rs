//! How long the system waits for a peer that takes nothing: one that has vanished, or whose window is
//! closed.

use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;

/// Bytes that the peer does not take within `timeout` end the connection; `None`: the system's default.
pub(crate) fn set(stream: &TcpStream, timeout: Option<Duration>) {
    // It fails only on a connection that has ended: the first read will tell.
    drop(SockRef::from(stream).set_tcp_user_timeout(timeout));
}
