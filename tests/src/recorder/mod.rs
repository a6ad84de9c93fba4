//! Clients that record what they receive: every durable frame, byte for byte, in order.

mod hearing;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use hubbub_client::{Client, ClientConfig, Start};
use hubbub_protocol::RoomId;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use self::hearing::{record_client, record_raw};
use crate::ledger::{Ledger, Page};
use crate::oracle;
use crate::raw::Raw;

/// Counts of unusual events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// Lost connections, each with its reason.
    pub disconnects: Vec<String>,
    /// Gaps that the client has noticed. There must be none.
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
    /// Empty if a ledger has the frames.
    frames: Vec<String>,
    count: usize,
    top: u64,
    notes: Notes,
    /// When the room was joined, by the test or again by the client.
    joins: Vec<Instant>,
    /// The longest time from the storing of an event to its receipt, by the machine's clock.
    slowest: Duration,
}

#[derive(Debug)]
struct Log {
    book: Mutex<Book>,
    changed: Notify,
    page: Option<Page>,
}

impl Log {
    fn new(page: Option<Page>) -> Arc<Self> {
        Arc::new(Self {
            book: Mutex::default(),
            changed: Notify::new(),
            page,
        })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("no thread panicked with the lock")
    }

    /// Records a durable event. `ts` is when it was stored, in milliseconds since 1970.
    fn write(&self, offset: u64, ts: u64, frame: String) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let took = now
            .unwrap_or_default()
            .saturating_sub(Duration::from_millis(ts));
        let mut book = self.book();
        book.count += 1;
        book.top = book.top.max(offset);
        book.slowest = book.slowest.max(took);
        if self.page.is_none() {
            book.frames.push(frame);
        }
        drop(book);
        self.changed.notify_waiters();
    }

    fn note(&self, change: impl FnOnce(&mut Notes)) {
        change(&mut self.book().notes);
        self.changed.notify_waiters();
    }

    fn joined(&self) {
        self.book().joins.push(Instant::now());
        self.changed.notify_waiters();
    }

    /// Writes to the ledger, if there is one.
    fn page(&self, write: impl FnOnce(&Page)) {
        if let Some(page) = &self.page {
            write(page);
        }
    }
}

/// A member of one room that records what it receives.
#[derive(Debug)]
pub struct Recorder {
    name: String,
    log: Arc<Log>,
    client: Option<Client>,
    _task: AbortOnDropHandle<()>,
}

impl Recorder {
    /// Records a bare connection. The log contains what the node sent; no client corrects it.
    pub async fn raw(name: &str, address: SocketAddr, room: &str) -> Self {
        Self::start_raw(name, address, room, None).await
    }

    /// The same with its log in the ledger.
    pub async fn raw_into(ledger: &Ledger, name: &str, address: SocketAddr, room: &str) -> Self {
        Self::start_raw(name, address, room, Some(ledger.client(name))).await
    }

    async fn start_raw(name: &str, address: SocketAddr, room: &str, page: Option<Page>) -> Self {
        let mut raw = Raw::connect_patiently(address).await;
        let joined = raw.join(room).await;
        let log = Log::new(page);
        log.page(|page| page.line(&joined.to_string()));
        log.joined();
        let task = tokio::spawn(record_raw(raw, Arc::clone(&log)));
        Self {
            name: name.to_owned(),
            log,
            client: None,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// A client that reconnects and resumes.
    pub async fn resuming(name: &str, config: ClientConfig, room: &str) -> Self {
        Self::resuming_from(name, config, room, Start::Now, None).await
    }

    /// The same with its log in the ledger.
    pub async fn resuming_into(
        ledger: &Ledger,
        name: &str,
        config: ClientConfig,
        room: &str,
    ) -> Self {
        let page = ledger.client(name);
        Self::resuming_from(name, config, room, Start::Now, Some(page)).await
    }

    /// The same from the position `start`, with its log on this page of a ledger.
    ///
    /// # Panics
    /// Panics if the room cannot be joined.
    pub async fn resuming_from(
        name: &str,
        config: ClientConfig,
        room: &str,
        start: Start,
        page: Option<Page>,
    ) -> Self {
        let (client, events) = Client::start(config).expect("the settings are valid");
        let log = Log::new(page);
        let task = tokio::spawn(record_client(events, Arc::clone(&log)));
        let room = RoomId::new(room).expect("the room ID is valid");
        if let Err(error) = client.join(&room, start).await {
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
    /// Panics if this is a bare connection.
    #[must_use]
    pub fn client(&self) -> &Client {
        self.client.as_ref().expect("a resuming recorder")
    }

    /// The name, for display.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Closes the client. The ledger expects nothing more from it.
    pub async fn leave(&self) {
        self.client().close().await;
        self.page().write(|ledger, me| ledger.ended(me));
    }

    /// The client's page in the ledger.
    ///
    /// # Panics
    /// Panics if there is no ledger.
    #[must_use]
    pub fn page(&self) -> &Page {
        self.log.page.as_ref().expect("a recorder with a ledger")
    }

    /// Everything received so far; nothing if a ledger has it.
    #[must_use]
    pub fn heard(&self) -> oracle::Heard {
        oracle::Heard {
            client: self.name.clone(),
            frames: self.log.book().frames.clone(),
        }
    }

    /// The number of events received so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.log.book().count
    }

    /// The highest offset received so far.
    #[must_use]
    pub fn top(&self) -> u64 {
        self.log.book().top
    }

    /// The longest time so far from the storing of an event to its receipt.
    #[must_use]
    pub fn slowest(&self) -> Duration {
        self.log.book().slowest
    }

    /// The time of the first join after `moment`.
    #[must_use]
    pub fn joined_after(&self, moment: Instant) -> Option<Instant> {
        let book = self.log.book();
        book.joins.iter().find(|join| **join > moment).copied()
    }

    /// The unusual events so far.
    #[must_use]
    pub fn notes(&self) -> Notes {
        self.log.book().notes.clone()
    }

    /// Waits until `count` events were received. Returns how long that took.
    pub async fn wait_count(&self, count: usize, deadline: Duration) -> Duration {
        self.wait(&format!("{count} events"), deadline, |book| {
            book.count >= count
        })
        .await
    }

    /// Waits until this offset, or a higher one, was received. Returns how long that took.
    pub async fn wait_offset(&self, offset: u64, deadline: Duration) -> Duration {
        self.wait(&format!("offset {offset}"), deadline, |book| {
            book.top >= offset
        })
        .await
    }

    /// Waits for a condition on the notes. Returns how long that took.
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
                // The wait is registered before the check, so that no change is missed.
                changed.as_mut().enable();
                if check(&self.log.book()) {
                    return;
                }
                changed.await;
            }
        };
        if timeout(deadline, look).await.is_err() {
            let Book {
                count, top, notes, ..
            } = &*self.log.book();
            let name = &self.name;
            panic!(
                "{name}: not within {deadline:?}: {what}; has {count} events up to {top}, {notes:?}"
            );
        }
        start.elapsed()
    }
}

/// The durable events of a `joined` or `history` reply, byte for byte.
///
/// # Panics
/// Panics if the reply has no events.
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
