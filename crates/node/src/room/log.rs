//! A node's knowledge of a room's stream: its position, and the newest events.
//!
//! Every live member has been given exactly the events up to `head`. So a request for older events
//! can usually be served from here: a thousand clients that reconnect at once cost one read.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use hubbub_broker::{Head, Page};
use hubbub_protocol::{Envelope, Epoch, EventKind, MessageId, Position, RoomId};
use tokio::sync::Notify;

/// The most events that one room keeps.
pub(crate) const LOG_EVENTS: usize = 1_000;
/// The most bytes that one room keeps.
const LOG_BYTES: usize = 1024 * 1024;
/// Bytes that all rooms of a node keep. Beyond, the rooms that were quiet the longest drop their
/// events.
const NODE_BYTES: usize = 64 * 1024 * 1024;
/// Bytes that an event costs beside its frame.
const EVENT_OVERHEAD: usize = 120;

/// How an event relates to the known part of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is the next event.
    Next,
    /// It is known already.
    Old,
    /// An event before it is missing, or it belongs to another epoch.
    Gap,
    /// It differs from the known event at its offset, or it follows another event than the newest
    /// one.
    Fork,
}

/// The bytes that all logs of a node hold, including the pages that are read for members.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogBudget(Arc<Budget>);

#[derive(Debug, Default)]
struct Budget {
    used: AtomicUsize,
    spent: Notify,
}

impl LogBudget {
    pub(super) fn add(&self, bytes: usize) {
        if self.0.used.fetch_add(bytes, Ordering::Relaxed) + bytes > NODE_BYTES {
            self.0.spent.notify_one();
        }
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.0.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Waits until the limit is exceeded.
    pub(crate) async fn overdrawn(&self) {
        while self.used() <= NODE_BYTES {
            self.0.spent.notified().await;
        }
    }

    /// Whether enough bytes are free again for a while.
    pub(crate) fn is_easy(&self) -> bool {
        self.used() <= NODE_BYTES / 4 * 3
    }
}

/// The newest part of a room's stream.
#[derive(Debug)]
pub(crate) struct RoomLog {
    room: RoomId,
    epoch: Epoch,
    head: u64,
    /// The event at `head`, if it is known. It tells a forked stream from this one.
    head_message: Option<MessageId>,
    /// Has no holes, and ends at `head`.
    recent: VecDeque<Envelope>,
    /// The newest kept edit of each message, both by their offsets: the one edit that has a body.
    edits: HashMap<u64, u64>,
    bytes: usize,
    budget: LogBudget,
    appended: Instant,
    deletions: u64,
}

/// The message that an event edits, if it is an edit that has a body.
fn edit_of(event: &Envelope) -> Option<u64> {
    if event.kind() != EventKind::Edited {
        return None;
    }
    let edit = event.read().ok()?;
    edit.target.filter(|_| !edit.deleted)
}

pub(super) fn cost(event: &Envelope) -> usize {
    event.frame.len() + EVENT_OVERHEAD
}

impl RoomLog {
    /// Begins at the page's head, with the events of `page` that lead up to it without a hole.
    pub(crate) fn new(room: RoomId, page: Page, budget: LogBudget) -> Self {
        let Page { head, events, .. } = page;
        let last = events.last().filter(|last| {
            last.position.offset == head.offset && last.position.epoch == head.epoch
        });
        let head_message = last.map(|last| last.message.clone());
        let mut log = Self {
            room,
            epoch: head.epoch,
            head: head.offset,
            head_message,
            recent: VecDeque::new(),
            edits: HashMap::new(),
            bytes: 0,
            budget,
            appended: Instant::now(),
            deletions: 0,
        };
        log.prepend(events);
        log
    }

    pub(crate) fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// The newest offset given to live members.
    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    /// The position of live members.
    pub(crate) fn position(&self) -> Position {
        Position {
            epoch: self.epoch.clone(),
            offset: self.head,
        }
    }

    /// The event at the head, if it is known.
    pub(crate) fn head_message(&self) -> Option<&MessageId> {
        self.head_message.as_ref()
    }

    /// The offset above which all events are kept here.
    pub(crate) fn floor(&self) -> u64 {
        self.head - self.recent.len() as u64
    }

    pub(crate) fn step(&self, event: &Envelope) -> Step {
        let offset = event.position.offset;
        if event.position.epoch != self.epoch {
            Step::Gap
        } else if self
            .get(offset)
            .is_some_and(|known| known.message.is_other(&event.message))
        {
            Step::Fork
        } else if offset <= self.head {
            Step::Old
        } else if offset == self.head + 1 {
            match (&event.previous, &self.head_message) {
                (Some(previous), Some(head)) if previous.is_other(head) => Step::Fork,
                _ => Step::Next,
            }
        } else {
            Step::Gap
        }
    }

