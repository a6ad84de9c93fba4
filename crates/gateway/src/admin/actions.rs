//! Operators' commands. Each runs to its end, even if the operator goes away, and is audited.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use hubbub_node::AuditEntry;
use hubbub_protocol::{NodeId, Order, RoomId, Subject, Tokens, User, UserId};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::bodies::{Announce, Ban, Kick, Mute, Revoke, check_reason, check_text};
use super::{AdminState, Operator};
use crate::error::{ApiError, StateProblem};
use crate::rest::body::read_free_json;

const MAX_BODY_BYTES: usize = 16 * 1024;

/// Something to be done and noted.
struct Deed {
    action: &'static str,
    /// The user, room or message that it is about.
    target: String,
    detail: Value,
}

pub(super) async fn kick(
    State(state): State<AdminState>,
    operator: Operator,
    request: Request,
) -> Result<Response, ApiError> {
    let example = r#"{"user":"eve","room":"lobby","ttl":"10m"}"#;
    let kick: Kick = body(&state, request, example).await?;
    let life = kick.life()?;
    let Kick { user, room, .. } = kick;
    let deed = Deed {
        action: "kick",
        target: user.to_string(),
        detail: json!({ "room": room, "ttl_s": seconds(life) }),
    };
    give(state, operator, deed, Order::Kick { user, room }, life).await
}

pub(super) async fn ban(
    State(state): State<AdminState>,
    operator: Operator,
    request: Request,
) -> Result<Response, ApiError> {
    let ban: Ban = body(
        &state,
        request,
        r#"{"user":"eve","ttl":"1h","reason":"spam"}"#,
    )
    .await?;
    let subject = ban.subject()?;
    let (life, reason) = (ban.ttl.map(|ttl| ttl.0), check_reason(ban.reason)?);
    let deed = Deed {
        action: "ban",
        target: subject_text(&subject),
        detail: json!({ "ttl_s": seconds(life), "reason": reason }),
    };
    give(state, operator, deed, Order::Ban { subject, reason }, life).await
}

