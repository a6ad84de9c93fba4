//! One room's stream in memory: its events, its nonces, and what has been changed in it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use hubbub_protocol::event::{Change, ChangeKind, seal};
use hubbub_protocol::{Draft, Envelope, Epoch, Position};

use crate::digest::{Digest, DigestKey};
use crate::{Begin, Fork, Head, HistorySection, Page, Published, Span};

/// A nonce is kept for one to two generations.
pub(super) const NONCE_GENERATION: Duration = Duration::from_secs(15 * 60);
/// What an event costs beside its frame.
const EVENT_OVERHEAD: usize = 160;

#[derive(Debug)]
pub(super) struct MemoryStream {
    epoch: Epoch,
    /// `None`: the life began before this process.
    base: Option<u64>,
    top: u64,
    events: VecDeque<Kept>,
    /// Messages that were deleted, whether they are here or not; not more than events.
    deleted: BTreeSet<u64>,
    nonces: HashMap<Digest, u64>,
    older_nonces: HashMap<Digest, u64>,
    generation: Instant,
}

/// An event, and what takes its place once its message is deleted.
#[derive(Debug)]
struct Kept {
    event: Envelope,
    /// The message that it changes.
    target: Option<u64>,
    tombstone: Option<Envelope>,
}

/// What a publish will do, before it is done: it changes nothing until it is applied.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) outcomes: Vec<Published>,
    pub(super) events: Vec<Envelope>,
    kept: Vec<Kept>,
    nonces: Vec<(Digest, u64)>,
    /// Messages that are deleted, with what takes their place.
    /// `None`: the message itself is not here.
    buried: Vec<(u64, Option<Envelope>)>,
}

/// What a plan has changed.
pub(super) struct Applied {
    pub(super) added_bytes: usize,
    pub(super) removed_bytes: usize,
}

fn cost(event: &Envelope) -> usize {
    event.frame.len() + EVENT_OVERHEAD
}

impl MemoryStream {
    pub(super) fn begin(begin: &Begin) -> Self {
        let (epoch, top) = match begin {
            Begin::Never => (None, 0),
            Begin::Above { offset, epoch, .. } => (epoch.clone(), *offset),
        };
        Self {
            base: epoch.is_none().then_some(top),
            epoch: epoch.unwrap_or_else(Epoch::generate),
            top,
            events: VecDeque::new(),
            deleted: BTreeSet::new(),
            nonces: HashMap::new(),
            older_nonces: HashMap::new(),
            generation: Instant::now(),
        }
    }

    pub(super) fn head(&self) -> Head {
        Head {
            epoch: self.epoch.clone(),
            offset: self.top,
        }
    }

