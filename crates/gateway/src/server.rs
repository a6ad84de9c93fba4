//! HTTP over TCP: one task takes connections in, and each has a task of its own.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use axum::response::IntoResponse;
use hubbub_node::Limits;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tower::ServiceExt;

use crate::admission::{AddressSlot, Admission, AdmissionLimits, Permit, Refusal};
use crate::entry::{Caller, Entry};
use crate::error::ApiError;
use crate::hijack::Hijackable;
use crate::listener::Listener;
use crate::pipe::Pipe;
use crate::state::{GatewayState, Peer};
use crate::tcp_timeout;

/// So many who are turned away are told why at the same time; further ones are just cut off.
const REFUSALS_AT_ONCE: usize = 64;
/// The time for a refused client to ask and to read the reason.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(2);
/// hyper's own lower bound for its buffer.
const MIN_BUFFER_BYTES: usize = 8 * 1024;

/// One port's protocol settings and what answers on it.
pub(crate) struct Server {
    gateway: Arc<GatewayState>,
    entry: Entry,
    http: http1::Builder,
    router: Router,
    admission: Arc<Admission>,
    /// Whether this is the clients' port.
    is_public: bool,
    refusals: Semaphore,
}

/// The connections of the operators' port, all and of one address. The clients' limits leave 64 descriptors
/// to everything else.
const OPERATORS: AdmissionLimits = AdmissionLimits {
    connections: 32,
    connections_per_address: 16,
    accepts_per_second: 0,
};

/// The permits of an accepted connection.
struct Places {
    permit: Option<Permit>,
    slot: Option<AddressSlot>,
}

impl Server {
    /// The clients' port.
    pub(crate) fn for_clients(
        gateway: Arc<GatewayState>,
        router: Router,
        entry: Entry,
    ) -> Arc<Self> {
        let admission = Arc::clone(&gateway.admission);
        Self::new(gateway, router, entry, admission, true)
    }

    /// The operators' port: plain HTTP, and limits of its own.
    pub(crate) fn for_operators(gateway: Arc<GatewayState>, router: Router) -> Arc<Self> {
        let admission = Admission::new(OPERATORS);
        Self::new(gateway, router, Entry::default(), admission, false)
    }

    fn new(
        gateway: Arc<GatewayState>,
        router: Router,
        entry: Entry,
        admission: Arc<Admission>,
        is_public: bool,
    ) -> Arc<Self> {
        let http = builder(gateway.limits());
        let refusals = Semaphore::new(REFUSALS_AT_ONCE);
        Arc::new(Self {
            gateway,
            entry,
            http,
            router,
            admission,
            is_public,
            refusals,
        })
    }

