//! From the frames of one session to the packets of one namespace.

use std::borrow::Cow;

use hubbub_protocol::command::RequestId;
use hubbub_protocol::socketio::{Message, encode};
use hubbub_protocol::{CloseCode, ConnectionId, Frame};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::place::{new_pid, offset};
use super::{Chat, Namespace, relay};

/// The request id of the join that a connect asks for; clients cannot choose it.
pub(super) const CONNECT: &str = "connect";
/// Frames that have a place in the room's order.
const DURABLE: [&str; 4] = ["message", "edited", "deleted", "reacted"];

/// Knows how far the client's connect has come.
#[derive(Debug)]
pub(super) struct Translator {
    namespace: usize,
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

/// What there is to know of a frame before it is passed on as it is.
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

/// What else there is to know of `joined`.
#[derive(Deserialize)]
struct Joined<'a> {
    recovered: bool,
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
}

impl Translator {
    pub(super) fn new(
        chat: &Chat,
        namespace: usize,
        pid: Option<String>,
        catches_up: bool,
    ) -> Self {
        debug_assert!(namespace < chat.namespaces.len());
        Self {
            namespace,
            pid,
            catches_up,
            stage: Stage::Outside(None),
        }
    }

    /// Whether the client's connect has been answered.
    pub(super) fn is_in(&self) -> bool {
        matches!(self.stage, Stage::In)
    }

    /// Appends what the client hears of a frame.
    ///
    /// # Errors
    /// The room could not be joined just now: the client shall try again.
    pub(super) fn translate(
        &mut self,
        chat: &Chat,
        frame: &Frame,
        batch: &mut Vec<Message>,
    ) -> Result<(), CloseCode> {
        let namespace = &chat.namespaces[self.namespace];
        let text = frame.as_str();
        let Ok(head) = serde_json::from_str::<Head<'_>>(text) else {
            tracing::error!("a frame of our own cannot be read");
            return Err(CloseCode::Internal);
        };
        if head.kind == "welcome" {
            self.stage = Stage::Outside(Some(frame.clone()));
            return Ok(());
        }
        let say = Say {
            events: &chat.relay_events,
            namespace,
            catches_up: self.catches_up,
        };
        match &head.id {
            Some(RequestId::Text(id)) if id == CONNECT => {
                return self.answer_connect(&say, &head, text, batch);
            }
            Some(RequestId::Number(id)) => {
                let id = id.as_u64().unwrap_or_default();
                let reply = without_id(text);
                batch.push(encode::ack(&namespace.name, id, &[&reply]));
            }
            Some(RequestId::Text(_)) | None => batch.push(say.event(&head, text)),
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
        match (&joined, &head.epoch, head.offset) {
            (Some(_), Some(epoch), Some(offset)) if self.catches_up => {
                let known = self.pid.take().filter(|_| recovered);
                let pid = known.unwrap_or_else(|| new_pid(epoch, offset));
                reply["pid"] = pid.into();
            }
            (Some(_), _, _) => {}
            // Who may not read the room is in nevertheless: there are other rooms.
            (None, _, _) if head.code.as_deref() == Some("forbidden") => {}
            (None, _, _) => return Err(CloseCode::TryLater),
        }
        batch.push(encode::connected(name, &reply));
        if let Some(welcome) = welcome {
            batch.push(encode::event(name, &[&string("welcome"), welcome.as_str()]));
        }
        let mut own = fields(text);
        own.remove("id");
        if recovered {
            // They follow as what they are.
            own.insert("events".to_owned(), json!([]));
        }
        let own = Value::Object(own).to_string();
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
struct Say<'a> {
    events: &'a [String],
    namespace: &'a Namespace,
    catches_up: bool,
}

impl Say<'_> {
    /// Events of the default room end with their place, which the client's library brings back.
    fn event(&self, head: &Head<'_>, text: &str) -> Message {
        let is_default = head.room.as_deref() == Some(self.namespace.room.as_str());
        let is_durable = is_default && DURABLE.contains(&&*head.kind);
        let relayed = head
            .body
            .filter(|_| is_default && head.kind == "message")
            .and_then(|body| relay::event(self.events, body.get()));
        let (name, argument) = relayed.unwrap_or((&head.kind, text));
        let name = string(name);
        let place = match (&head.epoch, head.offset) {
            (Some(epoch), Some(at)) if is_durable && self.catches_up => {
                let id = match &*head.kind {
                    "message" => head.message.as_deref().unwrap_or_default(),
                    _ => "",
                };
                Some(string(&offset(epoch, at, id)))
            }
            _ => None,
        };
        match &place {
            Some(place) => encode::event(&self.namespace.name, &[&name, argument, place]),
            None => encode::event(&self.namespace.name, &[&name, argument]),
        }
    }
}

/// The ack's number says which request is answered.
fn without_id(text: &str) -> String {
    let mut reply = fields(text);
    reply.remove("id");
    Value::Object(reply).to_string()
}

fn fields(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap_or_default()
}

/// Text as JSON.
pub(super) fn string(text: &str) -> String {
    Value::from(text).to_string()
}
