//! Events that are passed on under their own name, and the bodies that carry them.

use std::borrow::Cow;

use hubbub_protocol::Body;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::translator::string;

/// The body of an event's first argument, which stays as it was written. Plain text under the first
/// relay event is what every other transport calls a message's text.
///
/// # Errors
/// Why the argument can be no body.
pub(super) fn body(
    events: &[String],
    name: &str,
    data: Option<&RawValue>,
) -> Result<Body, serde_json::Error> {
    let data = data.map_or("null", RawValue::get);
    let is_first = events.first().is_some_and(|first| first == name);
    let json = if is_first && data.starts_with('"') {
        format!(r#"{{"text":{data}}}"#)
    } else {
        format!(r#"{{"event":{},"data":{data}}}"#, string(name))
    };
    Body::new(&RawValue::from_string(json)?)
}

/// The fields of a body that make it a relayed event.
#[derive(Deserialize)]
struct Relayed<'a> {
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
    let body: Relayed<'a> = serde_json::from_str(body).ok()?;
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
            ("chat message", r#""h\u0069""#, r#"{"text":"h\u0069"}"#),
            (
                "chat message",
                r#"{"a":12345678901234567890123}"#,
                r#"{"event":"chat message","data":{"a":12345678901234567890123}}"#,
            ),
            ("draw", r#""x""#, r#"{"event":"draw","data":"x"}"#),
            ("draw", "-0", r#"{"event":"draw","data":-0}"#),
            ("draw", "null", r#"{"event":"draw","data":null}"#),
        ] {
            let argument: &RawValue = serde_json::from_str(data).unwrap();
            let body = body(&events, name, Some(argument)).unwrap();
            assert_eq!(body.as_str(), body_text);
            assert_eq!(event(&events, body.as_str()), Some((name, data)));
        }
        let nothing = body(&events, "draw", None).unwrap();
        assert_eq!(nothing.as_str(), r#"{"event":"draw","data":null}"#);
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
