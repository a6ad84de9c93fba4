//! A client that records what it receives, which nodes it has been on, and how often it
//! reconnected.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use hubbub_client::{Client, ClientConfig, ClientEvent, Start};
use hubbub_protocol::RoomId;
use hubbub_tests::oracle::Heard;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

/// The history of one client.
#[derive(Debug, Default)]
pub(crate) struct Diary {
    frames: Vec<String>,
    /// The highest offset received.
    pub(crate) top: u64,
    pub(crate) is_connected: bool,
    /// Every node it has been on, in order.
    pub(crate) nodes: Vec<String>,
    /// Every lost connection and every failed attempt, with its reason.
    pub(crate) losses: Vec<String>,
    /// Events that must not happen: gaps, resets, joins that could not resume.
    pub(crate) flaws: Vec<String>,
}

#[derive(Debug, Default)]
struct Log {
    diary: Mutex<Diary>,
    changed: Notify,
}

/// A member of one room.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) client: Client,
    log: Arc<Log>,
    _task: AbortOnDropHandle<()>,
}

impl Member {
    /// Joins a room as a new guest, through the first of these URLs that works.
    pub(crate) async fn join(name: &str, urls: Vec<String>, room: &str) -> Self {
        let (client, events) =
            Client::start(ClientConfig::new(urls)).expect("the settings are valid");
        let log = Arc::new(Log::default());
        let task = tokio::spawn(keep(events, Arc::clone(&log)));
        let room = RoomId::new(room).expect("the room ID is valid");
        if let Err(error) = client.join(&room, Start::Now).await {
            panic!("{name} cannot join: {error}");
        }
        Self {
            name: name.to_owned(),
            client,
            log,
            _task: AbortOnDropHandle::new(task),
        }
    }

    pub(crate) fn diary(&self) -> MutexGuard<'_, Diary> {
        self.log
            .diary
            .lock()
            .expect("no thread panicked with the lock")
    }

    /// The node of the present or the last connection.
    pub(crate) fn node(&self) -> String {
        self.diary().nodes.last().cloned().unwrap_or_default()
    }

    /// Everything received so far.
    pub(crate) fn heard(&self) -> Heard {
        Heard {
            client: self.name.clone(),
            frames: self.diary().frames.clone(),
        }
    }

    /// Waits for a condition on the diary. Returns how long that took.
    pub(crate) async fn wait(
        &self,
        what: &str,
        deadline: Duration,
        check: impl Fn(&Diary) -> bool,
    ) -> Duration {
        let start = Instant::now();
        let look = async {
            loop {
                let changed = self.log.changed.notified();
                tokio::pin!(changed);
                // The wait is registered before the check, so that no change is missed.
                changed.as_mut().enable();
                if check(&self.diary()) {
                    return;
                }
                changed.await;
            }
        };
        if timeout(deadline, look).await.is_err() {
            let diary = self.diary();
            let (name, top) = (&self.name, diary.top);
            let Diary {
                nodes,
                losses,
                flaws,
                ..
            } = &*diary;
            panic!(
                "{name}: not within {deadline:?}: {what}; at {top}, {nodes:?}, {losses:?}, {flaws:?}"
            );
        }
        start.elapsed()
    }
}

async fn keep(mut events: mpsc::Receiver<ClientEvent>, log: Arc<Log>) {
    while let Some(event) = events.recv().await {
        write(
            &mut log.diary.lock().expect("no thread panicked with the lock"),
            event,
        );
        log.changed.notify_waiters();
    }
}

fn write(diary: &mut Diary, event: ClientEvent) {
    match event {
        ClientEvent::Event(event) => {
            diary.top = diary.top.max(event.offset);
            diary.frames.push(event.raw);
        }
        ClientEvent::Connected { node, .. } => {
            diary.is_connected = true;
            diary.nodes.push(node);
        }
        ClientEvent::Disconnected { code, reason, .. } => {
            diary.is_connected = false;
            diary.losses.push(format!("{code:?} {reason}"));
        }
        ClientEvent::Joined(joined) if joined.recovered => {}
        ClientEvent::Joined(_)
        | ClientEvent::Gap { .. }
        | ClientEvent::Repeated { .. }
        | ClientEvent::Reset { .. }
        | ClientEvent::RoomLost { .. }
        | ClientEvent::Refused(_)
        | ClientEvent::Closed { .. } => diary.flaws.push(format!("{event:?}")),
        ClientEvent::Lagged { .. }
        | ClientEvent::Presence { .. }
        | ClientEvent::Typing { .. }
        | ClientEvent::Read { .. }
        | ClientEvent::Announcement { .. } => {}
    }
}
