//! `GET /v1/search`: messages that have all the words, newest first.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use hubbub_node::{Amount, Fragment, SearchCursor, SearchPage, SearchRequest};
use hubbub_protocol::{Frame, RoomId};
use serde::Serialize;

use super::caller::Caller;
use super::path::user_id;
use super::query::Query;
use crate::error::ApiError;
use crate::openapi::shapes;
use crate::paid;
use crate::state::GatewayState;

/// Hits of a page when nobody says how many, and at most.
const DEFAULT_LIMIT: u64 = 20;
const MOST: u64 = 100;
/// Bytes of a query; the longest message has more words than anybody looks for.
const MAX_TEXT_BYTES: usize = 1_000;

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Found {
    hits: Vec<FoundHit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// The `before` of the next page.
    #[schema(nullable = false)]
    next: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct FoundHit {
    #[schema(value_type = shapes::Message)]
    event: Frame,
    #[schema(value_type = Vec<shapes::Fragment>)]
    highlight: Vec<Fragment>,
}

/// Messages that have all the words, newest first.
#[utoipa::path(get, path = "/v1/search", tag = "Messages", params(("q" = String, Query, description = "The words to look for, beginnings of words with a star behind (`loo*`), phrases in quotes.", max_length = 1_000, pattern = "\\S"), ("room" = Option<shapes::RoomId>, Query), ("from" = Option<shapes::UserId>, Query, description = "Only what this user said."), ("before" = Option<String>, Query, description = "The `next` of an earlier page.", pattern = "^[0-9]{1,15}$"), ("limit" = inline(Option<shapes::Whole>), Query, description = "20 where it is missing, at most 100.")), responses((status = 200, description = "The hits.", body = Found)))]
pub(crate) async fn search_messages(
    State(gateway): State<Arc<GatewayState>>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, ApiError> {
    let request = request(&Query::of(&uri)?)?;
    let node = &gateway.node;
    let cost = Amount {
        searches: 1,
        ..node.cost_of_page(request.limit)
    };
    let reservation = caller.reserve(cost).await?;
    let page = node.search(&caller.identity, request).await?;
    paid::value(&Found::from(page), reservation)
}

/// The parameters of a query string; `None`: it is refused.
pub(crate) fn read(uri: &Uri) -> Option<String> {
    let request = request(&Query::of(uri).ok()?).ok()?;
    Some(format!("{request:?}"))
}

fn request(query: &Query) -> Result<SearchRequest, ApiError> {
    let bad = |detail: String| Err(ApiError::BadRequest(detail));
    let text = query.text("q")?.unwrap_or_default();
    if text.trim().is_empty() {
        return bad("'q' is missing: the words to look for, \"phrases\" in quotes".to_owned());
    }
    if text.len() > MAX_TEXT_BYTES {
        return bad(format!("'q' has more than {MAX_TEXT_BYTES} bytes"));
    }
    let room = query.text("room")?.map(RoomId::new).transpose();
    let before = match query.text("before")? {
        None => None,
        Some(cursor) => match SearchCursor::parse(cursor) {
            None => return bad("'before' must be the 'next' of an earlier page".to_owned()),
            some => some,
        },
    };
    let limit = query.number("limit")?.unwrap_or(DEFAULT_LIMIT);
    Ok(SearchRequest {
        text: text.to_owned(),
        room: room.map_err(ApiError::Room)?,
        from: query.text("from")?.map(user_id).transpose()?,
        before,
        limit: usize::try_from(limit.clamp(1, MOST)).expect("100 at most"),
    })
}

impl From<SearchPage> for Found {
    fn from(page: SearchPage) -> Self {
        let hits = page.hits.into_iter().map(|hit| FoundHit {
            event: hit.event.frame,
            highlight: hit.highlight,
        });
        Self {
            hits: hits.collect(),
            next: page.next.map(|next| next.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_needs_words() {
        let read =
            |text: &str| request(&Query::of(&format!("/x?{text}").parse().unwrap()).unwrap());
        let request = read("q=hello%20world&room=lobby&from=bob&before=17&limit=1000").unwrap();
        assert_eq!(request.text, "hello world");
        assert_eq!(request.room.unwrap().as_str(), "lobby");
        assert_eq!(request.from.unwrap().as_str(), "bob");
        assert_eq!(request.before, SearchCursor::parse("17"));
        assert_eq!(request.limit, 100);
        let long = format!("q={}", "a".repeat(1_001));
        for bad in [
            "",
            "q=",
            "q=%20",
            "q=a&q=b",
            "q=a&room=a%20b",
            "q=a&from=",
            "q=a&before=x",
            "q=a&limit=x",
            &long,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
