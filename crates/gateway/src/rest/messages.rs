//! `GET /v1/rooms/{room}/messages`: a page of messages as they stand now, oldest first.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use hubbub_node::HistoryPage;
use hubbub_protocol::RoomId;
use hubbub_protocol::command::HistorySpan;

use super::caller::Caller;
use super::path::InRoom;
use super::query::Query;
use crate::error::ApiError;
use crate::openapi::shapes;
use crate::paid;
use crate::state::GatewayState;

/// Messages of a page when nobody says how many; the node knows how many there may be.
const DEFAULT_LIMIT: u64 = 50;

/// A page of messages as they stand now, newest last; one of `before`, `after` and `around` at most.
#[utoipa::path(get, path = "/v1/rooms/{room}/messages", tag = "Messages", params(("room" = shapes::RoomId, Path), ("before" = inline(Option<shapes::Whole>), Query, description = "Older than this offset."), ("after" = inline(Option<shapes::Whole>), Query, description = "Newer than this offset."), ("around" = inline(Option<shapes::Whole>), Query, description = "On both sides of this offset."), ("limit" = inline(Option<shapes::Whole>), Query, description = "How many; 50 where it is missing.")), responses((status = 200, description = "The page.", body = shapes::Page)))]
pub(crate) async fn get_messages(
    State(gateway): State<Arc<GatewayState>>,
    caller: Caller,
    InRoom(room): InRoom,
    uri: Uri,
) -> Result<Response, ApiError> {
    let query = Query::of(&uri)?;
    let span = span(&query)?;
    let limit = query.number("limit")?.unwrap_or(DEFAULT_LIMIT);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let node = &gateway.node;
    let reservation = caller.reserve(node.cost_of_page(limit)).await?;
    let page = node.history(&caller.identity, &room, span, limit).await?;
    reservation.charge_read(page.read_beside());
    Ok(paid::json(encode(&room, &page), reservation))
}

/// The parameters of a query string; `None`: it is refused.
pub(crate) fn read(uri: &Uri) -> Option<String> {
    let query = Query::of(uri).ok()?;
    let span = span(&query).ok()?;
    let limit = query.number("limit").ok()?;
    Some(format!("{span:?} {limit:?}"))
}

fn span(query: &Query) -> Result<HistorySpan, ApiError> {
    let number = |name| query.number(name);
    match (number("before")?, number("after")?, number("around")?) {
        (before, None, None) => Ok(HistorySpan::Before(before)),
        (None, Some(after), None) => Ok(HistorySpan::After(after)),
        (None, None, Some(around)) => Ok(HistorySpan::Around(around)),
        _ => Err(ApiError::BadRequest(
            "give only one of 'before', 'after' and 'around'".to_owned(),
        )),
    }
}

/// The frames go in as they are. A room id needs no escape.
fn encode(room: &RoomId, page: &HistoryPage) -> Vec<u8> {
    let frames = page.events.iter().map(|event| event.frame.as_bytes());
    let size: usize = frames.clone().map(|frame| frame.len() + 1).sum();
    let mut json = Vec::with_capacity(size + 200);
    json.extend_from_slice(format!("{{\"room\":\"{room}\",\"events\":[").as_bytes());
    for (index, frame) in frames.enumerate() {
        if index > 0 {
            json.push(b',');
        }
        json.extend_from_slice(frame);
    }
    json.extend_from_slice(format!("],\"more\":{}}}", page.more).as_bytes());
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_goes_one_way() {
        let span = |text: &str| span(&Query::of(&format!("/x?{text}").parse().unwrap()).unwrap());
        assert_eq!(span("limit=5").unwrap(), HistorySpan::Before(None));
        assert_eq!(span("before=7").unwrap(), HistorySpan::Before(Some(7)));
        assert_eq!(span("after=0").unwrap(), HistorySpan::After(0));
        assert_eq!(span("around=7&x=1").unwrap(), HistorySpan::Around(7));
        for bad in [
            "before=1&after=1",
            "after=1&around=1",
            "before=x",
            "around=",
        ] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }
}
