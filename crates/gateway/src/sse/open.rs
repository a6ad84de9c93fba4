//! Opening an event stream: the user, the rooms and the position.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use hubbub_node::{Identity, Pace, TicketUse};
use hubbub_protocol::RoomId;
use hubbub_protocol::command::JoinFrom;
use hubbub_protocol::since::InvalidSince;
use tokio::time::Instant;

use super::encode::{self, Form};
use super::{Listener, serve};
use crate::auth::bearer;
use crate::config::AuthMode;
use crate::error::ApiError;
use crate::openapi::shapes;
use crate::proof::{TICKET, TokenSource, Transport};
use crate::rest::caller::{self, missing};
use crate::rest::path::InRoom;
use crate::rest::query::Query;
use crate::state::{GatewayState, Peer};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Proxies such as nginx would keep events back until they have many.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Where a client begins.
struct Beginning {
    from: JoinFrom,
    /// Further rooms, in the same stream.
    also: Vec<(RoomId, JoinFrom)>,
}

/// A room's events as they happen, from one's own place on.
///
/// A refusal has a status of its own. `id` is `EPOCH:OFFSET:MESSAGE`, by which any node
/// resumes; the message's id shows that the stream is still the one that the client has heard. Where
/// no event is known at a position, `id` is `EPOCH:OFFSET`, and both forms are accepted.
/// With `also` frames are as on a WebSocket: events stand in `joined`, none has an id, and a further
/// room that is refused is an `error` whose `id` is the room's name.
#[utoipa::path(get, path = "/v1/rooms/{room}/events", tag = "Messages", params(("room" = shapes::RoomId, Path), ("recent" = inline(Option<shapes::Whole>), Query, description = "Begin with the newest so many."), ("since" = Option<String>, Query, description = "Begin after this position: `EPOCH:OFFSET:MESSAGE` or `EPOCH:OFFSET`."), ("also" = Option<Vec<String>>, Query, description = "Further rooms: `ROOM`, `ROOM~RECENT` or `ROOM@EPOCH:OFFSET:MESSAGE` (or `ROOM@EPOCH:OFFSET`)."), ("Last-Event-ID" = Option<String>, Header, description = "As `since`, and counts more."), ("ticket" = Option<String>, Query, description = "From `POST /v1/tickets`, for who can send no header.")), responses((status = 200, description = "The stream.", body = String, content_type = "text/event-stream")))]
pub(crate) async fn open_events(
    State(gateway): State<Arc<GatewayState>>,
    Extension(peer): Extension<Peer>,
    InRoom(room): InRoom,
    request: Request,
) -> Result<Response, ApiError> {
    let began = Instant::now();
    let (method, uri, headers) = (request.method(), request.uri(), request.headers());
    let query = Query::of(uri)?;
    let beginning = beginning(headers, &query)?;
    if gateway.phase.is_draining() {
        gateway.metrics.rejected("draining");
        return Err(ApiError::Busy("it is being shut down"));
    }
    let client = gateway.client(&peer, headers);
    let identity = identify(&gateway, &peer, headers, &query).await?;
    if method == Method::HEAD {
        return Ok(head(Body::empty()));
    }
    let slot = gateway.take_place(&peer, client)?;
    let attached = gateway.node.attach(identity, Some(client));
    let attached =
        attached.inspect_err(|code| gateway.refused_identity(token_source(client), *code));
    let (mut session, outbox) = attached.map_err(ApiError::without_session)?;
    session.join_room(&room, &beginning.from).await?;
    gateway.metrics.handshake(began.elapsed());
    let taken = peer.hijack.take();
    let tasks = gateway.tasks.clone();
    let listener = Box::new(Listener {
        gateway,
        client,
        form: form(beginning.from, &beginning.also),
        also: beginning.also,
        session,
        outbox,
        _permit: peer.permit,
        _slot: slot,
    });
    tasks.spawn(serve(listener, taken));
    // Its length is not known, so hyper announces chunks; ours follow.
    Ok(head(Body::from_stream(futures_util::stream::empty::<
        Result<axum::body::Bytes, std::convert::Infallible>,
    >())))
}

/// Where tokens come from here.
fn token_source(client: IpAddr) -> TokenSource {
    let transport = Transport::EventStream;
    TokenSource { client, transport }
}

/// Events of several rooms have no ids, so that frames are as on a WebSocket.
fn form(from: JoinFrom, also: &[(RoomId, JoinFrom)]) -> Form {
    if !also.is_empty() {
        return Form::AsOnSocket;
    }
    let since = match from {
        JoinFrom::Since(since) => Some(since),
        JoinFrom::Now | JoinFrom::Recent(_) => None,
    };
    Form::OneRoom { since }
}

fn head(body: Body) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
        (X_ACCEL_BUFFERING, "no"),
        // The stream's end is the connection's, and hyper lets go of it.
        (CONNECTION, "close"),
    ];
    (StatusCode::OK, headers, body).into_response()
}

/// The identity of the token; without one a new guest, if guests are allowed.
async fn identify(
    gateway: &Arc<GatewayState>,
    peer: &Peer,
    headers: &HeaderMap,
    query: &Query,
) -> Result<Identity, ApiError> {
    let from_page = gateway.check_origin(peer, headers)?;
    let is_ours = from_page || bearer::is_same_origin(headers);
    let token_source = token_source(gateway.client(peer, headers));
    let token = gateway.token(peer, headers, is_ours);
    let identity = match (token, query.text("ticket")?) {
        (Some(token), _) => caller::verify(gateway, token_source, token).await?,
        (None, Some(ticket)) => holder(gateway, token_source, ticket).await?,
        (None, None) => match gateway.auth.mode() {
            AuthMode::Guest => {
                // Browsers send no Origin with a plain read of a page's own host.
                if !from_page {
                    gateway.check_host(headers)?;
                }
                return Ok(gateway.new_guest(token_source.client, None)?);
            }
            AuthMode::Jwt => return Err(missing(gateway, token_source)),
        },
    };
    gateway.node.keep_pace(&identity, Pace::Reads)?;
    Ok(identity)
}

