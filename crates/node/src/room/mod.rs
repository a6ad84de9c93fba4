//! One room on one node: its log, its members here, and its presence.
//!
//! Lock order: `stage`, then `state`, then an outbox. `state` is held briefly: nothing is awaited
//! under it. Everything that members get from the room is put into their outboxes under it, so that
//! all of them get it in one order.

pub(crate) mod log;
mod members;
mod reads;
pub(crate) mod repair_buffer;
mod typists;
mod vigil;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use hubbub_broker::{Head, Page, Place, RoomHead};
use hubbub_protocol::{ConnectionId, Envelope, EpochOrder, Frame, Position, RoomId, User};
use parking_lot::Mutex;

use self::log::{LogBudget, RoomLog, Step};
pub(crate) use self::members::Cursor;
use self::members::Source;
use self::reads::RecentReads;
use self::repair_buffer::{Mark, Merged, RepairBuffer};
pub(crate) use self::typists::TYPING_TIMEOUT;
pub(crate) use self::vigil::Missing;
use self::vigil::Vigil;
use crate::batching::{BatchTick, RoomBatching};
use crate::metrics::NodeMetrics;
use crate::outbox::Due;
use crate::presence::RoomPresence;

/// A room's stage of life on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Not subscribed yet.
    New,
    /// Subscribed, with a log.
    Open,
    /// Closed, and no longer in the hub. Waiting callers have to look the room up again.
    Closed,
}

/// A room with members on this node, or about to have some.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) id: RoomId,
    /// Held while the room is opened or closed, because hub and subscription change together.
    pub(crate) stage: tokio::sync::Mutex<Stage>,
    /// Held while the stream is read to end a repair: one such read at a time.
    pub(crate) catching_up: tokio::sync::Mutex<()>,
    /// Held while older events are read for a member: one such read at a time.
    pub(crate) reads: tokio::sync::Mutex<RecentReads>,
    pub(crate) state: Mutex<RoomState>,
    /// Since when this node is subscribed to the room.
    hears_since: Mutex<Instant>,
    /// The count of changes of access that the broker last named.
    access: AtomicU64,
    /// See [`Room::proven_in`]. 0: never.
    proven_in: AtomicU64,
    /// The rate of sends from this node.
    batching: Mutex<RoomBatching>,
    budget: LogBudget,
    metrics: Arc<NodeMetrics>,
}

/// A room's changing state.
#[derive(Debug)]
pub(crate) struct RoomState {
    /// `None` until the room is open.
    pub(crate) log: Option<RoomLog>,
    /// `Some`: live events wait here until the stream has been read.
    buffer: Option<RepairBuffer>,
    pub(crate) members: members::Members,
    pub(crate) presence: RoomPresence,
    vigil: Vigil,
}

/// The result of taking a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PageOutcome {
    /// The room is live.
    Live,
    /// More pages have to be read.
    More,
    /// The stream could not be followed without a gap. Members were told to start over at its
    /// present beginning, and its events since then have to be read.
    Reset,
    /// The stream is not the one that was followed, so a new epoch has to begin first.
    Fork,
}

impl Room {
    /// Creates a room whose events wait in the repair buffer until its first page has been taken.
    pub(crate) fn new(id: RoomId, budget: &LogBudget, metrics: &Arc<NodeMetrics>) -> Self {
        Self {
            id,
            stage: tokio::sync::Mutex::new(Stage::New),
            catching_up: tokio::sync::Mutex::default(),
            reads: tokio::sync::Mutex::new(RecentReads::new(budget.clone())),
            state: Mutex::new(RoomState {
                log: None,
                buffer: Some(RepairBuffer::default()),
                members: members::Members::default(),
                presence: RoomPresence::default(),
                vigil: Vigil::default(),
            }),
            hears_since: Mutex::new(Instant::now()),
            access: AtomicU64::new(0),
            proven_in: AtomicU64::new(0),
            batching: Mutex::default(),
            budget: budget.clone(),
            metrics: Arc::clone(metrics),
        }
    }

