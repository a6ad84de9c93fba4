//! `POST /v1/rooms/{room}/messages` and `POST /v1/messages`: messages from programs, one or many, with
//! the same order, nonces and acks as over a socket.

use std::fmt;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use hubbub_node::{Action, Post, Receipt};
use hubbub_protocol::command::{AckLevel, Body, Terms};
use hubbub_protocol::frame::ServerFrame;
use hubbub_protocol::{ErrorCode, Frame, Nonce, RoomId, User, UserId};
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::body::{read_json, read_reserved_json};
use super::caller::Sender;
use super::idempotency::IdempotencyKey;
use super::path::InRoom;
use crate::auth::name::check_name;
use crate::error::ApiError;
use crate::openapi::shapes;
use crate::state::GatewayState;

const EXAMPLE: &str = r#"{"body":{"text":"hi"},"nonce":"…"}"#;
const BATCH_EXAMPLE: &str = r#"{"messages":[{"room":"lobby","body":{"text":"hi"},"nonce":"…"}]}"#;
/// Messages of one batch.
const MOST: usize = 100;
const MAX_BATCH_BYTES: usize = 1024 * 1024;

/// A message as it is asked for.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
struct NewMessage {
    /// Any JSON.
    #[serde(default, deserialize_with = "any_value")]
    #[schema(value_type = Value, required)]
    body: Option<Body>,
    #[schema(value_type = Option<shapes::Nonce>)]
    nonce: Option<Nonce>,
    #[schema(value_type = Option<shapes::AckLevel>)]
    ack: Option<AckLevel>,
    from: Option<Author>,
}

