//! Events that are passed on under their own name, and the bodies that carry them.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// The body of an event's first argument. Plain text under the first relay event is what every
/// other door calls a message's text.
pub(super) fn body(events: &[String], name: &str, data: Value) -> Value {
    match data {
        Value::String(text) if events.first().is_some_and(|first| first == name) => {
            json!({ "text": text })
        }
        data => json!({ "event": name, "data": data }),
    }
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    event: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// The event's name and its first argument in JSON, if this body is a relayed event.
pub(super) fn event<'a>(events: &'a [String], body: &'a str) -> Option<(&'a str, &'a str)> {
    // Most bodies of other clients are told apart without being read.
    if !body.starts_with('{') {
        return None;
    }
    let body: Body<'a> = serde_json::from_str(body).ok()?;
    if let Some(name) = body.event {
        let name = events.iter().find(|event| **event == name)?;
        return Some((name, body.data.map_or("null", RawValue::get)));
    }
    let text = body.text?.get();
    text.starts_with('"').then_some((events.first()?, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_arrives_as_it_was() {
        let events = ["chat message".to_owned(), "draw".to_owned()];
        for (name, data, body_text) in [
            ("chat message", json!("hi"), r#"{"text":"hi"}"#),
            (
                "chat message",
                json!({"a": 1}),
                r#"{"event":"chat message","data":{"a":1}}"#,
            ),
            ("draw", json!("x"), r#"{"event":"draw","data":"x"}"#),
            ("draw", Value::Null, r#"{"event":"draw","data":null}"#),
        ] {
            let text = body(&events, name, data.clone()).to_string();
            assert_eq!(text, body_text);
            let (back, argument) = event(&events, &text).unwrap();
            assert_eq!((back, argument), (name, data.to_string().as_str()));
        }
    }

    #[test]
    fn other_bodies_are_no_events() {
        let events = ["chat message".to_owned()];
        for body in [
            "1",
            "[]",
            "{}",
            r#"{"text":7}"#,
            r#"{"event":"other","data":1}"#,
            r#"{"event":7}"#,
        ] {
            assert_eq!(event(&events, body), None, "{body}");
        }
        assert_eq!(event(&[], r#"{"text":"hi"}"#), None);
        let more = r#"{"text":"hi","color":"red"}"#;
        assert_eq!(event(&events, more), Some(("chat message", "\"hi\"")));
    }
}
