//! Clients that come over TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use hubbub_tests::certificates::{Authority, localhost};
use hubbub_tests::raw::{Raw, upgrade_request};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;

/// Shakes hands as a browser does.
pub(crate) async fn connect(
    address: SocketAddr,
    authority: &Authority,
) -> std::io::Result<TlsStream<TcpStream>> {
    connect_with(address, authority.client(&["http/1.1"])).await
}

pub(crate) async fn connect_with(
    address: SocketAddr,
    config: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    TlsConnector::from(Arc::new(config))
        .connect(localhost(), tcp)
        .await
}

/// A new guest over `wss://`.
pub(crate) async fn guest(address: SocketAddr, authority: &Authority) -> Raw {
    let stream = connect(address, authority).await.expect("a TLS handshake");
    let opened = Raw::open_over(upgrade_request(address), stream).await;
    opened.expect("an upgrade")
}