    /// Appends the next event.
    pub(crate) fn append(&mut self, event: Envelope) {
        debug_assert_eq!(self.step(&event), Step::Next);
        self.head = event.position.offset;
        self.head_message = Some(event.message.clone());
        self.appended = Instant::now();
        self.add(cost(&event));
        let is_change = matches!(event.kind(), EventKind::Deleted | EventKind::Edited);
        let change = is_change.then(|| event.clone());
        self.recent.push_back(event);
        if let Some(change) = change {
            self.rewrite(&change);
        }
        self.trim();
    }

    /// Applies an edit or a deletion to the kept events: the message gets its new form, and its
    /// earlier edits lose their bodies.
    fn rewrite(&mut self, change: &Envelope) {
        let Ok(change) = change.read() else { return };
        let Some(target) = change.target else { return };
        self.deletions += 1;
        let earlier = if change.kind == EventKind::Edited && !change.deleted {
            self.edits.insert(target, self.head)
        } else {
            self.edits.remove(&target)
        };
        let room = self.room.clone();
        self.replace(target, |message| {
            if change.kind == EventKind::Edited {
                message.take_edit(&room, &change)
            } else {
                message.bury(&room)
            }
        });
        if let Some(edit) = earlier {
            self.replace(edit, |edit| edit.bury(&room));
        }
    }

    /// Changes the event at `offset`, if it is kept. An event that cannot be read holds no body that could
    /// be shown, and stays.
    fn replace(
        &mut self,
        offset: u64,
        change: impl FnOnce(&mut Envelope) -> Result<(), serde_json::Error>,
    ) {
        let index = offset.checked_sub(self.floor() + 1);
        let index = index.and_then(|index| usize::try_from(index).ok());
        let Some(event) = index.and_then(|index| self.recent.get_mut(index)) else {
            return;
        };
        let before = cost(event);
        if change(event).is_ok() {
            let after = cost(event);
            self.remove(before);
            self.add(after);
        }
    }

    /// Drops the oldest events that were stored before `cutoff` (milliseconds since 1970).
    pub(crate) fn expire(&mut self, cutoff: u64) {
        let is_old = |event: &Envelope| event.read().is_ok_and(|event| event.ts < cutoff);
        while let Some(oldest) = self.recent.pop_front_if(|event| is_old(event)) {
            self.remove(cost(&oldest));
            self.deletions += 1;
        }
    }

    /// Adds older events that end right below the floor, as many as fit.
    pub(crate) fn prepend(&mut self, events: Vec<Envelope>) {
        for event in events.into_iter().rev() {
            let fits = self.recent.len() < LOG_EVENTS
                && self.bytes + cost(&event) <= LOG_BYTES
                && self.budget.used() < NODE_BYTES;
            let floor = self.floor();
            if event.position.offset > floor {
                continue;
            }
            if !fits || event.position.epoch != self.epoch || event.position.offset != floor {
                return;
            }
            self.add(cost(&event));
            let edit = edit_of(&event).map(|target| (target, event.position.offset));
            self.recent.push_front(event);
            if let Some((target, offset)) = edit {
                self.keep_edit(target, offset);
            }
        }
    }

    /// Notes an edit that is older than all others here. One that was read before the next edit came
    /// still has its body.
    fn keep_edit(&mut self, target: u64, offset: u64) {
        let newest = *self.edits.entry(target).or_insert(offset);
        if newest != offset {
            let room = self.room.clone();
            self.replace(offset, |edit| edit.bury(&room));
        }
    }

    /// Returns the oldest events after `offset`. `None`: they are no longer, or not yet, here.
    pub(crate) fn after(&self, offset: u64, limit: usize) -> Option<Vec<Envelope>> {
        if offset < self.floor() || offset > self.head {
            return None;
        }
        let start = usize::try_from(offset - self.floor()).ok()?;
        Some(
            self.recent
                .iter()
                .skip(start)
                .take(limit)
                .cloned()
                .collect(),
        )
    }

    /// The kept events, in order.
    pub(crate) fn recent(&self) -> impl Iterator<Item = &Envelope> {
        self.recent.iter()
    }

    /// The event at `offset`, if it is kept.
    pub(crate) fn get(&self, offset: u64) -> Option<&Envelope> {
        let index = offset.checked_sub(self.floor() + 1)?;
        self.recent.get(usize::try_from(index).ok()?)
    }

