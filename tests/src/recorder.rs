//! Clients that write down what they hear: every durable frame, byte for byte, in order.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hubbub_client::{Client, ClientConfig, ClientEvent, Start};
use hubbub_protocol::RoomId;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::oracle;
use crate::raw::{self, Raw};

/// How often something out of the ordinary has happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// Connections lost, each with its reason.
    pub disconnects: Vec<String>,
    /// Gaps that the client has seen: there must be none.
    pub gaps: u64,
    /// `reset` frames.
    pub resets: u64,
    /// `lagged` frames.
    pub lagged: u64,
    /// Joins with `recovered: false`.
    pub unrecovered: u64,
}

#[derive(Debug, Default)]
struct Book {
    frames: Vec<String>,
    top: u64,
    notes: Notes,
}

#[derive(Debug, Default)]
struct Log {
    book: Mutex<Book>,
    changed: Notify,
}

impl Log {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("nothing panics while it is held")
    }

    fn write(&self, offset: u64, frame: String) {
        let mut book = self.book();
        book.frames.push(frame);
        book.top = book.top.max(offset);
        drop(book);
        self.changed.notify_waiters();
    }

    fn note(&self, change: impl FnOnce(&mut Notes)) {
        change(&mut self.book().notes);
        self.changed.notify_waiters();
    }
}

/// A member of one room that writes down what it hears.
#[derive(Debug)]
pub struct Recorder {
    name: String,
    log: Arc<Log>,
    client: Option<Client>,
    _task: AbortOnDropHandle<()>,
}

impl Recorder {
    /// A bare connection: its log is what the node sent, with nothing put right by a client.
    pub async fn raw(name: &str, address: SocketAddr, room: &str) -> Self {
        let mut raw = Raw::connect(address).await;
        raw.join(room).await;
        let log = Arc::new(Log::default());
        let task = tokio::spawn(record_raw(raw, Arc::clone(&log)));
        Self {
            name: name.to_owned(),
            log,
            client: None,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// A client that reconnects and resumes.
    ///
    /// # Panics
    /// When the room cannot be joined.
    pub async fn resuming(name: &str, config: ClientConfig, room: &str) -> Self {
        let (client, events) = Client::start(config).expect("good settings");
        let log = Arc::new(Log::default());
        let task = tokio::spawn(record_client(events, Arc::clone(&log)));
        let room = RoomId::new(room).expect("a good room id");
        if let Err(error) = client.join(&room, Start::Now).await {
            panic!("{name} cannot join: {error}");
        }
        Self {
            name: name.to_owned(),
            log,
            client: Some(client),
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// The client, to send with.
    ///
    /// # Panics
    /// When this is a bare connection.
    #[must_use]
    pub fn client(&self) -> &Client {
        self.client.as_ref().expect("a resuming recorder")
    }

    /// Everything heard so far.
    #[must_use]
    pub fn heard(&self) -> oracle::Heard {
        oracle::Heard {
            client: self.name.clone(),
            frames: self.log.book().frames.clone(),
        }
    }

    /// How many events were heard so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.log.book().frames.len()
    }

    /// The highest offset heard so far.
    #[must_use]
    pub fn top(&self) -> u64 {
        self.log.book().top
    }

    /// What else has happened so far.
    #[must_use]
    pub fn notes(&self) -> Notes {
        self.log.book().notes.clone()
    }

    /// Waits until so many events were heard; how long that took.
    pub async fn wait_count(&self, count: usize, deadline: Duration) -> Duration {
        self.wait(&format!("{count} events"), deadline, |book| {
            book.frames.len() >= count
        })
        .await
    }

    /// Waits until this offset, or a higher one, was heard; how long that took.
    pub async fn wait_offset(&self, offset: u64, deadline: Duration) -> Duration {
        self.wait(&format!("offset {offset}"), deadline, |book| {
            book.top >= offset
        })
        .await
    }

    /// Waits for something in the notes; how long that took.
    pub async fn wait_notes(
        &self,
        what: &str,
        deadline: Duration,
        check: impl Fn(&Notes) -> bool,
    ) -> Duration {
        self.wait(what, deadline, |book| check(&book.notes)).await
    }

    async fn wait(
        &self,
        what: &str,
        deadline: Duration,
        check: impl Fn(&Book) -> bool,
    ) -> Duration {
        let start = Instant::now();
        let look = async {
            loop {
                let changed = self.log.changed.notified();
                tokio::pin!(changed);
                // Registered before the look, so that no change slips in between.
                changed.as_mut().enable();
                if check(&self.log.book()) {
                    return;
                }
                changed.await;
            }
        };
        if timeout(deadline, look).await.is_err() {
            let Book { frames, top, notes } = &*self.log.book();
            let (name, count) = (&self.name, frames.len());
            panic!(
                "{name}: not within {deadline:?}: {what}; has {count} events up to {top}, {notes:?}"
            );
        }
        start.elapsed()
    }
}

async fn record_client(mut events: mpsc::Receiver<ClientEvent>, log: Arc<Log>) {
    while let Some(event) = events.recv().await {
        match event {
            ClientEvent::Event(event) => log.write(event.offset, event.raw),
            ClientEvent::Disconnected { code, reason, .. } => {
                log.note(|notes| notes.disconnects.push(format!("{code:?} {reason}")));
            }
            ClientEvent::Closed { code, reason } => {
                log.note(|notes| notes.disconnects.push(format!("final: {code:?} {reason}")));
            }
            ClientEvent::Gap { .. } => log.note(|notes| notes.gaps += 1),
            ClientEvent::Reset { .. } => log.note(|notes| notes.resets += 1),
            ClientEvent::Lagged { .. } => log.note(|notes| notes.lagged += 1),
            ClientEvent::Joined(joined) if !joined.recovered => {
                log.note(|notes| notes.unrecovered += 1);
            }
            ClientEvent::RoomLost { error, .. } => {
                log.note(|notes| notes.disconnects.push(format!("room lost: {error}")));
            }
            ClientEvent::Joined(_)
            | ClientEvent::Connected { .. }
            | ClientEvent::Presence { .. }
            | ClientEvent::Typing { .. }
            | ClientEvent::Refused(_) => {}
        }
    }
}

async fn record_raw(mut raw: Raw, log: Arc<Log>) {
    loop {
        match raw.hear_patiently().await {
            raw::Heard::Text(text) => record_frame(&log, text),
            raw::Heard::End(close) => {
                log.note(|notes| notes.disconnects.push(format!("{close:?}")));
                return;
            }
        }
    }
}

fn record_frame(log: &Log, text: String) {
    let frame: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    match frame["type"].as_str() {
        Some("message" | "edited" | "deleted" | "reacted") => {
            log.write(frame["offset"].as_u64().unwrap_or(0), text);
        }
        Some("reset") => log.note(|notes| notes.resets += 1),
        Some("lagged") => log.note(|notes| notes.lagged += 1),
        _ => {}
    }
}

/// The durable events of a `joined` or `history` reply, byte for byte.
///
/// # Panics
/// When the reply has no events.
#[must_use]
pub fn events_of(reply: &str) -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct Page<'a> {
        #[serde(borrow)]
        events: Vec<&'a RawValue>,
    }
    let page: Page<'_> = serde_json::from_str(reply).expect("a reply with events");
    page.events
        .iter()
        .map(|event| event.get().to_owned())
        .collect()
}

/// A text body, as most tests send it.
#[must_use]
pub fn text_body(text: &str) -> Value {
    json!({ "text": text })
}