    /// Takes live events from the broker. Returns whether events before them are missing, so that
    /// the room's stream has to be read, and the sockets that have to be written to.
    pub(crate) fn take_live(self: &Arc<Self>, events: Vec<Envelope>) -> (bool, Due) {
        let mut due = Due::default();
        let mut state = self.state.lock();
        let RoomState {
            log,
            buffer,
            members,
            ..
        } = &mut *state;
        let (Some(log), None) = (log.as_mut(), buffer.as_ref()) else {
            let buffer = buffer.get_or_insert_default();
            events.into_iter().for_each(|event| buffer.push(event));
            return (false, due);
        };
        let mut ready = Vec::with_capacity(events.len());
        let mut events = events.into_iter();
        for event in events.by_ref() {
            match log.step(&event) {
                Step::Next => {
                    log.append(event.clone());
                    ready.push(event);
                }
                Step::Old => {}
                Step::Gap | Step::Fork => {
                    let buffer = buffer.insert(RepairBuffer::default());
                    buffer.push(event);
                    events.for_each(|event| buffer.push(event));
                    members.deliver(self, &ready, log.head(), Source::Live, &mut due);
                    return (true, due);
                }
            }
        }
        members.deliver(self, &ready, log.head(), Source::Live, &mut due);
        (false, due)
    }

    /// Makes live events wait until the stream has been read once more. Returns whether they were
    /// not waiting before. If they were, a read that is running does not end the repair.
    pub(crate) fn begin_repair(&self) -> bool {
        let mut state = self.state.lock();
        let was_open = state.buffer.is_none();
        state.buffer.get_or_insert_default().note_maybe_missed();
        was_open
    }

    /// The starting point for a read of the stream. `None`: no repair is under way.
    pub(crate) fn mark(&self) -> Option<(Option<Position>, Mark)> {
        let state = self.state.lock();
        let mark = state.buffer.as_ref()?.mark();
        Some((state.log.as_ref().map(RoomLog::position), mark))
    }

    /// The newest known offset. 0: none is known.
    pub(crate) fn head(&self) -> u64 {
        self.state.lock().log.as_ref().map_or(0, RoomLog::head)
    }

    /// The known places: the newest that was given to members, and the newest that waits in the
    /// repair buffer. Empty until the room is open.
    pub(crate) fn places(&self) -> Vec<Place> {
        let state = self.state.lock();
        let Some(log) = &state.log else {
            return Vec::new();
        };
        let head = Place {
            position: log.position(),
            message: log.head_message().cloned(),
        };
        let epoch = head.position.epoch.clone();
        let waiting = state
            .buffer
            .as_ref()
            .map_or(0, |buffer| buffer.highest(&epoch));
        let mut places = vec![head];
        if waiting > log.head() {
            places.push(Place {
                position: Position {
                    epoch,
                    offset: waiting,
                },
                message: None,
            });
        }
        places
    }

    /// Notes that the stream that this room follows is reconciled in this run of the broker.
    pub(crate) fn prove_in(&self, run: impl FnOnce() -> u64) {
        if self.proven_in().is_none() {
            self.proven_in.store(run(), Ordering::Relaxed);
        }
    }

    /// The run since which the room follows a reconciled stream. `None`: it does not.
    pub(crate) fn proven_in(&self) -> Option<u64> {
        let run = self.proven_in.load(Ordering::Relaxed);
        (run > 0).then_some(run)
    }

    /// Takes a page that was read after `mark`. For a room without a log it is the newest page;
    /// otherwise it begins at the log's head, with the event there as proof that it is the same
    /// stream. Ends the repair when nothing is missing.
    pub(crate) fn take_page(self: &Arc<Self>, page: Page, mark: Mark) -> PageOutcome {
        // Declared before the lock, so it is dropped, and thereby flushed, after it.
        let mut due = Due::default();
        let mut state = self.state.lock();
        let RoomState {
            log,
            buffer,
            members,
            ..
        } = &mut *state;
        let mut ready = Vec::new();
        let (log, mut taken) = match log {
            None => (
                log.insert(RoomLog::new(self.id.clone(), page, self.budget.clone())),
                PageOutcome::Live,
            ),
            Some(log) => {
                let taken = follow(log, page, &mut ready);
                (log, taken)
            }
        };
        match taken {
            PageOutcome::Fork => return PageOutcome::Fork,
            PageOutcome::Reset => {
                members.reset(self, log);
                return PageOutcome::Reset;
            }
            PageOutcome::More => {}
            PageOutcome::Live => {
                let merged = buffer
                    .as_mut()
                    .map(|buffer| buffer.merge(log, mark, &mut ready));
                match merged {
                    None | Some(Merged::All) => *buffer = None,
                    Some(Merged::Part) => taken = PageOutcome::More,
                    Some(Merged::Fork) => taken = PageOutcome::Fork,
                }
            }
        }
        members.deliver(self, &ready, log.head(), Source::Repair, &mut due);
        taken
    }