/// In whose name.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
struct Author {
    #[schema(value_type = shapes::UserId)]
    id: UserId,
    #[schema(value_type = Option<shapes::Name>)]
    name: Option<String>,
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
struct Batch {
    #[serde(deserialize_with = "few")]
    #[schema(value_type = Vec<BatchEntry>, max_items = 100)]
    messages: Vec<Box<RawValue>>,
}

/// One message of a batch, as the document shows it.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "each is read by itself, so that one may be wrong")]
struct BatchEntry {
    room: shapes::RoomId,
    #[serde(flatten)]
    message: NewMessage,
}

/// The results of a batch, in the order of its messages.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "frames are written as they are")]
struct Results {
    results: Vec<shapes::Outcome>,
}

/// The refusal of one message of a batch.
struct Refused(ErrorCode, String);

/// Unlike an optional field, takes `null` for a value.
pub(super) fn any_value<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Body>, D::Error> {
    Body::deserialize(deserializer).map(Some)
}

/// Reads a list up to one more than a batch may have: the rest takes no memory.
fn few<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Box<RawValue>>, D::Error> {
    deserializer.deserialize_seq(Few)
}

struct Few;

impl<'de> Visitor<'de> for Few {
    type Value = Vec<Box<RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut messages = Vec::new();
        while messages.len() <= MOST {
            match list.next_element()? {
                Some(message) => messages.push(message),
                None => return Ok(messages),
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(messages)
    }
}

/// Sends a message.
#[utoipa::path(post, path = "/v1/rooms/{room}/messages", tag = "Messages", params(("room" = shapes::RoomId, Path), ("Idempotency-Key" = inline(Option<shapes::Nonce>), Header, description = "Counts as the nonce where none is given.")), request_body = NewMessage, responses((status = 201, description = "Stored.", body = shapes::Sent), (status = 200, description = "Stored before.", body = shapes::Sent)))]
pub(crate) async fn send_message(
    State(gateway): State<Arc<GatewayState>>,
    caller: Sender,
    InRoom(room): InRoom,
    key: IdempotencyKey,
    request: Request,
) -> Result<Response, ApiError> {
    let limit = usize::try_from(gateway.limits().frame_bytes.as_u64()).unwrap_or(usize::MAX);
    let new: Option<NewMessage> = read_json(&gateway, request, limit, EXAMPLE).await?;
    let new = new.ok_or_else(|| ApiError::BadRequest(format!("send a body like {EXAMPLE}")))?;
    let post = new.into_post(room, key.nonce());
    let post = post.map_err(|Refused(_, why)| ApiError::BadRequest(why))?;
    let receipt = caller.post(&gateway, post).await?;
    Ok(answer(&receipt, StatusCode::CREATED))
}

/// Many messages: each is stored or refused by itself.
#[utoipa::path(post, path = "/v1/messages", tag = "Messages", params(("Idempotency-Key" = inline(Option<shapes::Nonce>), Header, description = "With the place in the batch it counts as the nonce of who has none.")), request_body = Batch, responses((status = 200, description = "What became of each.", body = Results)))]
pub(crate) async fn send_messages(
    State(gateway): State<Arc<GatewayState>>,
    caller: Sender,
    key: IdempotencyKey,
    request: Request,
) -> Result<Response, ApiError> {
    let body = read_reserved_json(&gateway, request, MAX_BATCH_BYTES, BATCH_EXAMPLE).await?;
    let (Some(Batch { messages }), reservation) = body else {
        let missing = format!("send a body like {BATCH_EXAMPLE}");
        return Err(ApiError::BadRequest(missing));
    };
    if messages.len() > MOST {
        let many = format!("'messages' may have {MOST} entries");
        return Err(ApiError::BadRequest(many));
    }
    let (mut posts, refused) = read_batch(messages, &key);
    for post in &mut posts {
        post.address = caller.address();
    }
    let node = Arc::clone(&gateway.node);
    let identity = caller.identity().clone();
    let post_all = async move {
        let receipts = node.post_all(&identity, posts).await;
        // The messages are in memory until they are stored, even if the caller goes away.
        drop(reservation);
        Ok(receipts)
    };
    let receipts = caller.change(post_all).await?.into_iter();
    let mut tried = receipts.map(|receipt| match receipt {
        Ok(receipt) => receipt.frame,
        Err(error) => error.to_wire(None),
    });
    let results = refused.into_iter();
    let results = results.filter_map(|refused| refused.or_else(|| tried.next()));
    Ok(json(encode_results(results)))
}

/// The messages that can be tried, and in the place of the others why they cannot.
fn read_batch(
    messages: Vec<Box<RawValue>>,
    key: &IdempotencyKey,
) -> (Vec<Post>, Vec<Option<Frame>>) {
    let (mut posts, mut refused) = (Vec::new(), Vec::new());
    for (index, message) in messages.into_iter().enumerate() {
        match read_entry(&message, key.nonce_of(index)) {
            Ok(post) => {
                posts.push(post);
                refused.push(None);
            }
            Err(Refused(code, message)) => refused.push(Some(Frame::encode(&ServerFrame::Error {
                id: None,
                code,
                message: &message,
                retry_after_ms: None,
            }))),
        }
    }
    (posts, refused)
}

/// Reads the room by itself, so that what is wrong with the rest is told apart.
fn read_entry(message: &RawValue, nonce: Option<Nonce>) -> Result<Post, Refused> {
    #[derive(Deserialize)]
    struct InRoom<'a> {
        #[serde(borrow)]
        room: &'a RawValue,
    }
    let room = serde_json::from_str::<InRoom<'_>>(message.get());
    let room = room.and_then(|InRoom { room }| serde_json::from_str::<String>(room.get()));
    let room = RoomId::new(&room.unwrap_or_default());
    let room = room.map_err(|e| Refused(ErrorCode::BadRoom, e.to_string()))?;
    let new: NewMessage = serde_json::from_str(message.get()).map_err(|error| {
        let why = format!("a message must be like {EXAMPLE}: {error}");
        Refused(ErrorCode::BadFrame, why)
    })?;
    new.into_post(room, nonce)
}

impl NewMessage {
    /// `nonce` is that of the header, for who gives none.
    fn into_post(self, room: RoomId, nonce: Option<Nonce>) -> Result<Post, Refused> {
        let bad = |why: String| Refused(ErrorCode::BadFrame, why);
        let body = self
            .body
            .ok_or_else(|| bad("'body' is missing".to_owned()))?;
        let from = self.from.map(Author::into_user).transpose().map_err(bad)?;
        Ok(Post {
            room,
            terms: Terms {
                nonce: self.nonce.or(nonce),
                ack: self.ack,
            },
            action: Action::Send { body, from },
            address: None,
        })
    }
}

impl Author {
    fn into_user(self) -> Result<User, String> {
        let name = self.name.map(|name| check_name(&name)).transpose();
        let name = name.map_err(|error| format!("'from': {error}"))?;
        let name = name.as_deref().unwrap_or(self.id.as_str()).into();
        Ok(User { name, id: self.id })
    }
}

/// The `sent` object; a duplicate made nothing.
pub(super) fn answer(receipt: &Receipt, made: StatusCode) -> Response {
    let status = if receipt.duplicate {
        StatusCode::OK
    } else {
        made
    };
    (status, json(receipt.frame.as_bytes().to_vec())).into_response()
}

fn json(body: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

fn encode_results(results: impl Iterator<Item = Frame>) -> Vec<u8> {
    let mut json = b"{\"results\":[".to_vec();
    for (index, result) in results.enumerate() {
        if index > 0 {
            json.push(b',');
        }
        json.extend_from_slice(result.as_bytes());
    }
    json.extend_from_slice(b"]}");
    json
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn entry(message: &Value, nonce: Option<Nonce>) -> Result<Post, Refused> {
        read_entry(&RawValue::from_string(message.to_string()).unwrap(), nonce)
    }

    fn refusal(message: &Value) -> (ErrorCode, String) {
        let Refused(code, why) = entry(message, None).unwrap_err();
        (code, why)
    }

    impl fmt::Debug for Refused {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{}: {}", self.0, self.1)
        }
    }

    #[test]
    fn a_message_is_any_json_with_terms() {
        let message = json!({"room": "r", "body": null, "ack": "archived", "from": {"id": "bob"}});
        let post = entry(&message, Nonce::new("n").ok()).unwrap();
        assert_eq!(post.terms.nonce, Nonce::new("n").ok());
        assert_eq!(post.terms.ack, Some(AckLevel::Archived));
        let Action::Send { body, from } = post.action else {
            panic!("a send")
        };
        assert_eq!(body.as_str(), "null");
        assert_eq!(&*from.unwrap().name, "bob");
        let own = json!({"room": "r", "body": 1, "nonce": "own"});
        let post = entry(&own, Nonce::new("n").ok()).unwrap();
        assert_eq!(post.terms.nonce, Nonce::new("own").ok());
    }

    #[test]
    fn bodies_stay_as_they_were_written() {
        let odd = r#"{"n":12345678901234567890123,"z":-0,"t":"\u00e4"}"#;
        let batch = format!(r#"{{"messages":[{{"room":"r","body":{odd}}}]}}"#);
        let Batch { messages } = serde_json::from_str(&batch).unwrap();
        let Action::Send { body, .. } = read_entry(&messages[0], None).unwrap().action else {
            panic!("a send")
        };
        assert_eq!(body.as_str(), odd);
        let new: NewMessage = serde_json::from_str(&format!(r#"{{"body":{odd}}}"#)).unwrap();
        assert_eq!(new.body.unwrap().as_str(), odd);
        let deep = format!(r#"{{"body":{}{}}}"#, "[".repeat(101), "]".repeat(101));
        assert!(serde_json::from_str::<NewMessage>(&deep).is_err());
    }

    #[test]
    fn a_list_that_is_too_long_is_not_kept() {
        let batch = format!(r#"{{"messages":[{}0]}}"#, "0,".repeat(100_000));
        let Batch { messages } = serde_json::from_str(&batch).unwrap();
        assert_eq!(messages.len(), MOST + 1);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (message, code, word) in [
            (json!({"body": 1}), ErrorCode::BadRoom, "room id"),
            (
                json!({"room": "a b", "body": 1}),
                ErrorCode::BadRoom,
                "room id",
            ),
            (json!({"room": "r"}), ErrorCode::BadFrame, "'body'"),
            (
                json!({"room": "r", "body": 1, "ack": "x"}),
                ErrorCode::BadFrame,
                "archived",
            ),
            (
                json!({"room": "r", "body": 1, "nonce": ""}),
                ErrorCode::BadFrame,
                "nonce",
            ),
            (
                json!({"room": "r", "body": 1, "from": {"id": "b", "name": "\u{0}"}}),
                ErrorCode::BadFrame,
                "'from'",
            ),
            (json!(7), ErrorCode::BadRoom, "room id"),
        ] {
            let (found, why) = refusal(&message);
            assert_eq!(found, code, "{message}");
            assert!(why.contains(word), "{message}: {why}");
        }
    }
}