    /// The ID of the event at `offset`, if it is known.
    pub(crate) fn message_at(&self, offset: u64) -> Option<&MessageId> {
        if offset == self.head {
            return self.head_message.as_ref();
        }
        self.get(offset).map(|event| &event.message)
    }

    /// Starts over at `head` without any events.
    pub(crate) fn restart(&mut self, head: Head) {
        self.clear();
        // The skipped part may have had edits and deletions.
        self.deletions += 1;
        self.epoch = head.epoch;
        self.head = head.offset;
        self.head_message = None;
    }

    fn trim(&mut self) {
        while self.recent.len() > LOG_EVENTS || self.bytes > LOG_BYTES {
            let Some(oldest) = self.recent.pop_front() else {
                return;
            };
            self.remove(cost(&oldest));
        }
        if self.edits.len() > self.recent.len() {
            let floor = self.floor();
            self.edits.retain(|_, edit| *edit > floor);
        }
    }

    fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.budget.add(bytes);
    }

    fn remove(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.budget.give_back(bytes);
    }

    /// How often bodies were removed: by a deletion, an edit or their age. A page that was read
    /// before may still hold them.
    pub(crate) fn deletions(&self) -> u64 {
        self.deletions
    }

    /// When the newest event arrived.
    pub(crate) fn appended(&self) -> Instant {
        self.appended
    }

    /// Drops all events. They are read from the stream when they are needed.
    pub(crate) fn clear(&mut self) {
        self.remove(self.bytes);
        self.recent = VecDeque::new();
        self.edits = HashMap::new();
    }
}

impl Drop for RoomLog {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use bytes::Bytes;
    use hubbub_protocol::command::Body;
    use hubbub_protocol::event::seal;
    use hubbub_protocol::{Draft, Frame, User, UserId};

    use super::*;

    pub(crate) fn event(epoch: &str, offset: u64) -> Envelope {
        Envelope {
            position: Position {
                epoch: Epoch::new(epoch).unwrap(),
                offset,
            },
            message: MessageId::new(&format!("m{offset}")).unwrap(),
            previous: None,
            frame: Frame::from_json(Bytes::from_static(b"{}")).unwrap(),
        }
    }

    pub(crate) fn page(epoch: &str, head: u64, events: std::ops::RangeInclusive<u64>) -> Page {
        Page {
            head: Head {
                epoch: Epoch::new(epoch).unwrap(),
                offset: head,
            },
            events: events.map(|offset| event(epoch, offset)).collect(),
            base: 0,
            archived: None,
            is_private: false,
        }
    }

    pub(crate) fn empty_log(head: u64) -> RoomLog {
        let head = Head {
            epoch: Epoch::new("e").unwrap(),
            offset: head,
        };
        begun(head, LogBudget::default())
    }

    fn begun(head: Head, budget: LogBudget) -> RoomLog {
        let page = Page {
            head,
            events: Vec::new(),
            base: 0,
            archived: None,
            is_private: false,
        };
        RoomLog::new(RoomId::new("r").unwrap(), page, budget)
    }

    fn of_page(page: Page) -> RoomLog {
        RoomLog::new(RoomId::new("r").unwrap(), page, LogBudget::default())
    }

    fn offsets(events: &[Envelope]) -> Vec<u64> {
        events.iter().map(|event| event.position.offset).collect()
    }

    #[test]
    fn it_serves_what_it_keeps_and_says_what_it_does_not() {
        let mut log = of_page(page("e", 10, 8..=10));
        log.append(event("e", 11));
        assert_eq!(offsets(&log.after(7, 2).unwrap()), [8, 9]);
        assert_eq!(offsets(&log.after(11, 2).unwrap()), [0; 0]);
        assert_eq!(log.after(6, 2), None);
        assert_eq!(log.after(12, 2), None);
        assert_eq!(log.get(9).unwrap().message.as_str(), "m9");
        assert_eq!(log.get(7), None);
        log.prepend(page("e", 11, 3..=9).events);
        assert_eq!(log.floor(), 2);
    }

    fn say(offset: u64, ts: u64) -> Envelope {
        let body = Body::from(&serde_json::json!({"text": format!("body {offset}")}));
        sealed(&Draft::message(&room(), &alice(), None, &body), offset, ts)
    }

    fn edit(original: &Envelope, offset: u64) -> Envelope {
        let body = Body::from(&serde_json::json!({"text": format!("body {offset}")}));
        let (target, event) = (original.position.offset, original.read().unwrap());
        let draft = Draft::edit(&room(), &alice(), None, target, &event, &body);
        sealed(&draft, offset, offset)
    }