    pub(super) fn base(&self) -> Option<u64> {
        self.base
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// Drafts whose nonces are not known here.
    pub(super) fn unknown<'a>(
        &'a self,
        drafts: &'a [Draft],
        key: &'a DigestKey,
    ) -> impl Iterator<Item = &'a Draft> {
        drafts
            .iter()
            .filter(|draft| self.known(&key.digest(draft)).is_none())
    }

    /// A nonce that was used before this process began.
    pub(super) fn learn(&mut self, digest: Digest, offset: u64) {
        self.nonces.entry(digest).or_insert(offset);
    }

    pub(super) fn plan(&self, drafts: &[Draft], key: &DigestKey, ts: u64) -> Plan {
        let mut plan = Plan {
            outcomes: Vec::with_capacity(drafts.len()),
            events: Vec::new(),
            kept: Vec::new(),
            nonces: Vec::new(),
            buried: Vec::new(),
        };
        for draft in drafts {
            let digest = key.digest(draft);
            let in_batch = plan.nonces.iter().find(|(known, _)| *known == digest);
            let known = self.known(&digest).or(in_batch.map(|(_, offset)| *offset));
            let outcome = match known {
                Some(offset) => self.duplicate(offset, &plan),
                None if self.is_target_deleted(draft, &plan) => Published::Gone,
                None => self.place(draft, digest, ts, &mut plan),
            };
            plan.outcomes.push(outcome);
        }
        plan
    }

    fn place(&self, draft: &Draft, digest: Digest, ts: u64, plan: &mut Plan) -> Published {
        let position = Position {
            epoch: self.epoch.clone(),
            offset: self.top + plan.events.len() as u64 + 1,
        };
        let previous = plan.events.last();
        let previous = previous.or(self.events.back().map(|last| &last.event));
        let event = |open: &[u8]| Envelope {
            position: position.clone(),
            message: draft.message.clone(),
            previous: previous.map(|last| last.message.clone()),
            frame: seal(open, ts, &position),
        };
        let kept = Kept {
            event: event(&draft.open),
            target: draft.change.as_ref().map(|change| change.target),
            tombstone: match &draft.change {
                Some(Change {
                    kind: ChangeKind::Edit { open_tombstone },
                    ..
                }) => Some(event(open_tombstone)),
                Some(_) | None => None,
            },
        };
        if let Some(change) = &draft.change
            && let ChangeKind::Delete { tombstone } = &change.kind
        {
            let here = self.index_of(change.target);
            let bury = |index: usize| Envelope {
                frame: tombstone.clone(),
                ..self.events[index].event.clone()
            };
            plan.buried.push((change.target, here.map(bury)));
        }
        plan.nonces.push((digest, position.offset));
        plan.events.push(kept.event.clone());
        plan.kept.push(kept);
        Published::Stored { position, ts }
    }

    /// Does what was planned. Nothing else may have been applied since.
    pub(super) fn apply(&mut self, plan: Plan, history: &HistorySection) -> Applied {
        let mut applied = Applied {
            added_bytes: 0,
            removed_bytes: 0,
        };
        self.turn_generation();
        self.nonces.extend(plan.nonces);
        for kept in plan.kept {
            self.top = kept.event.position.offset;
            applied.added_bytes += cost(&kept.event);
            self.events.push_back(kept);
        }
        for (target, tombstone) in plan.buried {
            applied.removed_bytes += self.bury(target, tombstone.as_ref());
            self.deleted.insert(target);
        }
        while self.deleted.len() > history.stream_len {
            self.deleted.pop_first();
        }
        while self.events.len() > history.stream_len {
            let oldest = self.events.pop_front();
            applied.removed_bytes += oldest.map_or(0, |oldest| cost(&oldest.event));
        }
        applied
    }

    /// Puts tombstones in the place of a message and its edits; returns the bytes freed.
    fn bury(&mut self, target: u64, tombstone: Option<&Envelope>) -> usize {
        let mut freed = 0;
        for kept in &mut self.events {
            let grave = match (&kept.tombstone, tombstone) {
                (Some(grave), _) if kept.target == Some(target) => grave.clone(),
                (_, Some(grave)) if kept.event.position.offset == target => grave.clone(),
                _ => continue,
            };
            freed += cost(&kept.event).saturating_sub(cost(&grave));
            kept.event = grave;
        }
        freed
    }

    fn is_target_deleted(&self, draft: &Draft, plan: &Plan) -> bool {
        let Some(change) = &draft.change else {
            return false;
        };
        let is_buried = |event: &Envelope| event.read().is_ok_and(|event| event.deleted);
        matches!(change.kind, ChangeKind::TooLate)
            || self.deleted.contains(&change.target)
            || plan
                .buried
                .iter()
                .any(|(target, _)| *target == change.target)
            || self
                .index_of(change.target)
                .is_some_and(|index| is_buried(&self.events[index].event))
    }

    fn known(&self, digest: &Digest) -> Option<u64> {
        let known = self.nonces.get(digest);
        known.or_else(|| self.older_nonces.get(digest)).copied()
    }

    fn duplicate(&self, offset: u64, plan: &Plan) -> Published {
        let here = self.index_of(offset).map(|index| &self.events[index].event);
        let planned = || plan.events.iter().find(|e| e.position.offset == offset);
        let position = Position {
            epoch: self.epoch.clone(),
            offset,
        };
        let original = here.or_else(planned).map(|event| event.frame.clone());
        Published::Duplicate { position, original }
    }

    fn index_of(&self, offset: u64) -> Option<usize> {
        self.events
            .binary_search_by_key(&offset, |kept| kept.event.position.offset)
            .ok()
    }

    fn turn_generation(&mut self) {
        if self.generation.elapsed() >= NONCE_GENERATION {
            self.older_nonces = std::mem::take(&mut self.nonces);
            self.generation = Instant::now();
        }
    }

    pub(super) fn read(&self, span: Span, limit: usize) -> Page {
        let from = |offset: u64| {
            self.events
                .partition_point(|kept| kept.event.position.offset < offset)
        };
        let range = match span {
            Span::After(offset) => {
                let start = from(offset.saturating_add(1));
                start..self.events.len().min(start.saturating_add(limit))
            }
            Span::Before(offset) => from(offset).saturating_sub(limit)..from(offset),
            Span::Newest => self.events.len().saturating_sub(limit)..self.events.len(),
        };
        let events = self.events.range(range).map(|kept| kept.event.clone());
        Page {
            head: self.head(),
            events: events.collect(),
            base: self.base.unwrap_or(0),
            archived: None,
            is_private: false,
        }
    }

    /// The newest `limit` events that change one of these messages, in order.
    pub(super) fn changes(&self, first: u64, last: u64, limit: usize) -> Vec<Envelope> {
        let is_one = |kept: &&Kept| {
            let is_target = |target| (first..=last).contains(&target);
            kept.target.is_some_and(is_target)
        };
        let mut newest: Vec<_> = self
            .events
            .iter()
            .rev()
            .filter(is_one)
            .take(limit)
            .collect();
        newest.reverse();
        newest.into_iter().map(|kept| kept.event.clone()).collect()
    }

    /// Whether what was seen of this life is not what is here.
    pub(super) fn is_forked(&self, fork: &Fork) -> bool {
        let is_other = fork.event.as_ref().is_some_and(|(offset, message)| {
            let here = self.index_of(*offset);
            here.is_some_and(|index| self.events[index].event.message.is_other(message))
        });
        let is_kept = fork.only_empty && !self.events.is_empty();
        self.epoch == fork.epoch && !is_kept && (self.top < fork.seen || is_other)
    }

    /// Begins a new life above `seen`; returns the bytes freed.
    pub(super) fn begin_again(&mut self, seen: u64) -> usize {
        self.epoch = Epoch::generate();
        self.top = self.top.max(seen);
        self.base = Some(self.top);
        self.deleted.clear();
        self.nonces.clear();
        self.older_nonces.clear();
        self.clear()
    }

    /// Drops all events; returns the bytes freed.
    pub(super) fn clear(&mut self) -> usize {
        self.events.drain(..).map(|kept| cost(&kept.event)).sum()
    }

    /// Whether the event is still there.
    pub(super) fn keeps(&self, offset: u64) -> bool {
        let first = self.events.front();
        first.is_some_and(|first| first.event.position.offset <= offset)
    }

    /// Drops the event if it is the oldest; returns the bytes freed.
    pub(super) fn forget(&mut self, offset: u64) -> usize {
        let first = self.events.front();
        if first.is_some_and(|first| first.event.position.offset == offset) {
            let oldest = self.events.pop_front();
            return oldest.map_or(0, |oldest| cost(&oldest.event));
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hubbub_protocol::{MessageId, Nonce, UserId};

    use super::*;

    fn draft(nonce: &str) -> Draft {
        Draft {
            message: MessageId::generate(),
            from: UserId::new("alice").unwrap(),
            nonce: Nonce::new(nonce).unwrap(),
            change: None,
            open: Bytes::from_static(b"{\"type\":\"message\""),
        }
    }

    fn append(
        stream: &mut MemoryStream,
        drafts: &[Draft],
        history: &HistorySection,
    ) -> Vec<Published> {
        let mut plan = stream.plan(drafts, &DigestKey::derive(&[1; 32]), 1);
        let outcomes = std::mem::take(&mut plan.outcomes);
        stream.apply(plan, history);
        outcomes
    }

    fn filled(events: u64, history: &HistorySection) -> MemoryStream {
        let mut stream = MemoryStream::begin(&Begin::above(0));
        let drafts: Vec<_> = (0..events).map(|n| draft(&format!("n{n}"))).collect();
        append(&mut stream, &drafts, history);
        stream
    }

    #[test]
    fn the_oldest_events_leave_a_full_stream() {
        let history = HistorySection {
            stream_len: 3,
            ..HistorySection::default()
        };
        let room = filled(5, &history);
        let offsets = |page: Page| -> Vec<u64> {
            page.events
                .iter()
                .map(|event| event.position.offset)
                .collect()
        };
        assert_eq!(offsets(room.read(Span::After(0), 10)), [3, 4, 5]);
        assert_eq!(offsets(room.read(Span::After(3), 1)), [4]);
        assert_eq!(offsets(room.read(Span::Before(5), 1)), [4]);
        assert_eq!(offsets(room.read(Span::Newest, 2)), [4, 5]);
        assert_eq!(room.head().offset, 5);
    }

    #[test]
    fn a_duplicate_gives_the_first_place_even_when_its_event_has_left() {
        let history = HistorySection {
            stream_len: 1,
            ..HistorySection::default()
        };
        let mut room = filled(2, &history);
        let again = append(&mut room, &[draft("n0"), draft("n1")], &history);
        assert_eq!(room.head().offset, 2);
        let [
            Published::Duplicate {
                position: first,
                original: None,
            },
            Published::Duplicate {
                position: second,
                original: Some(_),
            },
        ] = &again[..]
        else {
            panic!("{again:?}")
        };
        assert_eq!((first.offset, second.offset), (1, 2));
    }

    #[test]
    fn a_new_life_begins_above_what_was_seen() {
        let mut room = MemoryStream::begin(&Begin::above(41));
        let outcomes = append(&mut room, &[draft("a")], &HistorySection::default());
        assert_eq!(outcomes[0].position().unwrap().offset, 42);
    }
}