    /// Accepts connections until the gateway closes. The listener is dropped then.
    pub(crate) async fn run(self: Arc<Self>, mut listener: Listener) {
        loop {
            let (tcp, peer) = tokio::select! {
                biased;
                () = self.gateway.closing.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            // A socket of both families shows IPv4 addresses in their IPv6 form.
            let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
            match self.admit(peer) {
                Ok(places) => {
                    let server = Arc::clone(&self);
                    self.gateway
                        .tasks
                        .spawn(async move { server.welcome(tcp, peer, places).await });
                }
                Err(refusal) => self.turn_away(tcp, peer, refusal),
            }
        }
    }

    /// Decides about a connection before a byte has come.
    fn admit(&self, peer: SocketAddr) -> Result<Places, Refusal> {
        if !self.is_public {
            let slot = self.admission.take_place(peer.ip())?;
            return Ok(Places {
                permit: Some(self.admission.enter()?),
                slot: Some(slot),
            });
        }
        // A client whom a balancer is about to name takes a place then.
        let slot = if self.entry.has_header() {
            None
        } else {
            self.take_slot(peer)?
        };
        let permit = self.admission.enter()?;
        Ok(Places {
            permit: Some(permit),
            slot,
        })
    }

    /// Takes the place and the turn of a client that comes by itself. Behind a trusted proxy each client
    /// takes its own later, when it is known: see [`GatewayState::take_place`].
    fn take_slot(&self, client: SocketAddr) -> Result<Option<AddressSlot>, Refusal> {
        if self.gateway.proxies.trusts(client.ip()) {
            Ok(None)
        } else {
            self.admission.take_place(client.ip()).map(Some)
        }
    }

    /// Owns a connection from its acceptance until it ends or a transport takes it over.
    async fn welcome(&self, tcp: TcpStream, peer: SocketAddr, places: Places) {
        // On the heap, so that a connection does not carry its size afterwards.
        let entering = Box::pin(self.enter(tcp, peer, places));
        let entered = tokio::select! {
            biased;
            () = self.gateway.closing.cancelled() => return,
            entered = entering => entered,
        };
        if let Some((pipe, peer)) = entered {
            self.serve(pipe, peer).await;
        }
    }

    /// Everything that comes before HTTP.
    async fn enter(
        &self,
        mut tcp: TcpStream,
        peer: SocketAddr,
        mut places: Places,
    ) -> Option<(Pipe, Peer)> {
        let caller = self.introduce(&mut tcp, peer).await?;
        if self.entry.has_header() {
            match self.take_slot(caller.address) {
                Ok(slot) => places.slot = slot,
                Err(refusal) => {
                    self.gateway.metrics.rejected(refusal.as_str());
                    self.tell(refusal, self.secure(tcp, caller)).await;
                    return None;
                }
            }
        }
        let pipe = self.secure(tcp, caller).await?;
        let peer = Peer {
            address: caller.address,
            tls: caller.tls,
            permit: places.permit.map(Arc::new),
            slot: places.slot.map(Arc::new),
            hijack: Arc::default(),
        };
        Some((pipe, peer))
    }

    async fn introduce(&self, tcp: &mut TcpStream, peer: SocketAddr) -> Option<Caller> {
        let is_trusted = self.gateway.proxies.trusts(peer.ip());
        let introduced = self.entry.introduce(tcp, peer, is_trusted).await;
        introduced
            .inspect_err(|failure| self.gateway.metrics.rejected(failure))
            .ok()
    }

    async fn secure(&self, tcp: TcpStream, caller: Caller) -> Option<Pipe> {
        let secured = self.entry.secure(tcp, caller).await;
        secured
            .inspect_err(|failure| self.gateway.metrics.rejected(failure))
            .ok()
    }

    async fn serve(&self, pipe: Pipe, peer: Peer) {
        let router = &self.router;
        tcp_timeout::set(pipe.tcp(), Some(self.gateway.limits().write_timeout));
        let stream = Hijackable::new(pipe, Arc::clone(&peer.hijack));
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer.clone());
            router.clone().oneshot(request)
        });
        let connection = self
            .http
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = self.gateway.closing.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "http connection ended");
        }
    }

    /// Refuses a client that was not even accepted.
    fn turn_away(self: &Arc<Self>, mut tcp: TcpStream, peer: SocketAddr, refusal: Refusal) {
        self.gateway.metrics.rejected(refusal.as_str());
        let server = Arc::clone(self);
        if self.refusals.available_permits() == 0 {
            return;
        }
        self.gateway.tasks.spawn(async move {
            let entering = async {
                let caller = server.introduce(&mut tcp, peer).await?;
                server.secure(tcp, caller).await
            };
            server.tell(refusal, entering).await;
        });
    }

    /// Says why, in HTTP, to as many as can be told without harm to those who are in.
    async fn tell(&self, refusal: Refusal, entering: impl Future<Output = Option<Pipe>>) {
        let Ok(_permit) = self.refusals.try_acquire_many(self.entry.refusal_cost()) else {
            return;
        };
        let service = service_fn(move |_request: Request<Incoming>| async move {
            Ok::<Response<Body>, Infallible>(ApiError::from(refusal).into_response())
        });
        let told = async {
            let pipe = entering.await?;
            let mut http = builder(self.gateway.limits());
            http.keep_alive(false);
            http.serve_connection(TokioIo::new(pipe), service)
                .await
                .ok()
        };
        // However it ended: there is nobody to tell.
        drop(timeout(REFUSAL_PATIENCE, Box::pin(told)).await);
    }
}

fn builder(limits: &Limits) -> http1::Builder {
    let header_bytes = usize::try_from(limits.header_bytes.as_u64()).unwrap_or(usize::MAX);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(limits.headers)
        .max_header_size(header_bytes)
        .max_buf_size(header_bytes.saturating_add(1024).max(MIN_BUFFER_BYTES));
    http
}