    /// Compares the log with the broker's report of where the room stands.
    pub(crate) fn compare(&self, head: RoomHead) -> Missing {
        let mut state = self.state.lock();
        let RoomState {
            log: Some(log),
            buffer: None,
            presence,
            vigil,
            ..
        } = &mut *state
        else {
            return Missing::default();
        };
        vigil.compare(head, log, presence.version())
    }

    /// Whether who may be here has changed since the broker's last word.
    pub(crate) fn is_access_changed(&self, count: u64) -> bool {
        self.access.swap(count, Ordering::Relaxed) != count
    }

    /// Notes that this node has just subscribed.
    pub(crate) fn hear_from_now(&self) {
        *self.hears_since.lock() = Instant::now();
    }

    pub(crate) fn hears_since(&self) -> Instant {
        *self.hears_since.lock()
    }

    /// The connections of the members here.
    pub(crate) fn connections(&self) -> Vec<ConnectionId> {
        self.state.lock().members.connections()
    }

    /// Pushes a frame without an offset to every member but one.
    pub(crate) fn push_to_all(&self, frame: &Frame, except: Option<&ConnectionId>) {
        self.state.lock().members.push_to_all(frame, except);
    }

    /// Hears that a user types or has stopped, and gives members the frame that says so. Returns whether
    /// the caller has to call [`Room::expire_typing`] regularly from now on.
    pub(crate) fn hear_typing(
        &self,
        user: User,
        on: bool,
        origin: &ConnectionId,
        frame: &Frame,
    ) -> bool {
        let mut state = self.state.lock();
        let typists = &mut state.members.typists;
        let is_news = if on {
            typists.begin(user, origin, Instant::now())
        } else {
            typists.end(&user)
        };
        let begins = typists.begin_watch();
        if is_news {
            state.members.push_to_all(frame, Some(origin));
        }
        begins
    }

    /// Ends the typing of users who have not renewed it in time. Returns whether others type still.
    pub(crate) fn expire_typing(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        let members = &mut state.members;
        let expired = members.typists.take_expired(now);
        members.tell_stopped(self, &expired);
        members.typists.go_on_watching()
    }

    /// Whether sends are so frequent here that they are published together, once per batch interval.
    pub(crate) fn is_busy(&self) -> bool {
        self.batching.lock().is_busy(Instant::now())
    }

    /// Whether a publish has begun in this batch interval. In a busy room, the next one waits for the
    /// next interval.
    pub(crate) fn has_published(&self, batch_tick: &BatchTick) -> bool {
        self.batching
            .lock()
            .has_published(batch_tick, Instant::now())
    }

    /// Counts a publish of so many sends, which begins now.
    pub(crate) fn count_sends(&self, sends: usize) {
        self.batching.lock().count(sends, Instant::now());
    }

    /// How often bodies were removed while the room was open here, see [`RoomLog::deletions`].
    pub(crate) fn deletions(&self) -> u64 {
        self.state.lock().log.as_ref().map_or(0, RoomLog::deletions)
    }

    /// When the newest event arrived. `None`: the room is not open.
    pub(crate) fn appended(&self) -> Option<Instant> {
        self.state.lock().log.as_ref().map(RoomLog::appended)
    }

    /// Drops the events kept in memory. They are read again when they are needed.
    pub(crate) fn forget_events(&self) {
        if let Some(log) = &mut self.state.lock().log {
            log.clear();
        }
        // A lock that is in use keeps its pages for now; they still count.
        if let Ok(mut reads) = self.reads.try_lock() {
            reads.clear();
        }
    }

