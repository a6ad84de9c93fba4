//! From the frames of one session to the packets of one namespace.

use std::borrow::Cow;

use hubbub_protocol::command::RequestId;
use hubbub_protocol::socketio::{Message, encode};
use hubbub_protocol::{CloseCode, ConnectionId, Epoch, Frame, Position, Since};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::place::{new_pid, text_of};
use super::{Namespace, recent, relay};

/// The request id of the join that a connect asks for; clients cannot choose it.
pub(super) const CONNECT: &str = "connect";
/// The request id of what is relayed for who asks for no ack: only a refusal is told.
pub(super) const RELAY: &str = "relay";
/// Frames that hold a position to resume from: those with a place in the room's order, and the one
/// that begins a new order.
const PLACED: [&str; 5] = ["message", "edited", "deleted", "reacted", "reset"];

/// Before the events of a `joined` frame; nothing that a user chose stands before it.
const EVENTS: &str = r#","events":["#;

/// Knows how far the client's connect has come.
#[derive(Debug)]
pub(super) struct Translator {
    /// The client's from before, if it may be proven right.
    pid: Option<String>,
    catches_up: bool,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The connect is not answered yet; the session's `welcome` waits for that.
    Outside(Option<Frame>),
    In,
}

/// The fields of a frame that matter before it is passed on unchanged.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    id: Option<RequestId>,
    #[serde(borrow)]
    room: Option<Cow<'a, str>>,
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
    #[serde(borrow)]
    epoch: Option<Cow<'a, str>>,
    offset: Option<u64>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(borrow)]
    code: Option<Cow<'a, str>>,
}

impl Head<'_> {
    /// Its position, with the id of the event there if it is an event.
    fn position(&self) -> Option<Since> {
        let position = Position {
            epoch: Epoch::new(self.epoch.as_deref()?).ok()?,
            offset: self.offset?,
        };
        let message = self.message.as_deref().unwrap_or_default();
        Some(Since::event(position, message))
    }
}

/// Further fields of `joined`.
#[derive(Deserialize)]
struct Joined<'a> {
    recovered: bool,
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
}

impl Joined<'_> {
    /// The position that the join has `reached`, with the id of the event there if it is on the page.
    fn last_event(&self, reached: Since) -> Since {
        let last = self.events.last();
        let last = last.and_then(|event| serde_json::from_str::<Head<'_>>(event.get()).ok());
        let last = last.and_then(|head| head.position());
        last.filter(|last| last.position == reached.position)
            .unwrap_or(reached)
    }
}

impl Translator {
    pub(super) fn new(pid: Option<String>, catches_up: bool) -> Self {
        Self {
            pid,
            catches_up,
            stage: Stage::Outside(None),
        }
    }

    /// Whether the client's connect has been answered.
    pub(super) fn is_in(&self) -> bool {
        matches!(self.stage, Stage::In)
    }

