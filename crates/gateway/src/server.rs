//! HTTP over TCP: one task takes connections in, and each has a task of its own.

use std::convert::Infallible;
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
use tower::ServiceExt;

use crate::admission::Refusal;
use crate::error::ApiError;
use crate::gate::{Gate, Peer};
use crate::handover::Lent;
use crate::listener::Listener;
use crate::patience;

/// So many who are turned away are told why at the same time; further ones are just cut off.
const REFUSALS_AT_ONCE: usize = 64;
/// Who is turned away has so long to ask and to hear why.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(2);
/// hyper's own lower bound for its buffer.
const MIN_BUFFER_BYTES: usize = 8 * 1024;

/// One port's protocol settings and what answers on it.
pub(crate) struct Server {
    gate: Arc<Gate>,
    http: http1::Builder,
    router: Router,
    /// Whether `limits.connections` and its siblings count here.
    is_public: bool,
    refusals: Semaphore,
}

impl Server {
    pub(crate) fn new(gate: Arc<Gate>, router: Router, is_public: bool) -> Arc<Self> {
        let http = builder(gate.limits());
        let refusals = Semaphore::new(REFUSALS_AT_ONCE);
        Arc::new(Self {
            gate,
            http,
            router,
            is_public,
            refusals,
        })
    }

    /// Takes connections in until the gate closes. The listener is dropped then.
    pub(crate) async fn run(self: Arc<Self>, mut listener: Listener) {
        loop {
            let (stream, address) = tokio::select! {
                biased;
                () = self.gate.closing.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match self.enter(address) {
                Ok(peer) => {
                    let server = Arc::clone(&self);
                    self.gate
                        .tasks
                        .spawn(async move { server.serve(stream, peer).await });
                }
                Err(refusal) => self.turn_away(stream, refusal),
            }
        }
    }

    fn enter(&self, address: SocketAddr) -> Result<Peer, Refusal> {
        if !self.is_public {
            return Ok(Peer {
                address,
                permit: None,
                slot: None,
                claim: Arc::default(),
            });
        }
        let admission = &self.gate.admission;
        let permit = admission.enter()?;
        let is_direct = !self.gate.proxies.trusts(address.ip());
        let slot = is_direct
            .then(|| admission.take_slot(address.ip()))
            .transpose()?;
        Ok(Peer {
            address,
            permit: Some(Arc::new(permit)),
            slot: slot.map(Arc::new),
            claim: Arc::default(),
        })
    }

    async fn serve(&self, stream: TcpStream, peer: Peer) {
        let router = &self.router;
        patience::set(&stream, Some(self.gate.limits().write_timeout));
        let stream = Lent::new(stream, Arc::clone(&peer.claim));
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
            () = self.gate.closing.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "http connection ended");
        }
    }

    /// Says why, in HTTP, to as many as can be told without harm to those who are in.
    fn turn_away(self: &Arc<Self>, stream: TcpStream, refusal: Refusal) {
        self.gate.metrics.rejected(refusal.as_str());
        let server = Arc::clone(self);
        if self.refusals.available_permits() == 0 {
            return;
        }
        self.gate.tasks.spawn(async move {
            let Ok(_permit) = server.refusals.try_acquire() else {
                return;
            };
            let service = service_fn(move |_request: Request<Incoming>| async move {
                Ok::<Response<Body>, Infallible>(ApiError::from(refusal).into_response())
            });
            let mut http = builder(server.gate.limits());
            http.keep_alive(false);
            let told = http.serve_connection(TokioIo::new(stream), service);
            // However it ended: there is nobody to tell.
            drop(tokio::time::timeout(REFUSAL_PATIENCE, told).await);
        });
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