pub(super) async fn unban(
    State(state): State<AdminState>,
    operator: Operator,
    request: Request,
) -> Result<Response, ApiError> {
    let ban: Ban = body(&state, request, r#"{"user":"eve"}"#).await?;
    let subject = ban.subject()?;
    let deed = Deed {
        action: "unban",
        target: subject_text(&subject),
        detail: json!({}),
    };
    give(state, operator, deed, Order::Unban { subject }, None).await
}

pub(super) async fn mute(
    State(state): State<AdminState>,
    operator: Operator,
    request: Request,
) -> Result<Response, ApiError> {
    let example = r#"{"user":"eve","room":"lobby","ttl":"1h"}"#;
    let mute: Mute = body(&state, request, example).await?;
    let (life, reason) = (mute.ttl.map(|ttl| ttl.0), check_reason(mute.reason)?);
    let (user, room) = (mute.user, mute.room);
    let deed = Deed {
        action: "mute",
        target: user.to_string(),
        detail: json!({ "room": room, "ttl_s": seconds(life), "reason": reason }),
    };
    give(
        state,
        operator,
        deed,
        Order::Mute { user, room, reason },
        life,
    )
    .await
}

pub(super) async fn unmute(
    State(state): State<AdminState>,
    operator: Operator,
    request: Request,
) -> Result<Response, ApiError> {
    let mute: Mute = body(&state, request, r#"{"user":"eve","room":"lobby"}"#).await?;
    let (user, room) = (mute.user, mute.room);
    let deed = Deed {
        action: "unmute",
        target: user.to_string(),
        detail: json!({ "room": room }),
    };
    give(state, operator, deed, Order::Unmute { user, room }, None).await
}

pub(super) async fn revoke(
    State(state): State<AdminState>,
    operator: Operator,
    request: Request,
) -> Result<Response, ApiError> {
    let revoke: Revoke = body(&state, request, r#"{"user":"eve"}"#).await?;
    let (tokens, life) = (revoke.tokens()?, revoke.ttl.map(|ttl| ttl.0));
    let deed = Deed {
        action: "revoke",
        target: tokens_text(&tokens),
        detail: json!({ "ttl_s": seconds(life) }),
    };
    give(state, operator, deed, Order::Revoke { tokens }, life).await
}

pub(super) async fn unrevoke(
    State(state): State<AdminState>,
    operator: Operator,
    request: Request,
) -> Result<Response, ApiError> {
    let revoke: Revoke = body(&state, request, r#"{"user":"eve"}"#).await?;
    let tokens = revoke.tokens()?;
    let deed = Deed {
        action: "unrevoke",
        target: tokens_text(&tokens),
        detail: json!({}),
    };
    give(state, operator, deed, Order::Unrevoke { tokens }, None).await
}

pub(super) async fn announce(
    State(state): State<AdminState>,
    operator: Operator,
    request: Request,
) -> Result<Response, ApiError> {
    let example = r#"{"text":"We restart at noon","room":"lobby"}"#;
    let Announce { room, text } = body(&state, request, example).await?;
    check_text(&text)?;
    let deed = Deed {
        action: "announce",
        target: room.as_ref().map_or("everybody", RoomId::as_str).to_owned(),
        detail: json!({ "text": text }),
    };
    give(state, operator, deed, Order::Announce { room, text }, None).await
}

/// The node leaves as on SIGTERM.
pub(super) async fn drain_node(
    State(state): State<AdminState>,
    operator: Operator,
    Path(node): Path<String>,
) -> Result<Response, ApiError> {
    let node = NodeId::new(&node).map_err(|error| ApiError::BadRequest(error.to_string()))?;
    let gateway = Arc::clone(&state.gateway);
    let deed = Deed {
        action: "drain",
        target: node.to_string(),
        detail: json!({}),
    };
    act(state, operator, deed, async move {
        let known = gateway.node.nodes().await?;
        let is_known = known.nodes.iter().any(|info| info.node == node.as_str())
            || known.silent.iter().any(|silent| silent == node.as_str());
        if !is_known {
            return Err(ApiError::State(
                StateProblem::Missing,
                "there is no such node",
            ));
        }
        let issued = gateway.node.order(&Order::Drain { node }, None).await?;
        Ok(json!({ "sequence": issued.sequence }))
    })
    .await
}

pub(super) async fn delete_message(
    State(state): State<AdminState>,
    operator: Operator,
    Path((room, offset)): Path<(String, u64)>,
) -> Result<Response, ApiError> {
    let room = RoomId::new(&room).map_err(ApiError::Room)?;
    let gateway = Arc::clone(&state.gateway);
    let deed = Deed {
        action: "delete",
        target: format!("{room} {offset}"),
        detail: json!({}),
    };
    act(state, operator, deed, async move {
        let by = User {
            id: UserId::new("operator").expect("letters are a valid user id"),
            name: "Operator".into(),
        };
        let place = gateway.node.remove_message(&by, &room, offset).await?;
        Ok(json!({ "room": room, "target": offset, "offset": place.offset }))
    })
    .await
}

async fn body<T: DeserializeOwned>(
    state: &AdminState,
    request: Request,
    example: &str,
) -> Result<T, ApiError> {
    let read = read_free_json(&state.gateway, request, MAX_BODY_BYTES, example).await?;
    read.ok_or_else(|| ApiError::BadRequest(format!("the body must be like {example}")))
}

/// Gives an order.
async fn give(
    state: AdminState,
    operator: Operator,
    deed: Deed,
    order: Order,
    life: Option<Duration>,
) -> Result<Response, ApiError> {
    let gateway = Arc::clone(&state.gateway);
    act(state, operator, deed, async move {
        let issued = gateway.node.order(&order, life).await?;
        Ok(json!({ "sequence": issued.sequence, "until": issued.until }))
    })
    .await
}

/// Does it and notes it; the answer says whether the archive has the note.
async fn act(
    state: AdminState,
    operator: Operator,
    deed: Deed,
    done: impl Future<Output = Result<Value, ApiError>> + Send + 'static,
) -> Result<Response, ApiError> {
    let gateway = Arc::clone(&state.gateway);
    let task = state.gateway.tasks.spawn(async move {
        let done = done.await;
        let result = match &done {
            Ok(_) => "ok",
            Err(error) => error.code_text(),
        };
        let audited = gateway.node.audit(&entry(&operator, deed, result)).await;
        done.map(|mut answer| {
            answer["audited"] = audited.into();
            answer
        })
    });
    let answer = task.await.unwrap_or_else(|error| {
        tracing::error!(%error, "what an operator asked for failed");
        Err(ApiError::Internal)
    })?;
    Ok(Json(answer).into_response())
}

fn entry(operator: &Operator, deed: Deed, result: &str) -> AuditEntry {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    AuditEntry {
        id: 0,
        at: u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX),
        who: operator.who.to_owned(),
        address: operator.address.to_string(),
        action: deed.action.to_owned(),
        target: deed.target,
        detail: deed.detail.to_string(),
        result: result.to_owned(),
    }
}

fn seconds(life: Option<Duration>) -> Option<u64> {
    life.map(|life| life.as_secs())
}

fn subject_text(subject: &Subject) -> String {
    match subject {
        Subject::User(user) => format!("user {user}"),
        Subject::Address(net) => format!("address {net}"),
    }
}

fn tokens_text(tokens: &Tokens) -> String {
    match tokens {
        Tokens::Of(user) => format!("user {user}"),
        Tokens::Id(id) => format!("token {id}"),
    }
}
