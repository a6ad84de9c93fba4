//! What operators and balancers ask: is it alive, is it ready, how is it doing.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

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
/// old connections and sends no new ones. After the verdict comes a line for each part.
pub(crate) async fn get_readyz(State(state): State<OpsState>) -> (StatusCode, String) {
    let gate = &state.gate;
    if gate.phase.is_leaving() {
        return (StatusCode::NOT_FOUND, "draining\n".to_owned());
    }
    let parts = parts(gate);
    let missing = parts.iter().find(|part| part.is_missing());
    let (status, mut text) = match missing.and_then(|part| part.problem.as_deref()) {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(problem) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {problem}\n"),
        ),
    };
    for Part { name, problem, .. } in &parts {
        let state = problem.as_deref().unwrap_or("ok");
        text.push_str(&format!("{name}: {}\n", state.replace('\n', " ")));
    }
    (status, text)
}

/// Something that the node works with.
struct Part {
    name: &'static str,
    problem: Option<String>,
    /// Whether nobody can be served while there is a problem.
    is_needed: bool,
}

impl Part {
    fn is_missing(&self) -> bool {
        self.is_needed && self.problem.is_some()
    }
}

fn parts(gate: &Gate) -> Vec<Part> {
    let mut parts = vec![Part {
        name: "broker",
        problem: gate.node.health().problem,
        is_needed: true,
    }];
    parts.push(Part {
        name: "tokens",
        problem: gate.auth.problem().map(str::to_owned),
        // Who is in stays in when the keys are away later.
        is_needed: !gate.auth.was_ready(),
    });
    // The certificate before is still in use.
    parts.extend(gate.certificates.as_ref().map(|certificates| Part {
        name: "tls",
        problem: certificates.problem(),
        is_needed: false,
    }));
    // Once it was there, the chat goes on without it; before, nobody knows where rooms stand.
    parts.extend(gate.node.archive_health().map(|health| Part {
        name: "archive",
        problem: health.problem,
        is_needed: !health.was_reached,
    }));
    parts
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