    fn room() -> RoomId {
        RoomId::new("r").unwrap()
    }

    fn alice() -> User {
        User {
            id: UserId::new("alice").unwrap(),
            name: "A".into(),
        }
    }

    fn sealed(draft: &Draft, offset: u64, ts: u64) -> Envelope {
        let position = Position {
            epoch: Epoch::new("e").unwrap(),
            offset,
        };
        Envelope {
            frame: seal(&draft.open, ts, &position),
            position,
            message: draft.message.clone(),
            previous: None,
        }
    }

    #[test]
    fn only_the_newest_body_of_a_message_is_kept() {
        let budget = LogBudget::default();
        let head = Head {
            epoch: Epoch::new("e").unwrap(),
            offset: 0,
        };
        let mut log = begun(head, budget.clone());
        let first = say(1, 1);
        for event in [first.clone(), say(2, 2), edit(&first, 3), edit(&first, 4)] {
            log.append(event);
        }
        let bodies: Vec<_> = log.after(0, 9).unwrap();
        let bodies: Vec<_> = bodies
            .iter()
            .map(|event| event.read().unwrap().body.map(|body| body.get().to_owned()))
            .collect();
        let said = |offset: u64| Some(format!(r#"{{"text":"body {offset}"}}"#));
        assert_eq!(bodies, [said(4), said(2), None, said(4)]);
        assert_eq!(
            log.get(1).unwrap().read().unwrap().edited.unwrap().offset,
            4
        );
        assert_eq!(
            log.deletions(),
            2,
            "pages from before have to be read again"
        );
        drop(log);
        assert_eq!(budget.used(), 0);
    }

    /// A page of older events may have been read before the newest edit came.
    #[test]
    fn an_older_edit_from_a_page_has_no_body() {
        let first = say(1, 1);
        let head = Head {
            epoch: Epoch::new("e").unwrap(),
            offset: 3,
        };
        let mut log = begun(head, LogBudget::default());
        log.append(edit(&first, 4));
        log.prepend(vec![say(1, 1), edit(&first, 2), edit(&first, 3)]);
        let has_body = |offset| log.get(offset).unwrap().read().unwrap().body.is_some();
        assert_eq!([2, 3, 4].map(has_body), [false, false, true]);
        log.append(edit(&first, 5));
        let has_body = |offset| log.get(offset).unwrap().read().unwrap().body.is_some();
        assert_eq!([2, 3, 4, 5].map(has_body), [false, false, false, true]);
    }

    #[test]
    fn old_events_expire_and_the_head_stays() {
        let mut log = empty_log(0);
        for offset in 1..=4 {
            log.append(say(offset, 10 * offset));
        }
        log.expire(30);
        assert_eq!((log.floor(), log.head()), (2, 4));
        assert_eq!(log.after(1, 9), None);
        log.expire(99);
        assert_eq!((log.floor(), log.head()), (4, 4));
    }

    #[test]
    fn steps() {
        let log = of_page(page("e", 10, 8..=10));
        assert_eq!(log.step(&event("e", 11)), Step::Next);
        assert_eq!(log.step(&event("e", 10)), Step::Old);
        assert_eq!(log.step(&event("e", 12)), Step::Gap);
        assert_eq!(log.step(&event("f", 11)), Step::Gap);
        let other = Envelope {
            message: MessageId::new("other").unwrap(),
            ..event("e", 9)
        };
        assert_eq!(log.step(&other), Step::Fork);
        let after_other = Envelope {
            previous: Some(other.message),
            ..event("e", 11)
        };
        assert_eq!(log.step(&after_other), Step::Fork);
    }

    #[test]
    fn a_page_with_a_hole_keeps_only_its_end() {
        let mut holed = page("e", 10, 5..=10);
        holed.events.remove(2);
        assert_eq!(of_page(holed).floor(), 7);
        assert_eq!(of_page(page("e", 10, 5..=9)).floor(), 10);
    }

    #[test]
    fn it_is_bounded_and_gives_its_bytes_back() {
        let budget = LogBudget::default();
        let head = Head {
            epoch: Epoch::new("e").unwrap(),
            offset: 0,
        };
        let mut log = begun(head, budget.clone());
        for offset in 1..=2 * LOG_EVENTS as u64 {
            log.append(event("e", offset));
        }
        assert_eq!(log.recent.len(), LOG_EVENTS);
        assert_eq!(log.floor(), LOG_EVENTS as u64);
        drop(log);
        assert_eq!(budget.used(), 0);
    }
}
