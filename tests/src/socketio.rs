//! Socket.IO by hand, over a WebSocket.

use std::net::SocketAddr;

use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::Request;

use crate::raw::{Heard, Raw};

/// One client, in the namespace `/`.
#[derive(Debug)]
pub struct SocketIo(Raw);

/// The upgrade request of a client that begins with a WebSocket.
///
/// # Panics
/// Never: the address is well-formed.
#[must_use]
pub fn upgrade_request(address: SocketAddr) -> Request<()> {
    format!("ws://{address}/socket.io/?EIO=4&transport=websocket")
        .into_client_request()
        .expect("an address makes a good URL")
}

impl SocketIo {
    /// Connects as a new guest.
    ///
    /// # Panics
    /// When nobody listens.
    pub async fn connect(address: SocketAddr) -> Self {
        let tcp = TcpStream::connect(address).await.expect("the node listens");
        Self::over(address, tcp).await
    }

    /// The same over what the test has connected already.
    ///
    /// # Panics
    /// When there is no upgrade.
    pub async fn over(address: SocketAddr, tcp: TcpStream) -> Self {
        let raw = Raw::open_over(upgrade_request(address), tcp).await;
        let mut client = Self(raw.expect("an upgrade"));
        client.write("40").await;
        client.next_with("40{").await;
        client
    }

    /// Sends a packet.
    pub async fn write(&mut self, packet: impl Into<String>) {
        self.0.write(packet).await;
    }

    /// The next packet or the end.
    pub async fn hear(&mut self) -> Heard {
        self.0.hear().await
    }

    /// The next packet that begins so; others are passed over.
    ///
    /// # Panics
    /// When the connection ends instead.
    pub async fn next_with(&mut self, start: &str) -> String {
        loop {
            match self.hear().await {
                Heard::Text(packet) if packet.starts_with(start) => return packet,
                Heard::Text(_) => {}
                Heard::End(end) => panic!("the connection ended before {start}: {end:?}"),
            }
        }
    }
}
