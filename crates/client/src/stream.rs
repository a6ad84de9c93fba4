//! The byte stream to a node, with TLS if its URL asks for it.

use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::{ClientConfig as TlsConfig, RootCertStore};
use tokio_tungstenite::MaybeTlsStream;

use crate::error::ConfigError;
use crate::url::NodeUrl;

/// The trusted certificate authorities. `None` if no URL asks for TLS.
pub(crate) type Trust = Option<Arc<TlsConfig>>;

/// A connection to a node.
pub(crate) type ByteStream = MaybeTlsStream<TcpStream>;

/// Returns the given TLS settings, or those that trust the system's authorities.
pub(crate) fn trust(urls: &[NodeUrl], given: &Trust) -> Result<Trust, ConfigError> {
    if urls.iter().all(|url| url.server.is_none()) {
        return Ok(None);
    }
    match given {
        Some(given) => Ok(Some(Arc::clone(given))),
        None => system().map(Arc::new).map(Some),
    }
}

fn system() -> Result<TlsConfig, ConfigError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(ConfigError::NoAuthorities);
    }
    let config = TlsConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has the versions that it was built with")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

pub(crate) async fn connect(url: &NodeUrl, trust: &Trust) -> io::Result<ByteStream> {
    let tcp = TcpStream::connect(&url.authority).await?;
    tcp.set_nodelay(true)?;
    let Some(server) = &url.server else {
        return Ok(ByteStream::Plain(tcp));
    };
    let Some(trust) = trust else {
        return Err(io::Error::other("nobody is trusted"));
    };
    let connector = TlsConnector::from(Arc::clone(trust));
    let tls = connector.connect(server.clone(), tcp).await?;
    Ok(ByteStream::Rustls(tls))
}
