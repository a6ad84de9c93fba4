//! Lists for operators, in pages.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use hubbub_node::{CommandError, ConnectionQuery};
use hubbub_protocol::{InvalidId, Issued, Order, RoomId, Subject, Tokens, UserId};
use serde::Serialize;
use serde_json::{Value, json};

use super::AdminState;
use crate::error::ApiError;
use crate::rest::query::Query;

/// Rows of a page, unless the query says otherwise.
const PAGE: u64 = 100;
const MAX_PAGE: u64 = 500;

/// A ban, mute, revocation or kick out of a room.
#[derive(Debug, Default, Serialize)]
struct Rule<'a> {
    rule: &'a str,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<&'a RoomId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    since: u64,
    until: Option<u64>,
}

/// `GET /admin/nodes`.
pub(super) async fn list_nodes(State(state): State<AdminState>) -> Result<Response, ApiError> {
    let nodes = state.gateway.node.nodes().await;
    let nodes = nodes.map_err(|error| unanswered(&state, error))?;
    Ok(Json(nodes).into_response())
}

/// `GET /admin/settings`: which nodes differ in what.
pub(super) async fn list_settings(State(state): State<AdminState>) -> Result<Response, ApiError> {
    let node = &state.gateway.node;
    match node.settings_of_all().await {
        Ok(settings) => Ok(Json(settings).into_response()),
        Err(error) => Err(match node.obstacle() {
            Some(obstacle) => ApiError::Unavailable(obstacle),
            None => unanswered(&state, error),
        }),
    }
}

/// Says that the cluster was asked in vain, and why.
fn unanswered(state: &AdminState, error: CommandError) -> ApiError {
    if !matches!(error, CommandError::Unavailable) {
        return error.into();
    }
    let problem = state.gateway.node.health().problem;
    let problem = problem.unwrap_or_else(|| "redis did not answer in time".to_owned());
    ApiError::Unavailable(format!(
        "the cluster cannot be asked now: {problem}; try again when /readyz says ready"
    ))
}

/// `GET /admin/connections?user=&room=&node=&after=&limit=`.
pub(super) async fn list_connections(
    State(state): State<AdminState>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let query = Query::of(&uri)?;
    let wanted = ConnectionQuery {
        user: id(&query, "user", UserId::new)?,
        room: id(&query, "room", RoomId::new)?,
        node: id(&query, "node", hubbub_protocol::NodeId::new)?,
        after: id(&query, "after", hubbub_protocol::ConnectionId::new)?,
        limit: limit(&query)?,
    };
    let page = state.gateway.node.connections_of_all(&wanted).await;
    let page = page.map_err(|error| unanswered(&state, error))?;
    Ok(Json(page).into_response())
}

/// `GET /admin/rooms?after=&limit=`.
pub(super) async fn list_rooms(
    State(state): State<AdminState>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let query = Query::of(&uri)?;
    let after = query.text("after")?.unwrap_or_default();
    let rooms = state.gateway.node.all_rooms(after, limit(&query)?).await;
    let (rooms, more) = rooms.map_err(|error| unanswered(&state, error))?;
    Ok(Json(json!({ "rooms": rooms, "more": more })).into_response())
}

/// `GET /admin/bans?after=&limit=`: all rules that hold.
pub(super) async fn list_rules(
    State(state): State<AdminState>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let query = Query::of(&uri)?;
    let (after, limit) = (query.text("after")?.unwrap_or_default(), limit(&query)?);
    let mut rules = state.gateway.node.rules(after, limit + 1);
    let more = rules.len() > limit;
    rules.truncate(limit);
    let rules: Vec<Rule<'_>> = rules
        .iter()
        .map(|(name, issued)| rule(name, issued))
        .collect();
    Ok(Json(json!({ "rules": rules, "more": more })).into_response())
}

/// `GET /admin/audit?before=&limit=`.
pub(super) async fn list_audit(
    State(state): State<AdminState>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let query = Query::of(&uri)?;
    let (before, limit) = (query.number("before")?, limit(&query)?);
    let entries = state.gateway.node.audited(before, limit + 1).await;
    let mut entries = entries.map_err(|error| match error {
        CommandError::Unavailable => {
            ApiError::Unavailable("the archive does not answer, try again later".to_owned())
        }
        other => other.into(),
    })?;
    let more = entries.len() > limit;
    entries.truncate(limit);
    let entry = |entry: &hubbub_node::AuditEntry| {
        let mut shown = serde_json::to_value(entry).expect("plain structs always serialize");
        // It was JSON when it was written.
        shown["detail"] = serde_json::from_str(&entry.detail).unwrap_or(Value::Null);
        shown
    };
    let entries: Vec<Value> = entries.iter().map(entry).collect();
    Ok(Json(json!({ "entries": entries, "more": more })).into_response())
}

fn rule<'a>(name: &'a str, issued: &'a Issued) -> Rule<'a> {
    let rule = Rule {
        rule: name,
        since: issued.at(),
        until: issued.until,
        ..Rule::default()
    };
    match &issued.order {
        Order::Ban { subject, reason } => Rule {
            kind: "ban",
            user: match subject {
                Subject::User(user) => Some(user),
                Subject::Address(_) => None,
            },
            address: match subject {
                Subject::User(_) => None,
                Subject::Address(net) => Some(net.to_string()),
            },
            reason: reason.as_deref(),
            ..rule
        },
        Order::Mute { user, room, reason } => Rule {
            kind: "mute",
            user: Some(user),
            room: Some(room),
            reason: reason.as_deref(),
            ..rule
        },
        Order::Kick { user, room } => Rule {
            kind: "kick",
            user: Some(user),
            room: room.as_ref(),
            ..rule
        },
        Order::Revoke { tokens } => Rule {
            kind: "revoke",
            user: match tokens {
                Tokens::Of(user) => Some(user),
                Tokens::Id(_) => None,
            },
            token: match tokens {
                Tokens::Of(_) => None,
                Tokens::Id(id) => Some(id),
            },
            ..rule
        },
        Order::Unban { .. }
        | Order::Unmute { .. }
        | Order::Unrevoke { .. }
        | Order::Announce { .. }
        | Order::Drain { .. } => rule,
    }
}

fn limit(query: &Query) -> Result<usize, ApiError> {
    let limit = query.number("limit")?.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    Ok(usize::try_from(limit).expect("a page is small"))
}

fn id<T>(
    query: &Query,
    name: &str,
    new: impl Fn(&str) -> Result<T, InvalidId>,
) -> Result<Option<T>, ApiError> {
    let text = query.text(name)?.filter(|text| !text.is_empty());
    let id = text.map(new).transpose();
    id.map_err(|error| ApiError::BadRequest(format!("'{name}': {error}")))
}
