//! `POST /v1/tickets`: a token's worth in an address, for clients that can send no header.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hubbub_node::Pace;
use serde::Serialize;

use super::caller::Caller;
use crate::error::ApiError;
use crate::state::GatewayState;

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Ticket)]
struct NewTicket {
    ticket: String,
    /// Milliseconds since 1970.
    expires: u64,
}

/// A ticket for `?ticket=`, for clients that can send no header.
#[utoipa::path(post, path = "/v1/tickets", tag = "Callers", responses((status = 201, description = "Made; good for a minute, and no longer than the token.", body = NewTicket)))]
pub(crate) async fn create_ticket(
    State(gateway): State<Arc<GatewayState>>,
    caller: Caller,
) -> Result<Response, ApiError> {
    gateway.node.keep_pace(&caller.identity, Pace::Tickets)?;
    // Guests cost nothing: one address makes tickets of many.
    if let Some(address) = caller.address() {
        gateway.node.keep_address_pace(address, Pace::Tickets)?;
    }
    let ticket = gateway.node.issue_ticket(&caller.identity).await?;
    let ticket = NewTicket {
        ticket: ticket.secret,
        expires: ticket.expires,
    };
    Ok((StatusCode::CREATED, Json(ticket)).into_response())
}
