//! From an accepted TCP connection to one that speaks HTTP: the balancer's header, then TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hubbub_node::Limits;
use hubbub_outage::Outage;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::HttpSection;
use crate::pipe::Pipe;
use crate::proxy_header::read_header;
use crate::tls::{Certificates, TlsStream};

/// A balancer sends its header at once.
const HEADER_PATIENCE: Duration = Duration::from_secs(2);
/// Connections of trusted proxies without a PROXY header that can be read.
static NO_HEADER: Outage = Outage::new();

/// The parts of a port that come before HTTP.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// Whether a PROXY header comes first.
    has_header: bool,
    tls: Option<Arc<Certificates>>,
    /// How long a TLS handshake may take.
    handshake_timeout: Duration,
}

/// The other end of a connection, as far as it is known before HTTP.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    /// The client, or the balancer that says nothing of it.
    pub(crate) address: SocketAddr,
    /// Whether what the client sends is encrypted, by us or by a balancer that says so.
    pub(crate) tls: bool,
}

/// Why a connection ended before HTTP, as a metric's label.
pub(crate) type Failure = &'static str;

impl Entry {
    /// The clients' port.
    pub(crate) fn new(http: &HttpSection, limits: &Limits, tls: Option<Arc<Certificates>>) -> Self {
        Self {
            has_header: http.proxy_protocol,
            tls,
            handshake_timeout: limits.header_timeout,
        }
    }

    /// Whether a balancer has to name the client first.
    pub(crate) fn has_header(&self) -> bool {
        self.has_header
    }

    /// How costly it is to tell somebody no, against plain HTTP.
    pub(crate) fn refusal_cost(&self) -> u32 {
        if self.tls.is_some() { 8 } else { 1 }
    }

    /// Reads the balancer's header, where one has to come. Nothing else is read.
    pub(crate) async fn introduce(
        &self,
        tcp: &mut TcpStream,
        peer: SocketAddr,
        is_trusted: bool,
    ) -> Result<Caller, Failure> {
        let mut caller = Caller {
            address: peer,
            tls: self.tls.is_some(),
        };
        if !self.has_header {
            return Ok(caller);
        }
        if !is_trusted {
            tracing::debug!(%peer, "only http.trusted_proxies may connect here");
            return Err("proxy");
        }
        match timeout(HEADER_PATIENCE, read_header(tcp)).await {
            Ok(Ok(introduced)) => {
                caller.address = introduced.client.unwrap_or(peer);
                caller.tls |= introduced.tls;
                Ok(caller)
            }
            Ok(Err(error)) => {
                if let Some(now) = NO_HEADER.fail(&error) {
                    tracing::warn!(%peer, %error, connections = now.failures,
                        "a trusted proxy did not say who its client is");
                }
                Err("proxy")
            }
            Err(_) => {
                if let Some(now) = NO_HEADER.fail("late") {
                    tracing::warn!(%peer, connections = now.failures,
                        "a trusted proxy sent no PROXY header in time");
                }
                Err("proxy")
            }
        }
    }

    /// Shakes hands, where this port has TLS.
    pub(crate) async fn secure(&self, tcp: TcpStream, caller: Caller) -> Result<Pipe, Failure> {
        let Some(certificates) = &self.tls else {
            return Ok(Pipe::Plain(tcp));
        };
        // On the heap, so that a connection does not carry its size afterwards.
        let accept = Box::pin(TlsStream::accept(tcp, certificates.config()));
        let client = caller.address;
        match timeout(self.handshake_timeout, accept).await {
            Ok(Ok(stream)) => Ok(Pipe::Tls(stream)),
            Ok(Err(error)) => {
                tracing::debug!(%client, %error, "no TLS handshake");
                Err("tls")
            }
            Err(_) => {
                tracing::debug!(%client, "the TLS handshake took too long");
                Err("tls")
            }
        }
    }
}