    /// Drops the events kept in memory that were stored before `cutoff` (milliseconds since 1970).
    pub(crate) fn expire_events(&self, cutoff: u64) {
        if let Some(log) = &mut self.state.lock().log {
            log.expire(cutoff);
        }
        // If the lock is in use, the next round expires them.
        if let Ok(mut reads) = self.reads.try_lock() {
            reads.expire(cutoff);
        }
    }

    /// Whether the room has no members here and no user who may come back.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.state.lock();
        state.members.is_empty() && state.presence.is_empty()
    }
}

/// Follows the stream with the page that begins at the log's head. Two streams cannot be followed
/// without a gap: one of a newer epoch, and one that no longer has the missing events. Then the log
/// starts over right before the page's first event.
fn follow(log: &mut RoomLog, page: Page, ready: &mut Vec<Envelope>) -> PageOutcome {
    let Page { head, events, .. } = page;
    match head.epoch.order(log.epoch()) {
        EpochOrder::Same => {}
        // Offsets must not go back. The node that began this epoch knew fewer events.
        EpochOrder::Newer if head.offset < log.head() => return PageOutcome::Fork,
        EpochOrder::Newer => return start_over(log, head, &events),
        // An epoch that was left is never followed again.
        EpochOrder::Older | EpochOrder::Rival => return PageOutcome::Fork,
    }
    // Events of older epochs stay in the stream, below the base of the present one.
    let events: Vec<_> = events
        .into_iter()
        .filter(|event| event.position.epoch == head.epoch)
        .collect();
    let at_head = events
        .first()
        .filter(|first| first.position.offset == log.head());
    let is_other = at_head.is_some_and(|event| {
        log.head_message()
            .is_some_and(|id| id.is_other(&event.message))
    });
    if head.offset < log.head() || is_other {
        return PageOutcome::Fork;
    }
    let follows = events
        .iter()
        .find(|event| event.position.offset > log.head());
    if log.head() < head.offset && follows.is_none_or(|event| log.step(event) != Step::Next) {
        let rest: Vec<_> = follows.into_iter().cloned().collect();
        return start_over(log, head, &rest);
    }
    for event in events {
        match log.step(&event) {
            Step::Old => {}
            Step::Next => {
                log.append(event.clone());
                ready.push(event);
            }
            Step::Gap | Step::Fork => break,
        }
    }
    if log.head() == head.offset {
        PageOutcome::Live
    } else {
        PageOutcome::More
    }
}

fn start_over(log: &mut RoomLog, head: Head, events: &[Envelope]) -> PageOutcome {
    let offset = events
        .first()
        .map_or(head.offset, |first| first.position.offset - 1);
    log.restart(Head { offset, ..head });
    PageOutcome::Reset
}

#[cfg(test)]
mod tests {
    use hubbub_protocol::MessageId;

    use super::log::tests::{empty_log, page};
    use super::*;
    use crate::Limits;
    use crate::outbox::{Outbox, OutboxBudget};

    fn follow_page(head: u64, page: Page) -> (PageOutcome, usize, u64) {
        let mut log = empty_log(head - 1);
        log.append(log::tests::event("e", head));
        let mut ready = Vec::new();
        let taken = follow(&mut log, page, &mut ready);
        (taken, ready.len(), log.head())
    }

    /// A repair may bring more than an outbox holds. The member catches up without being told.
    #[test]
    fn a_repair_is_nobodys_slowness() {
        let limits = Limits {
            outbox_frames: 3,
            ..Limits::default()
        };
        let outbox = Outbox::new(&limits, &Arc::new(OutboxBudget::new(&limits)));
        let (outbox, connection) = (Arc::new(outbox), ConnectionId::generate());
        let id = RoomId::new("repaired").unwrap();
        let room = Arc::new(Room::new(id, &LogBudget::default(), &Arc::default()));
        let read = |page| room.take_page(page, room.mark().unwrap().1);
        let mut begun = page("e", 1, 1..=1);
        begun.events.clear();
        assert_eq!(read(begun), PageOutcome::Live);
        let joined = Frame::from_json("{}".into()).unwrap();
        let mut state = room.state.lock();
        state.members.admit(&room, &connection, &outbox);
        state.members.start(&room, &connection, joined, 1, 1);
        drop(state);
        outbox.take_texts();
        room.begin_repair();
        assert_eq!(read(page("e", 9, 2..=9)), PageOutcome::Live);
        assert_eq!(outbox.take_texts(), ["{}"; 3], "three events only");
        let cursor = room.state.lock().members.get(&connection).unwrap().cursor;
        assert_eq!(cursor, Cursor::Behind(4));
    }

