//! Encodes the server's messages as Socket.IO packets inside Engine.IO messages.

use std::fmt::Write;

use bytes::Bytes;
use serde_json::{Value, json};

use super::MAIN_NAMESPACE;
use super::engine::Message;

/// Where an answer goes: a namespace, and the number of the event if it wants an ack.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// Which namespace.
    pub namespace: &'a str,
    /// The client's number for its event.
    pub id: Option<u64>,
}

/// `40`: the client is in.
#[must_use]
pub fn connected(namespace: &str, reply: &Value) -> Message {
    packet("0", namespace, None, &reply.to_string())
}

/// `41`: the client is put out; its library does not come back by itself.
#[must_use]
pub fn disconnected(namespace: &str) -> Message {
    packet("1", namespace, None, "")
}

/// `44`: the client is not let in; its library does not try again by itself.
#[must_use]
pub fn refused(namespace: &str, message: &str, data: Option<Value>) -> Message {
    let mut reply = json!({ "message": message });
    if let Some(data) = data {
        reply["data"] = data;
    }
    packet("4", namespace, None, &reply.to_string())
}

/// `42`: an event. `args` are JSON texts, the first one the name.
#[must_use]
pub fn event(namespace: &str, args: &[&str]) -> Message {
    packet("2", namespace, None, &array(args))
}

/// `43`: the one answer to an event. `args` are JSON texts.
#[must_use]
pub fn ack(namespace: &str, id: u64, args: &[&str]) -> Message {
    packet("3", namespace, Some(id), &array(args))
}

/// An event, or an ack where `to` has a number, whose values may hold placeholders for
/// `attachments`.
#[must_use]
pub fn with_attachments(to: Answer<'_>, args: &[Value], attachments: Vec<Bytes>) -> Vec<Message> {
    let is_ack = to.id.is_some();
    let kind = match (is_ack, attachments.len()) {
        (false, 0) => "2".to_owned(),
        (true, 0) => "3".to_owned(),
        (false, count) => format!("5{count}-"),
        (true, count) => format!("6{count}-"),
    };
    let json = serde_json::to_string(args).expect("values always serialize");
    let mut messages = vec![packet(&kind, to.namespace, to.id, &json)];
    messages.extend(attachments.into_iter().map(Message::Binary));
    messages
}

fn array(args: &[&str]) -> String {
    let length: usize = args.iter().map(|arg| arg.len() + 1).sum();
    let mut json = String::with_capacity(length + 1);
    json.push('[');
    for (index, arg) in args.iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        json.push_str(arg);
    }
    json.push(']');
    json
}

fn packet(kind: &str, namespace: &str, id: Option<u64>, json: &str) -> Message {
    let mut text = String::with_capacity(json.len() + namespace.len() + 24);
    text.push('4');
    text.push_str(kind);
    if namespace != MAIN_NAMESPACE {
        text.push_str(namespace);
        text.push(',');
    }
    if let Some(id) = id {
        write!(text, "{id}").expect("writing to a string never fails");
    }
    text.push_str(json);
    Message::text(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_written_as_the_protocol_has_them() {
        for (message, text) in [
            (connected("/", &json!({"sid": "x"})), r#"40{"sid":"x"}"#),
            (connected("/a", &json!({"sid": "x"})), r#"40/a,{"sid":"x"}"#),
            (disconnected("/"), "41"),
            (disconnected("/a"), "41/a,"),
            (refused("/a", "no", None), r#"44/a,{"message":"no"}"#),
            (
                refused("/", "no", Some(json!(1))),
                r#"44{"message":"no","data":1}"#,
            ),
            (event("/", &["\"hi\"", "{}"]), r#"42["hi",{}]"#),
            (ack("/a", 7, &["1"]), "43/a,7[1]"),
            (ack("/", 0, &[]), "430[]"),
        ] {
            assert_eq!(message, Message::text(text.to_owned()));
        }
        let placeholder = json!({"_placeholder": true, "num": 0});
        let to = Answer {
            namespace: "/",
            id: Some(3),
        };
        let messages = with_attachments(to, &[placeholder], vec![Bytes::from_static(b"x")]);
        assert_eq!(
            messages,
            [
                Message::text(r#"461-3[{"_placeholder":true,"num":0}]"#.to_owned()),
                Message::Binary(Bytes::from_static(b"x"))
            ]
        );
    }
}
