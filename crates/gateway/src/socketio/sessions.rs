//! The sessions of this node by their id, and the lines over which HTTP requests reach them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{mpsc, oneshot};

use super::handler::Paid;
use crate::ws::socket::Socket;

/// Polls that wait for a session to look: a client has one at a time.
const POLLS: usize = 4;

/// All sessions that have not ended.
#[derive(Debug)]
pub(super) struct Sessions<H>(Mutex<HashMap<Arc<str>, Line<H>>>);

/// How a session can be reached.
#[derive(Debug)]
pub(super) enum Line<H> {
    Polling(Arc<PollLine<H>>),
    /// Not over HTTP any more.
    Socket,
}

impl<H> Clone for Line<H> {
    fn clone(&self) -> Self {
        match self {
            Self::Polling(line) => Self::Polling(Arc::clone(line)),
            Self::Socket => Self::Socket,
        }
    }
}

/// The handlers' end of a session that polls.
#[derive(Debug)]
pub(super) struct PollLine<H> {
    pub(super) posts: mpsc::Sender<Post>,
    pub(super) polls: mpsc::Sender<Poll<H>>,
    posting: AtomicBool,
}

/// The session's end.
#[derive(Debug)]
pub(super) struct Inbox<H> {
    pub(super) posts: mpsc::Receiver<Post>,
    pub(super) polls: mpsc::Receiver<Poll<H>>,
}

/// A body that a client has posted.
pub(super) struct Post {
    /// `None`: what came is no text.
    pub(super) body: Option<String>,
    /// Whether it was taken; dropped when the session ends meanwhile.
    pub(super) done: oneshot::Sender<bool>,
    /// Of a long one, held until it has been dealt with.
    pub(super) paid: Option<Paid>,
}

/// The requests that reach a session which polls.
#[derive(Debug)]
pub(super) enum Poll<H> {
    /// A GET that waits for packets.
    Get(oneshot::Sender<PollAnswer>),
    /// A second POST during the first one.
    Overlap(oneshot::Sender<PollAnswer>),
    /// A WebSocket to go on with.
    Socket(Box<Socket>, H),
}

/// The answer to a GET.
#[derive(Debug)]
pub(super) enum PollAnswer {
    Body(String),
    Refused,
}

/// One POST at a time; the next one may come when this is dropped.
#[derive(Debug)]
pub(super) struct Posting<'a>(&'a AtomicBool);

impl<H> PollLine<H> {
    pub(super) fn new() -> (Arc<Self>, Inbox<H>) {
        let (posts, posts_inbox) = mpsc::channel(1);
        let (polls, polls_inbox) = mpsc::channel(POLLS);
        let line = Arc::new(Self {
            posts,
            polls,
            posting: AtomicBool::new(false),
        });
        let inbox = Inbox {
            posts: posts_inbox,
            polls: polls_inbox,
        };
        (line, inbox)
    }

    /// `None`: another POST is on its way.
    pub(super) fn begin_post(&self) -> Option<Posting<'_>> {
        let was_posting = self.posting.swap(true, Ordering::Relaxed);
        (!was_posting).then(|| Posting(&self.posting))
    }
}

impl Drop for Posting<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl<H> Default for Sessions<H> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<H> Sessions<H> {
    pub(super) fn find(&self, sid: &str) -> Option<Line<H>> {
        self.lock().get(sid).cloned()
    }

    pub(super) fn put(&self, sid: &Arc<str>, line: Line<H>) {
        self.lock().insert(Arc::clone(sid), line);
    }

    pub(super) fn remove(&self, sid: &str) {
        self.lock().remove(sid);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Line<H>>> {
        self.0.lock()
    }
}
