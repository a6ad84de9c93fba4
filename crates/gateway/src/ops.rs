//! The operators' port: health, readiness and metrics, for operators and balancers.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use hubbub_node::{ArchiveHealth, BrokerHealth};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use crate::error::ApiError;
use crate::exposition::Exposition;
use crate::state::GatewayState;

/// The state behind the operators' port.
#[derive(Clone)]
pub(crate) struct OpsState {
    pub(crate) gateway: Arc<GatewayState>,
    pub(crate) registry: Arc<Registry>,
}

/// `GET /livez`: the runtime answers, which is all that a restart could repair.
pub(crate) async fn get_livez() -> &'static str {
    "alive\n"
}

/// `GET /readyz`. The first line is the verdict: `ready` or `degraded: …` (200), `not ready: …` (503), or
/// `draining` (404), at which a balancer keeps old connections and sends no new ones. After the verdict
/// comes a line for each part.
pub(crate) async fn get_readyz(State(state): State<OpsState>) -> (StatusCode, String) {
    let gateway = &state.gateway;
    if gateway.phase.is_leaving() {
        return (StatusCode::NOT_FOUND, "draining\n".to_owned());
    }
    let parts = parts(gateway);
    let (status, mut text) = verdict(&parts);
    for Part { name, problem, .. } in &parts {
        let state = problem.as_deref().unwrap_or("ok");
        text.push_str(&format!("{name}: {}\n", one_line(state)));
    }
    (status, text)
}

/// Something that the node works with.
struct Part {
    name: &'static str,
    problem: Option<String>,
    effect: Effect,
}

/// The effect of a part's problem on the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// Clients are better served by another node.
    NotReady,
    /// The node serves with less than it promises, and so would every other node.
    Degraded,
    /// Clients notice nothing.
    Noted,
}

/// The status and the first line.
fn verdict(parts: &[Part]) -> (StatusCode, String) {
    let problems = |effect: Effect| {
        let parts = parts.iter().filter(move |part| part.effect == effect);
        parts
            .filter_map(|part| part.problem.as_deref())
            .map(one_line)
    };
    if let Some(problem) = problems(Effect::NotReady).next() {
        let text = format!("not ready: {problem}\n");
        return (StatusCode::SERVICE_UNAVAILABLE, text);
    }
    let degraded: Vec<String> = problems(Effect::Degraded).collect();
    if degraded.is_empty() {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    (
        StatusCode::OK,
        format!("degraded: {}\n", degraded.join("; ")),
    )
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}

fn parts(gateway: &GatewayState) -> Vec<Part> {
    let mut parts = vec![broker(gateway.node.health())];
    parts.push(Part {
        name: "tokens",
        problem: gateway.auth.problem().map(str::to_owned),
        // Clients that are connected stay connected when the keys are away later.
        effect: if gateway.auth.was_ready() {
            Effect::Noted
        } else {
            Effect::NotReady
        },
    });
    // The certificate before is still in use.
    parts.extend(gateway.certificates.as_ref().map(|certificates| Part {
        name: "tls",
        problem: certificates.problem(),
        effect: Effect::Noted,
    }));
    parts.extend(gateway.node.archive_health().map(archive));
    let degraded = gateway.node.degradations().reasons().into_iter();
    parts.extend(degraded.map(|(name, reason)| Part {
        name,
        problem: Some(reason),
        effect: Effect::Degraded,
    }));
    let supervisor = gateway.node.supervisor();
    // A task that cannot begin again ends the node.
    let effect = if supervisor.has_failed() {
        Effect::NotReady
    } else {
        Effect::Degraded
    };
    let problems = supervisor.problems().into_iter();
    parts.extend(problems.map(|(name, problem)| Part {
        name,
        problem: Some(problem),
        effect,
    }));
    // Last: where something else is missing, that is why the node has not joined.
    parts.push(Part {
        name: "settings",
        problem: gateway.node.obstacle(),
        effect: Effect::NotReady,
    });
    parts
}

fn broker(health: BrokerHealth) -> Part {
    let effect = if health.problem.is_some() {
        Effect::NotReady
    } else {
        Effect::Degraded
    };
    Part {
        name: "broker",
        problem: health.problem.or(health.degraded),
        effect,
    }
}

/// Once the archive was there, the chat goes on without it, but older history and search are missing, and
/// rooms that Redis may have lost events of take no sends. Before, nobody knows where rooms stand. A node
/// that stands alone stores nothing while its file or its database is away, or its disk is full.
fn archive(health: ArchiveHealth) -> Part {
    Part {
        name: "archive",
        problem: health.problem,
        effect: if health.stores_nothing || !health.was_reached {
            Effect::NotReady
        } else {
            Effect::Degraded
        },
    }
}

/// `GET /metrics`, for Prometheus and every tool that reads its text format.
pub(crate) async fn get_metrics(State(state): State<OpsState>, headers: HeaderMap) -> Response {
    let exposition = Exposition::asked_for(&headers);
    let mut text = String::new();
    match encode(&mut text, &state.registry) {
        Ok(()) => {
            let kind = [
                (CONTENT_TYPE, exposition.content_type()),
                (VARY, ACCEPT.as_str()),
            ];
            (kind, exposition.write(text)).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "the metrics could not be written");
            ApiError::Internal.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(effect: Effect, problem: Option<&str>) -> Part {
        Part {
            name: "part",
            problem: problem.map(str::to_owned),
            effect,
        }
    }

    #[test]
    fn the_worst_problem_is_the_verdict() {
        let noted = || part(Effect::Noted, Some("old"));
        let degraded = || part(Effect::Degraded, Some("it\nevicts"));
        let first = |parts: &[Part]| {
            let (status, text) = verdict(parts);
            (status.as_u16(), text)
        };
        let fine = part(Effect::NotReady, None);
        assert_eq!(first(&[fine, noted()]), (200, "ready\n".to_owned()));
        let both = [noted(), degraded(), part(Effect::Degraded, Some("behind"))];
        assert_eq!(
            first(&both),
            (200, "degraded: it evicts; behind\n".to_owned())
        );
        let worst = [degraded(), part(Effect::NotReady, Some("away"))];
        assert_eq!(first(&worst), (503, "not ready: away\n".to_owned()));
    }
}
