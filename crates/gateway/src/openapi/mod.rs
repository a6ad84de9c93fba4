//! `GET /v1/openapi.json`: the resources as programs read them. Each handler describes itself; what
//! all have in common is added here.

pub(crate) mod shapes;

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::response::{IntoResponse, Response};
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Required, ResponseBuilder, Schema};
use utoipa::{Modify, OpenApi};

use crate::{conditional, rest, sse};

/// The document and its tag, made once: they are the same for everybody.
static DOCUMENT: LazyLock<(Bytes, HeaderValue)> = LazyLock::new(|| {
    let document = Document::openapi();
    let json = serde_json::to_vec(&document).expect("plain structs always serialize");
    let tag = conditional::tag(&json);
    (json.into(), tag)
});

const ABOUT: &str = "\
Plain requests to the rooms of a Hubbub cluster; any node answers for all of them. \
A token goes into `Authorization: Bearer TOKEN`; `POST /v1/guests` gives one to anyone where guests \
may come. Live events come over the WebSocket `/v1/ws`, over Socket.IO, or as an event stream.

Refusals are `application/problem+json` with a stable `code`; 429 and 503 say in `Retry-After` when to \
come again. What was answered with `unknown`, or not at all, may be sent again with the same `nonce`: \
it is stored once. Unknown fields are passed over.";

#[derive(OpenApi)]
#[openapi(
    info(title = "Hubbub", description = ABOUT),
    paths(
        rest::guests::create_guest,
        rest::tickets::create_ticket,
        rest::session::create_session,
        rest::session::delete_session,
        rest::me::get_me,
        rest::rooms::list_rooms,
        rest::rooms::create_room,
        rest::rooms::get_room,
        rest::rooms::change_room,
        rest::members::list_members,
        rest::members::invite_member,
        rest::members::remove_member,
        rest::signals::mark_read,
        rest::signals::mark_typing,
        rest::messages::get_messages,
        rest::sends::send_message,
        rest::sends::send_messages,
        rest::changes::edit_message,
        rest::changes::delete_message,
        rest::changes::add_reaction,
        rest::changes::remove_reaction,
        rest::search::search_messages,
        sse::open_events,
    ),
    components(schemas(shapes::Problem)),
    modifiers(&Common),
    security(("token" = [])),
)]
struct Document;

/// The document itself; it needs no token.
pub(crate) async fn get_openapi() -> Response {
    let (document, tag) = &*DOCUMENT;
    let kind = HeaderValue::from_static("application/json");
    let headers = [(CONTENT_TYPE, kind), (ETAG, tag.clone())];
    (headers, document.clone()).into_response()
}

/// The parts that all operations have: the token, and their refusals.
struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
        let problem = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("Problem")))
            .build();
        let refused = ResponseBuilder::new()
            .description("Refused: `code` and `detail` say why.")
            .content("application/problem+json", problem)
            .build();
        components
            .responses
            .insert("Refused".to_owned(), refused.into());
        for item in document.paths.paths.values_mut() {
            if let Some(read) = &mut item.get {
                may_be_known(read);
            }
            let methods = [
                &mut item.get,
                &mut item.put,
                &mut item.post,
                &mut item.delete,
                &mut item.patch,
            ];
            for operation in methods.into_iter().flatten() {
                may_refuse(operation);
                may_have_no_body(operation);
            }
        }
    }
}

/// Answers with JSON have a tag: see `conditional`.
fn may_be_known(operation: &mut Operation) {
    let answers = &mut operation.responses.responses;
    if let Some(RefOr::T(read)) = answers.get("200")
        && read.content.contains_key("application/json")
    {
        let known =
            ResponseBuilder::new().description("Nothing has changed since `If-None-Match`.");
        answers.insert("304".to_owned(), known.build().into());
    }
}

fn may_refuse(operation: &mut Operation) {
    for range in ["4XX", "5XX"] {
        let refused = Ref::from_response_name("Refused");
        let responses = &mut operation.responses.responses;
        responses.insert(range.to_owned(), refused.into());
    }
}

/// A body that is optional may be missing; that does not make it `null`.
fn may_have_no_body(operation: &mut Operation) {
    let Some(RefOr::T(body)) = operation.request_body.as_mut() else {
        return;
    };
    for content in body.content.values_mut() {
        if let RefOr::T(content) = content
            && let Some(RefOr::T(Schema::OneOf(choice))) = &content.schema
            && let Some(object) = choice.items.iter().find(|it| matches!(it, RefOr::Ref(_)))
        {
            content.schema = Some(object.clone());
            body.required = Some(Required::False);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_reference_leads_somewhere_and_every_operation_can_refuse() {
        let document: Value = serde_json::from_slice(&DOCUMENT.0).unwrap();
        let mut references = Vec::new();
        collect(&document, &mut references);
        assert!(references.len() > 50);
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let responses = &operation["responses"];
                assert!(responses.get("4XX").is_some(), "{method} {path}");
                assert!(operation["summary"].is_string(), "{method} {path}");
            }
        }
    }

    fn collect(value: &Value, references: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    references.push(reference.clone());
                }
                fields.values().for_each(|value| collect(value, references));
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}
