//! The gateway's own numbers: connections, closes, refusals, handshakes.

use std::sync::Arc;
use std::time::Duration;

use hubbub_protocol::CloseCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// How a connection ended. Only codes that the server sent become labels: a client could make up
/// any number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CloseLabels {
    by: &'static str,
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    door: &'static str,
    reason: &'static str,
}

/// Counters that are cheap to clone and to count with.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    connections: Gauge,
    connections_total: Counter,
    closes: Family<CloseLabels, Counter>,
    rejected: Family<ReasonLabels, Counter>,
    tokens_refused: Family<TokenLabels, Counter>,
    handshake: Histogram,
    panics: Counter,
    certificate_problem: Gauge,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Arc<Self> {
        let metrics = Self {
            connections: Gauge::default(),
            connections_total: Counter::default(),
            closes: Family::default(),
            rejected: Family::default(),
            tokens_refused: Family::default(),
            handshake: Histogram::new(exponential_buckets(0.000_1, 2.5, 12)),
            panics: Counter::default(),
            certificate_problem: Gauge::default(),
        };
        let Self {
            connections,
            connections_total,
            closes,
            rejected,
            tokens_refused,
            handshake,
            panics,
            certificate_problem,
        } = &metrics;
        registry.register(
            "connections",
            "Client connections open now: WebSocket, Socket.IO and event streams",
            connections.clone(),
        );
        registry.register(
            "connections_opened",
            "Client connections opened: WebSocket, Socket.IO and event streams",
            connections_total.clone(),
        );
        registry.register(
            "closes",
            "Connections ended, by side and code",
            closes.clone(),
        );
        registry.register(
            "rejected",
            "Clients turned away before the upgrade",
            rejected.clone(),
        );
        registry.register(
            "tokens_refused",
            "Tokens and tickets refused, and clients without one where one is needed, by door and reason",
            tokens_refused.clone(),
        );
        registry.register(
            "handshake_seconds",
            "From the upgrade request to the session",
            handshake.clone(),
        );
        registry.register(
            "panics",
            "Connections ended by a fault of ours",
            panics.clone(),
        );
        registry.register(
            "tls_certificate_problem",
            "1: the newest TLS files cannot be used, those before still are",
            certificate_problem.clone(),
        );
        Arc::new(metrics)
    }

    pub(crate) fn opened(self: &Arc<Self>) -> OpenConnection {
        self.connections.inc();
        self.connections_total.inc();
        OpenConnection(Arc::clone(self))
    }

    pub(crate) fn closed_by_server(&self, code: CloseCode) {
        self.closes
            .get_or_create(&CloseLabels {
                by: "server",
                code: code.as_u16(),
            })
            .inc();
    }

    pub(crate) fn closed_by_client(&self) {
        self.closes
            .get_or_create(&CloseLabels {
                by: "client",
                code: 0,
            })
            .inc();
    }

    pub(crate) fn closed_abruptly(&self) {
        self.closes
            .get_or_create(&CloseLabels {
                by: "network",
                code: 0,
            })
            .inc();
    }

    pub(crate) fn rejected(&self, reason: &'static str) {
        self.rejected.get_or_create(&ReasonLabels { reason }).inc();
    }

    pub(crate) fn token_refused(&self, door: &'static str, reason: &'static str) {
        let labels = TokenLabels { door, reason };
        self.tokens_refused.get_or_create(&labels).inc();
    }

    pub(crate) fn handshake(&self, took: Duration) {
        self.handshake.observe(took.as_secs_f64());
    }

    pub(crate) fn certificate_problem(&self, is_there: bool) {
        self.certificate_problem.set(i64::from(is_there));
    }

    pub(crate) fn panicked(&self) {
        self.panics.inc();
    }
}

/// Counts one connection as open, until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenConnection(Arc<Metrics>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}
