//! Every way in: WebSocket, REST, static files, health and metrics. Only this crate knows HTTP.

mod address;
mod admin;
mod admission;
mod assets;
pub mod auth;
mod closed;
mod conditional;
mod config;
mod entry;
mod error;
mod exposition;
#[doc(hidden)]
pub mod fuzzing;
mod headers;
mod hijack;
mod lines;
mod listener;
mod metrics;
mod openapi;
mod ops;
mod paid;
mod pipe;
mod proof;
mod proxy_header;
mod rest;
mod router;
mod server;
pub mod socketio;
mod sse;
mod state;
mod tcp_timeout;
mod tls;
mod ws;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use config::{
    ApiKey, AuthMode, AuthSection, ForwardedHeader, HttpSection, OpsError, OpsSection,
};
use hubbub_node::Node;
use prometheus_client::registry::Registry;
pub use tls::TlsError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::address::Proxies;
use crate::admin::{AdminKey, AdminState};
use crate::admission::{Admission, AdmissionLimits};
use crate::assets::Assets;
use crate::auth::Auth;
use crate::auth::guest::GuestPace;
use crate::auth::host::Hosts;
use crate::auth::origin::{OriginError, OriginPolicy};
use crate::entry::Entry;
use crate::lines::ClientLines;
use crate::listener::Listener;
use crate::metrics::Metrics;
use crate::ops::OpsState;
use crate::router::SocketIo;
use crate::server::Server;
use crate::socketio::{Chat, ChatHandler, ClientFiles, Engine, SocketIoError, SocketIoSection};
use crate::state::{GatewayState, Phase};
use crate::tls::Certificates;

/// The settings of a gateway at its start; limits come with the node.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Section `http`.
    pub http: HttpSection,
    /// Section `ops`.
    pub ops: OpsSection,
    /// Section `socketio`.
    pub socketio: SocketIoSection,
    /// Connections that this process can hold; 0: no limit.
    pub connections: usize,
}

