//! Presence as others see it: named guests in a room of their own, and bare connections that record
//! every presence frame.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hubbub_client::new_guest;
use hubbub_tests::deadline::eventually;
use hubbub_tests::raw::{Heard, Raw};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::arena::Arena;

const ROOM: &str = "people";
/// Five times the goal of 10 s.
pub(crate) const GONE: Duration = Duration::from_secs(50);

/// A change of a user's presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Joined,
    Left,
}

type Log = Arc<Mutex<Vec<(String, Change)>>>;

/// A connection that records presence frames.
struct Watcher {
    log: Log,
    /// The node of its connection.
    node: usize,
    _task: AbortOnDropHandle<()>,
}

impl Watcher {
    fn count(&self, name: &str, change: Change) -> usize {
        let log = self.log.lock().expect("no thread panicked with the lock");
        let same = log.iter().filter(|seen| seen.0 == name && seen.1 == change);
        same.count()
    }
}

/// All watchers.
pub(crate) struct Audience {
    watchers: Vec<Watcher>,
}

/// A guest in the room who answers pings. The connection ends when dropped.
pub(crate) struct Guest {
    _task: AbortOnDropHandle<()>,
}

/// Lets a guest of this name join the room through the node at `door`.
pub(crate) async fn enter(arena: &Arena, door: SocketAddr, name: &str) -> Guest {
    let mut raw = connect(arena, door, name).await;
    let task =
        tokio::spawn(async move { while let Heard::Text(_) = raw.hear_patiently().await {} });
    Guest {
        _task: AbortOnDropHandle::new(task),
    }
}

/// The same, but returns the connection.
async fn connect(arena: &Arena, door: SocketAddr, name: &str) -> Raw {
    // The token may come from another node than the one that is used.
    let url = format!("http://{}", arena.doors[1]);
    let guest = new_guest(&url, Some(name)).await.expect("a guest token");
    let mut raw = Raw::connect_as(door, &guest.token).await;
    raw.join(ROOM).await;
    raw
}

impl Audience {
    /// Starts one watcher on each of these nodes.
    pub(crate) async fn start(arena: &Arena, nodes: &[usize]) -> Self {
        let mut watchers = Vec::new();
        for node in nodes {
            let name = format!("watcher-{node}");
            let raw = connect(arena, arena.doors[*node], &name).await;
            let log = Log::default();
            let task = tokio::spawn(watch(raw, Arc::clone(&log)));
            watchers.push(Watcher {
                log,
                node: *node,
                _task: AbortOnDropHandle::new(task),
            });
        }
        Self { watchers }
    }

    /// Waits until every watcher has seen this change `times` times. Returns how long that took.
    pub(crate) async fn wait(&self, name: &str, change: Change, times: usize) -> Duration {
        let start = Instant::now();
        for watcher in &self.watchers {
            let seen = async || (watcher.count(name, change) >= times).then_some(());
            let what = format!("gw-{} announces that {name} has {change:?}", watcher.node);
            eventually(&what, GONE, seen).await;
        }
        start.elapsed()
    }

    /// Checks that every watcher has seen exactly these counts, after all announced changes have
    /// come.
    pub(crate) async fn assert_counts(
        &self,
        arena: &Arena,
        name: &str,
        joined: usize,
        left: usize,
    ) {
        // A marker guest joins and leaves last. When its changes have arrived, all earlier frames
        // have too.
        let door = arena.doors[1];
        let marker = format!("marker-{}", fastrand::u32(..));
        let mut raw = connect(arena, door, &marker).await;
        self.wait(&marker, Change::Joined, 1).await;
        raw.ask(json!({"type": "leave", "room": ROOM})).await;
        self.wait(&marker, Change::Left, 1).await;
        for watcher in &self.watchers {
            let counts = (
                watcher.count(name, Change::Joined),
                watcher.count(name, Change::Left),
            );
            let node = watcher.node;
            assert_eq!(counts, (joined, left), "gw-{node} on {name}: joined, left");
        }
    }
}

async fn watch(mut raw: Raw, log: Log) {
    while let Heard::Text(text) = raw.hear_patiently().await {
        let frame: Value = serde_json::from_str(&text).expect("a frame is JSON");
        if frame["type"] != "presence" {
            continue;
        }
        let mut log = log.lock().expect("no thread panicked with the lock");
        for (field, change) in [("joined", Change::Joined), ("left", Change::Left)] {
            for user in frame[field].as_array().into_iter().flatten() {
                let name = user["name"].as_str().unwrap_or_default().to_owned();
                log.push((name, change));
            }
        }
    }
}

/// The users in the room according to this node, without the watchers.
pub(crate) async fn present(arena: &Arena, node: usize) -> Vec<String> {
    let mut raw = connect(arena, arena.doors[node], "asker").await;
    let reply = raw.ask(json!({"type": "members", "room": ROOM})).await;
    let members = reply["members"].as_array().into_iter().flatten();
    let names = members.map(|user| user["name"].as_str().unwrap_or_default().to_owned());
    names
        .filter(|name| !name.starts_with("watcher-") && name != "asker")
        .collect()
}