    /// Appends what the client gets of a frame.
    ///
    /// # Errors
    /// The room could not be joined just now: the client shall try again.
    pub(super) fn translate(
        &mut self,
        events: &[String],
        namespace: &Namespace,
        frame: &Frame,
        batch: &mut Vec<Message>,
    ) -> Result<(), CloseCode> {
        let say = Say {
            events,
            namespace,
            catches_up: self.catches_up,
        };
        if let Some(message) = recent::find(frame, &say) {
            batch.push(message);
            return Ok(());
        }
        let text = frame.as_str();
        let Ok(head) = serde_json::from_str::<Head<'_>>(text) else {
            tracing::error!("a frame of our own cannot be read");
            return Err(CloseCode::Internal);
        };
        if head.kind == "welcome" {
            self.stage = Stage::Outside(Some(frame.clone()));
            return Ok(());
        }
        match &head.id {
            Some(RequestId::Text(id)) if id == CONNECT => {
                return self.answer_connect(&say, &head, text, batch);
            }
            Some(RequestId::Text(id)) if id == RELAY && head.kind == "sent" => {}
            Some(id @ RequestId::Text(name)) if name == RELAY => {
                let own = without_id(text, id);
                batch.push(encode::event(&namespace.name, &[&string(&head.kind), &own]));
            }
            Some(id @ RequestId::Number(number)) => {
                let number = number.parse().unwrap_or_default();
                let reply = without_id(text, id);
                batch.push(encode::ack(&namespace.name, number, &[&reply]));
            }
            Some(RequestId::Text(_)) | None => {
                let message = say.event(&head, text);
                recent::keep(frame, &say, &message);
                batch.push(message);
            }
        }
        Ok(())
    }

    /// The first join went well, or did not.
    fn answer_connect(
        &mut self,
        say: &Say<'_>,
        head: &Head<'_>,
        text: &str,
        batch: &mut Vec<Message>,
    ) -> Result<(), CloseCode> {
        let name = &say.namespace.name;
        let welcome = match std::mem::replace(&mut self.stage, Stage::In) {
            Stage::Outside(welcome) => welcome,
            Stage::In => None,
        };
        let mut reply = json!({ "sid": ConnectionId::generate() });
        let joined = serde_json::from_str::<Joined<'_>>(text).ok();
        let recovered = joined.as_ref().is_some_and(|joined| joined.recovered);
        match (&joined, head.position()) {
            (Some(joined), Some(reached)) if self.catches_up => {
                let known = self.pid.take().filter(|_| recovered);
                let pid = known.unwrap_or_else(|| new_pid(&joined.last_event(reached)));
                reply["pid"] = pid.into();
            }
            (Some(_), _) => {}
            // A client that may not read the room is in nevertheless: there are other rooms.
            (None, _) if head.code.as_deref() == Some("forbidden") => {}
            (None, _) => return Err(CloseCode::TryLater),
        }
        batch.push(encode::connected(name, &reply));
        if let Some(welcome) = welcome {
            batch.push(encode::event(name, &[&string("welcome"), welcome.as_str()]));
        }
        let mut own = match &head.id {
            Some(id) => without_id(text, id),
            None => text.to_owned(),
        };
        if recovered && let Some(events) = own.find(EVENTS) {
            // They follow as what they are.
            own.truncate(events + EVENTS.len());
            own.push_str("]}");
        }
        batch.push(encode::event(name, &[&string(&head.kind), &own]));
        for event in joined
            .iter()
            .filter(|_| recovered)
            .flat_map(|joined| &joined.events)
        {
            if let Ok(head) = serde_json::from_str::<Head<'_>>(event.get()) {
                batch.push(say.event(&head, event.get()));
            }
        }
        Ok(())
    }
}

/// How frames are said in one namespace.
pub(super) struct Say<'a> {
    pub(super) events: &'a [String],
    pub(super) namespace: &'a Namespace,
    pub(super) catches_up: bool,
}

impl Say<'_> {
    /// Events of the default room end with their position, which the client's library brings back.
    fn event(&self, head: &Head<'_>, text: &str) -> Message {
        let is_default = head.room.as_deref() == Some(self.namespace.room.as_str());
        let is_placed = is_default && PLACED.contains(&&*head.kind);
        let relayed = head
            .body
            .filter(|_| is_default && head.kind == "message")
            .and_then(|body| relay::event(self.events, body.get()));
        let (name, argument) = relayed.unwrap_or((&head.kind, text));
        let name = string(name);
        if is_placed
            && self.catches_up
            && let Some(position) = head.position()
        {
            let position = string(&text_of(&position));
            return encode::event(&self.namespace.name, &[&name, argument, &position]);
        }
        encode::event(&self.namespace.name, &[&name, argument])
    }
}

