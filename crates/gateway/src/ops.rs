//! What operators and balancers ask: is it alive, is it ready, how is it doing.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use crate::config::AuthMode;
use crate::error::ApiError;
use crate::gate::Gate;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the ops port can see.
#[derive(Clone)]
pub(crate) struct OpsState {
    pub(crate) gate: Arc<Gate>,
    pub(crate) registry: Arc<Registry>,
}

/// `GET /livez`: the runtime answers, which is all that a restart could repair.
pub(crate) async fn get_livez() -> &'static str {
    "alive\n"
}

/// `GET /readyz`: 200, or 503 with what is missing, or 404 while draining: a balancer then keeps
/// old connections and sends no new ones.
pub(crate) async fn get_readyz(State(state): State<OpsState>) -> (StatusCode, String) {
    let gate = &state.gate;
    if gate.phase.is_leaving() {
        return (StatusCode::NOT_FOUND, "draining\n".to_owned());
    }
    match problem(gate) {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(problem) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {problem}\n"),
        ),
    }
}

fn problem(gate: &Gate) -> Option<String> {
    let secret = || {
        let missing = gate.auth.mode() == AuthMode::Guest && !gate.auth.has_secret();
        missing.then(|| "the cluster's secret for guest tokens is not known yet".to_owned())
    };
    gate.node.health().problem.or_else(secret)
}

/// `GET /metrics`, for Prometheus.
pub(crate) async fn get_metrics(State(state): State<OpsState>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &state.registry) {
        Ok(()) => ([(CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics could not be written");
            ApiError::Internal.into_response()
        }
    }
}