/// The user of a ticket. It stays good until it or its token expires, since an `EventSource` comes back
/// with it.
async fn holder(
    gateway: &GatewayState,
    token_source: TokenSource,
    ticket: &str,
) -> Result<Identity, ApiError> {
    let holder = gateway.redeem_ticket(token_source.client, ticket, TicketUse::UntilExpiry);
    holder.await?.ok_or_else(|| {
        gateway.refused_token(token_source, TICKET);
        let expired = "the ticket has expired or is none: POST /v1/tickets makes one";
        ApiError::Unauthorized(expired.to_owned())
    })
}

/// The position that the browser remembers counts more than the address that the page once made.
fn beginning(headers: &HeaderMap, query: &Query) -> Result<Beginning, ApiError> {
    let also = query.texts("also").map(further_room);
    let also: Vec<_> = also.collect::<Result<_, _>>()?;
    let resume = |since| Beginning {
        from: JoinFrom::Since(since),
        also: also.clone(),
    };
    let last = headers.get(LAST_EVENT_ID).map(HeaderValue::as_bytes);
    if let Some(last) = last.filter(|last| !last.is_empty()) {
        let last = std::str::from_utf8(last)
            .ok()
            .and_then(|id| id.parse().ok());
        return Ok(resume(last.unwrap_or_else(encode::nowhere)));
    }
    if let Some(since) = query.text("since")? {
        let since = since
            .parse()
            .map_err(|wrong: InvalidSince| ApiError::BadRequest(format!("'since': {wrong}")))?;
        return Ok(resume(since));
    }
    let recent = query.number("recent")?;
    Ok(Beginning {
        from: recent.map_or(JoinFrom::Now, |recent| {
            JoinFrom::Recent(usize::try_from(recent).unwrap_or(usize::MAX))
        }),
        also,
    })
}

/// `ROOM`, `ROOM~RECENT` or `ROOM@SINCE`; neither sign is ever in a room's name.
fn further_room(text: &str) -> Result<(RoomId, JoinFrom), ApiError> {
    let wrong = || {
        let wrong =
            "'also' must be ROOM, ROOM~RECENT, ROOM@EPOCH:OFFSET or ROOM@EPOCH:OFFSET:MESSAGE";
        ApiError::BadRequest(wrong.to_owned())
    };
    let (room, from) = if let Some((room, since)) = text.split_once('@') {
        (room, JoinFrom::Since(since.parse().map_err(|_| wrong())?))
    } else if let Some((room, recent)) = text.split_once('~') {
        (room, JoinFrom::Recent(recent.parse().map_err(|_| wrong())?))
    } else {
        (text, JoinFrom::Now)
    };
    Ok((RoomId::new(room).map_err(ApiError::Room)?, from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(query: &str, last: Option<&str>) -> Result<Beginning, ApiError> {
        let mut headers = HeaderMap::new();
        if let Some(last) = last {
            headers.insert(
                LAST_EVENT_ID,
                HeaderValue::from_bytes(last.as_bytes()).unwrap(),
            );
        }
        let query = Query::of(&format!("/x?{query}").parse().unwrap()).unwrap();
        beginning(&headers, &query)
    }

    #[test]
    fn what_the_browser_remembers_counts_most() {
        let since = |query: &str, last| match begin(query, last).unwrap().from {
            JoinFrom::Since(since) => since.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(since("since=e:5&recent=3", None), "e:5");
        assert_eq!(since("since=e:5:M5", None), "e:5:M5");
        assert_eq!(since("since=e%3A5%3AM5", None), "e:5:M5");
        assert_eq!(since("since=e:5", Some("e:7")), "e:7");
        assert_eq!(since("since=e:5:M5", Some("e:7:M7")), "e:7:M7");
        assert_eq!(since("since=e:5", Some("")), "e:5");
        assert_eq!(since("", Some("nonsense 🐙")), "-:0", "starts over");
        assert_eq!(since("", Some("e:7:M 7")), "-:0", "starts over");
        let recent = begin("recent=3", None).unwrap();
        assert!(matches!(recent.from, JoinFrom::Recent(3)));
        assert!(matches!(begin("", None).unwrap().from, JoinFrom::Now));
        assert!(begin("since=nonsense", None).is_err() && begin("recent=x", None).is_err());
    }

    #[test]
    fn further_rooms_begin_each_at_its_own_place() {
        let also = |query: &str| begin(query, None).map(|beginning| beginning.also);
        let rooms = also("also=a&recent=3&also=b.c~5&also=d:e@e:7:M7").unwrap();
        let names: Vec<_> = rooms.iter().map(|(room, _)| room.as_str()).collect();
        assert_eq!(names, ["a", "b.c", "d:e"]);
        let [
            (_, JoinFrom::Now),
            (_, JoinFrom::Recent(5)),
            (_, JoinFrom::Since(since)),
        ] = &rooms[..]
        else {
            panic!("{rooms:?}")
        };
        assert_eq!(since.to_string(), "e:7:M7");
        for bad in ["", "a~", "a~x", "a@", "a@7", "a@e:7:", "a b", "~5", "a~-1"] {
            assert!(
                also(&format!("also={}", bad.replace(' ', "%20"))).is_err(),
                "{bad}"
            );
        }
    }
}