    #[test]
    fn a_page_is_followed_to_its_end() {
        assert_eq!(
            follow_page(5, page("e", 8, 5..=8)),
            (PageOutcome::Live, 3, 8)
        );
        assert_eq!(
            follow_page(5, page("e", 20, 5..=8)),
            (PageOutcome::More, 3, 8)
        );
        assert_eq!(
            follow_page(5, page("e", 5, 5..=5)),
            (PageOutcome::Live, 0, 5)
        );
    }

    #[test]
    fn an_expired_stream_at_the_same_head_is_no_loss() {
        let mut expired = page("e", 5, 5..=5);
        expired.events.clear();
        assert_eq!(follow_page(5, expired), (PageOutcome::Live, 0, 5));
    }

    #[test]
    fn what_cannot_be_followed_starts_over() {
        let newer = "000000001-aaaa";
        assert_eq!(
            follow_page(5, page(newer, 7, 6..=7)),
            (PageOutcome::Reset, 0, 5)
        );
        assert_eq!(
            follow_page(5, page(newer, 7, 4..=7)),
            (PageOutcome::Reset, 0, 3)
        );
        let trimmed = follow_page(5, page("e", 9, 8..=9));
        assert_eq!(trimmed, (PageOutcome::Reset, 0, 7));
        let mut expired = page("e", 9, 9..=9);
        expired.events.clear();
        assert_eq!(follow_page(5, expired), (PageOutcome::Reset, 0, 9));
    }

    /// Offsets must not go back, and an epoch that was left is never followed again.
    #[test]
    fn an_epoch_that_is_no_newer_or_ends_below_is_a_fork() {
        let (newer, newest) = ("000000001-aaaa", "000000002-aaaa");
        assert_eq!(follow_page(5, page("rival", 9, 6..=9)).0, PageOutcome::Fork);
        assert_eq!(follow_page(5, page(newer, 4, 4..=4)).0, PageOutcome::Fork);
        let mut log = empty_log(5);
        let head = |epoch: &str| page(epoch, 9, 9..=9);
        assert_eq!(
            follow(&mut log, head(newest), &mut Vec::new()),
            PageOutcome::Reset
        );
        assert_eq!(
            follow(&mut log, head(newer), &mut Vec::new()),
            PageOutcome::Fork
        );
    }

    /// The event right before a new epoch is of an older epoch, and is still in the stream.
    #[test]
    fn events_of_older_epochs_are_passed_by() {
        let newer = "000000001-aaaa";
        let mut log = empty_log(4);
        log.append(log::tests::event("e", 5));
        let mut begun = page(newer, 5, 5..=5);
        begun.events.clear();
        assert_eq!(follow(&mut log, begun, &mut Vec::new()), PageOutcome::Reset);
        let mut from_head = page(newer, 7, 5..=7);
        from_head.events[0].position.epoch = hubbub_protocol::Epoch::new("e").unwrap();
        let mut ready = Vec::new();
        assert_eq!(follow(&mut log, from_head, &mut ready), PageOutcome::Live);
        assert_eq!((ready.len(), log.head()), (2, 7));
    }

    /// A promoted replica may be behind this node or have overtaken it under the same epoch.
    /// Offsets alone do not show it.
    #[test]
    fn another_stream_under_the_same_epoch_is_a_fork() {
        assert_eq!(follow_page(5, page("e", 4, 4..=4)).0, PageOutcome::Fork);
        let mut overtaken = page("e", 9, 5..=9);
        overtaken.events[0].message = MessageId::new("other").unwrap();
        assert_eq!(follow_page(5, overtaken).0, PageOutcome::Fork);
    }
}

#[cfg(test)]
mod model;