/// Why a gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// Nobody could reach it.
    #[error("{setting}: cannot listen on {address}: {source}")]
    Bind {
        /// The setting's key.
        setting: &'static str,
        /// Its value.
        address: String,
        /// The system's error.
        source: io::Error,
    },
    /// An origin that cannot be one.
    #[error("http.allowed_origins or http.public_urls: {0}")]
    Origin(#[from] OriginError),
    /// The certificate or its key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Section `ops`.
    #[error(transparent)]
    Ops(#[from] OpsError),
    /// Section `socketio`.
    #[error(transparent)]
    SocketIo(#[from] SocketIoError),
}

/// The listening ports of one node. Dropped, it accepts no connections any more; call [`Gateway::shutdown`] to
/// wait for those who are in.
pub struct Gateway {
    gateway: Arc<GatewayState>,
    http_addr: SocketAddr,
    ops_addr: Option<SocketAddr>,
}

impl Gateway {
    /// Opens the ports. `add_metrics` adds what others of this process count.
    ///
    /// # Errors
    /// [`GatewayError`] names the setting that does not work; nothing is left running.
    pub async fn start(
        config: GatewayConfig,
        auth: Arc<Auth>,
        node: Arc<Node>,
        add_metrics: impl FnOnce(&mut Registry),
    ) -> Result<Self, GatewayError> {
        let http = bind("http.bind", &config.http.bind).await?;
        let ops = match config.ops.bind.as_str() {
            "" => None,
            address => {
                let (listener, address) = bind("ops.bind", address).await?;
                // Names have addresses by now.
                config.ops.check_reach(address.ip())?;
                Some((listener, address))
            }
        };
        let tls = if config.http.has_tls() {
            Some(Certificates::load(&config.http.tls_cert, &config.http.tls_key).await?)
        } else {
            None
        };
        let (certificates, files) = tls.unzip();
        let assets = Assets::new(&config.http.public_urls)?;
        let origins = OriginPolicy::new(&config.http)?;

        let mut registry = Registry::with_prefix("hubbub");
        node.register_metrics(&mut registry);
        add_metrics(&mut registry);
        let limits = AdmissionLimits {
            connections: config.connections,
            connections_per_address: node.config().limits.connections_per_address,
            accepts_per_second: node.config().limits.accepts_per_second,
        };
        let limits_of_guests = node.config().limits.guests_per_minute;
        let gateway = Arc::new(GatewayState {
            node,
            auth,
            origins,
            hosts: Hosts::new(hosts(&config.http), []),
            guests: GuestPace::new(limits_of_guests),
            proxies: Proxies::new(&config.http.trusted_proxies, config.http.forwarded_header),
            admission: Admission::new(limits),
            metrics: Metrics::register(&mut registry),
            lines: ClientLines::default(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            phase: Phase::default(),
            certificates: certificates.clone(),
        });

        let (listener, http_addr) = http;
        let socketio = start_socketio(&gateway, &config.socketio)?;
        let clients = router::client_router(Arc::clone(&gateway), assets, socketio);
        let entry = Entry::new(&config.http, gateway.limits(), certificates.clone());
        gateway
            .tasks
            .spawn(Server::for_clients(Arc::clone(&gateway), clients, entry).run(listener));
        let teller = Arc::clone(&gateway);
        let tell = async move { teller.lines.keep().await };
        let closing = gateway.closing.clone();
        gateway.tasks.spawn(closing.run_until_cancelled_owned(tell));
        if let (Some(certificates), Some(files)) = (certificates, files) {
            let watch = certificates.watch(files, Arc::clone(&gateway.metrics));
            let closing = gateway.closing.clone();
            gateway
                .tasks
                .spawn(closing.run_until_cancelled_owned(watch));
        }
        let ops_addr = ops.map(|(listener, address)| {
            let state = OpsState {
                gateway: Arc::clone(&gateway),
                registry: Arc::new(registry),
            };
            let admin = AdminState {
                gateway: Arc::clone(&gateway),
                key: AdminKey::new(&config.ops.token).map(Arc::new),
            };
            let names = Hosts::new(hosts(&config.http), &config.ops.hosts);
            let operators = router::ops_router(state, admin, names);
            gateway
                .tasks
                .spawn(Server::for_operators(Arc::clone(&gateway), operators).run(listener));
            address
        });
        Ok(Self {
            gateway,
            http_addr,
            ops_addr,
        })
    }

    /// Where clients connect.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Where operators connect, if they can.
    #[must_use]
    pub fn ops_addr(&self) -> Option<SocketAddr> {
        self.ops_addr
    }

    /// `/readyz` says "draining" from now on; clients are still taken in, until balancers know.
    pub fn leave(&self) {
        self.gateway.phase.leave();
    }

    /// WebSocket clients are sent elsewhere from now on.
    pub fn refuse(&self) {
        self.gateway.phase.leave();
        self.gateway.phase.drain();
    }

    /// Takes nobody in any more and waits for those who are in, whom the node must have told to
    /// go. Says how many were still there when `patience` was over.
    pub async fn shutdown(&self, patience: Duration) -> usize {
        self.refuse();
        self.gateway.closing.cancel();
        self.gateway.tasks.close();
        let ended = tokio::time::timeout(patience, self.gateway.tasks.wait()).await;
        self.gateway.lines.tell_left_out();
        match ended {
            Ok(()) => 0,
            Err(_) => self.gateway.tasks.len(),
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.gateway.closing.cancel();
    }
}

/// The origins and base URLs whose hosts name this node.
fn hosts(http: &HttpSection) -> impl Iterator<Item = &String> {
    http.public_urls.iter().chain(&http.allowed_origins)
}

/// The transport for Socket.IO clients, if there is to be one.
fn start_socketio(
    gateway: &Arc<GatewayState>,
    section: &SocketIoSection,
) -> Result<Option<SocketIo>, SocketIoError> {
    if !section.enabled {
        return Ok(None);
    }
    let handler = ChatHandler::new(Chat::new(Arc::clone(gateway), section)?);
    let engine = Engine::new(
        section.engine_options(gateway.limits()),
        gateway.node.id().as_str(),
        handler,
        gateway.tasks.clone(),
        gateway.closing.clone(),
    );
    let files = ClientFiles::new(&section.client_dir);
    Ok(Some(SocketIo { engine, files }))
}

async fn bind(
    setting: &'static str,
    address: &str,
) -> Result<(Listener, SocketAddr), GatewayError> {
    let failed = |source| GatewayError::Bind {
        setting,
        address: address.to_owned(),
        source,
    };
    let listener = Listener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