/// A reply without its id: the ack's number says which request is answered. The id stands right after
/// the type, so nothing that a user wrote stands before it; the rest stays byte for byte.
fn without_id(text: &str, id: &RequestId) -> String {
    let id = serde_json::to_string(id).expect("a number or a text always serializes");
    text.replacen(&format!(r#","id":{id}"#), "", 1)
}

/// Text as JSON.
pub(super) fn string(text: &str) -> String {
    serde_json::to_string(text).expect("a text always serializes")
}

#[cfg(test)]
mod tests {
    use hubbub_protocol::RoomId;
    use serde_json::Value;

    use super::*;

    /// The packets for these frames, as texts.
    fn heard(translator: &mut Translator, frames: &[Value]) -> Vec<String> {
        let namespace = Namespace {
            name: "/".to_owned(),
            room: RoomId::new("lobby").unwrap(),
        };
        let events = ["chat message".to_owned()];
        let mut batch = Vec::new();
        for frame in frames {
            let frame = Frame::from_text(frame.to_string());
            let done = translator.translate(&events, &namespace, &frame, &mut batch);
            done.unwrap();
        }
        let text = |message: &Message| match message {
            Message::Text(frame) => frame.as_str().to_owned(),
            Message::Binary(_) => panic!("binary"),
        };
        batch.iter().map(text).collect()
    }

    fn message(room: &str, body: Value) -> Value {
        json!({"type": "message", "room": room, "message": "M9", "body": body, "epoch": "e", "offset": 9})
    }

    fn joined(recovered: bool) -> Value {
        let events = [message("lobby", json!({"text": "missed"}))];
        json!({"type": "joined", "id": CONNECT, "room": "lobby", "epoch": "e", "offset": 9, "recovered": recovered, "events": events})
    }

    #[test]
    fn a_connect_is_answered_when_the_room_is_joined() {
        let mut translator = Translator::new(None, true);
        let welcome = json!({"type": "welcome", "node": "n"});
        assert_eq!(heard(&mut translator, &[welcome]), Vec::<String>::new());
        assert!(!translator.is_in());
        let first = heard(&mut translator, &[joined(false)]);
        assert!(translator.is_in());
        assert!(
            first[0].starts_with("40{\"sid\":") && first[0].contains("/9/e/M9\""),
            "{first:?}"
        );
        assert_eq!(first[1], r#"42["welcome",{"type":"welcome","node":"n"}]"#);
        assert!(first[2].starts_with(r#"42["joined",{"type":"joined","room""#));
        assert_eq!(first.len(), 3, "what is not proven is not replayed");
    }

    #[test]
    fn who_comes_back_keeps_its_pid_and_gets_what_it_missed() {
        let mut translator = Translator::new(Some("p/5/e".to_owned()), true);
        let first = heard(&mut translator, &[joined(true)]);
        assert!(first[0].ends_with(r#","pid":"p/5/e"}"#), "{first:?}");
        assert_eq!(first[2], r#"42["chat message","missed","9/e/M9"]"#);
        let mut lost = Translator::new(Some("p/5/e".to_owned()), true);
        assert!(!heard(&mut lost, &[joined(false)])[0].contains("p/5/e"));
    }

    #[test]
    fn bodies_stay_as_they_were_written() {
        let odd = r#"{"n":12345678901234567890123,"z":-0,"t":"\u00e4"}"#;
        let event = format!(
            r#"{{"type":"message","room":"lobby","message":"M9","body":{odd},"epoch":"e","offset":9}}"#
        );
        let history = format!(
            r#"{{"type":"history","id":7,"room":"lobby","more":false,"events":[{event}]}}"#
        );
        let joined = format!(
            r#"{{"type":"joined","id":"connect","room":"lobby","epoch":"e","offset":9,"recovered":false,"events":[{event}]}}"#
        );
        let namespace = Namespace {
            name: "/".to_owned(),
            room: RoomId::new("lobby").unwrap(),
        };
        let mut translator = Translator::new(None, true);
        for (text, start) in [
            (joined, "40{"),
            (history, r#"437[{"type":"history","room":"lobby""#),
            (event, r#"42["message",{"type":"message""#),
        ] {
            let mut batch = Vec::new();
            let frame = Frame::from_text(text);
            let done = translator.translate(&[], &namespace, &frame, &mut batch);
            done.unwrap();
            let text = |message: &Message| match message {
                Message::Text(frame) => frame.as_str().to_owned(),
                Message::Binary(_) => panic!("binary"),
            };
            let heard: Vec<String> = batch.iter().map(text).collect();
            assert!(heard[0].starts_with(start), "{heard:?}");
            assert!(heard.last().unwrap().contains(odd), "{heard:?}");
        }
    }

    #[test]
    fn who_may_not_read_the_room_is_in_and_who_came_at_a_bad_time_is_not() {
        let error =
            |code: &str| json!({"type": "error", "id": CONNECT, "code": code, "message": "m"});
        let mut translator = Translator::new(None, true);
        let first = heard(&mut translator, &[error("forbidden")]);
        assert!(first[0].starts_with("40{") && !first[0].contains("pid"));
        let mut later = Translator::new(None, true);
        let namespace = Namespace {
            name: "/".to_owned(),
            room: RoomId::new("lobby").unwrap(),
        };
        let frame = Frame::from_text(error("unavailable").to_string());
        let done = later.translate(&[], &namespace, &frame, &mut Vec::new());
        assert_eq!(done, Err(CloseCode::TryLater));
    }

    #[test]
    fn frames_are_events_and_replies_are_acks() {
        let mut translator = Translator::new(None, true);
        let sent = json!({"type": "sent", "id": 7, "offset": 9});
        let typing = json!({"type": "typing", "room": "lobby"});
        let relayed = json!({"type": "sent", "id": RELAY, "offset": 9});
        let refused = json!({"type": "error", "id": RELAY, "code": "c"});
        let texts = heard(
            &mut translator,
            &[
                message("lobby", json!({"text": "hi"})),
                message("lobby", json!({"event": "chat message", "data": [1]})),
                message("lobby", json!({"other": 1})),
                message("else", json!({"text": "hi"})),
                sent,
                typing,
                relayed,
                refused,
            ],
        );
        assert_eq!(texts[0], r#"42["chat message","hi","9/e/M9"]"#);
        assert_eq!(texts[1], r#"42["chat message",[1],"9/e/M9"]"#);
        assert!(
            texts[2].starts_with(r#"42["message",{"type""#) && texts[2].ends_with(r#","9/e/M9"]"#)
        );
        assert!(texts[3].starts_with(r#"42["message",{"type""#) && texts[3].ends_with("}]"));
        assert_eq!(texts[4], r#"437[{"type":"sent","offset":9}]"#);
        assert_eq!(texts[5], r#"42["typing",{"type":"typing","room":"lobby"}]"#);
        assert_eq!(texts[6], r#"42["error",{"type":"error","code":"c"}]"#);
        assert_eq!(texts.len(), 7, "nobody asked for that ack");
        let change = |kind: &str| json!({"type": kind, "room": "lobby", "message": "M9", "target": 1, "epoch": "e", "offset": 9});
        for kind in ["edited", "deleted", "reacted"] {
            let texts = heard(&mut translator, &[change(kind)]);
            assert!(texts[0].ends_with(r#"},"9/e/M9"]"#), "{texts:?}");
        }
        let reset = json!({"type": "reset", "room": "lobby", "epoch": "f", "offset": 12});
        let texts = heard(&mut translator, &[reset]);
        assert!(texts[0].ends_with(r#"},"12/f/"]"#), "{texts:?}");
        let mut plain = Translator::new(None, false);
        assert_eq!(
            heard(&mut plain, &[message("lobby", json!({"text": "hi"}))]),
            [r#"42["chat message","hi"]"#]
        );
    }
}
