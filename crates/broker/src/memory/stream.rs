//! One room's stream in memory: its events, its nonces, and the changes of its messages.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use hubbub_protocol::event::{Change, ChangeKind, renumber, seal};
use hubbub_protocol::{Draft, Envelope, Epoch, EventKind, Frame, Position, StoredEvent};

use super::ledger::Payers;
use crate::digest::{Digest, DigestKey};
use crate::{Head, HistorySection, NewEpoch, Page, Place, Published, Span, StreamState};

/// A nonce is kept for one to two of these generations.
pub(super) const NONCE_GENERATION: Duration = Duration::from_secs(15 * 60);
/// Bytes that an event costs beside its frame.
const EVENT_OVERHEAD: usize = 160;

#[derive(Debug)]
pub(super) struct MemoryStream {
    epoch: Epoch,
    /// The offset above which the epoch began. `None`: the epoch began before this process.
    base: Option<u64>,
    top: u64,
    /// The user and address that began the room, if somebody pays for it.
    payers: Option<Payers>,
    events: VecDeque<Kept>,
    /// The bytes of the events.
    bytes: usize,
    /// How many of the bytes are booked: see [`super::State::settle`].
    pub(super) booked: usize,
    /// Deleted messages, whether they are still in the stream or not. At most `stream_len` of them.
    deleted: BTreeSet<u64>,
    nonces: HashMap<Digest, u64>,
    older_nonces: HashMap<Digest, u64>,
    generation: Instant,
}

/// An event, and the frame that replaces it once its body has to go.
#[derive(Debug)]
struct Kept {
    event: Envelope,
    /// The message that this event changes.
    target: Option<u64>,
    /// The frame without a body, for an edit that still has its body.
    tombstone: Option<Frame>,
}

/// A message's new form after an edit or a deletion.
#[derive(Debug)]
struct Rewrite {
    target: u64,
    /// The offset of the edit or the deletion.
    offset: u64,
    /// The frame that replaces the message, if the message is in the stream.
    instead: Frame,
    is_deletion: bool,
}

/// The prepared result of a publish. Nothing changes until it is applied.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) outcomes: Vec<Published>,
    pub(super) events: Vec<Envelope>,
    payers: Option<Payers>,
    kept: Vec<Kept>,
    nonces: Vec<(Digest, u64)>,
    rewrites: Vec<Rewrite>,
}

/// The name of the epoch that begins or is resumed.
fn name_of(begin: &NewEpoch, now: u64) -> Epoch {
    let resumed = begin.resume.clone();
    resumed.unwrap_or_else(|| Epoch::begin(now, begin.floor))
}

impl Kept {
    /// Returns the event moved into another epoch, `shift` offsets further. Its target moves too if
    /// it is at or above `from`.
    fn renumbered(self, epoch: &Epoch, from: u64, shift: u64) -> Self {
        let target = self.target.map(|target| {
            if target >= from {
                target + shift
            } else {
                target
            }
        });
        let position = Position {
            epoch: epoch.clone(),
            offset: self.event.position.offset + shift,
        };
        let renumbered = |frame: &Frame| renumber(frame, &position, target);
        Self {
            tombstone: self.tombstone.as_ref().map(renumbered),
            target,
            event: Envelope {
                frame: renumbered(&self.event.frame),
                position: position.clone(),
                previous: None,
                ..self.event
            },
        }
    }
}

fn cost(event: &Envelope) -> usize {
    event.frame.len() + EVENT_OVERHEAD
}

/// Whether the frame is a form of this event.
fn is_of(frame: &Frame, event: &Envelope) -> bool {
    StoredEvent::parse(frame.as_str()).is_ok_and(|parsed| parsed.message == event.message)
}

impl MemoryStream {
    /// Begins a room's first stream in this process. `now`: milliseconds since 1970.
    pub(super) fn begin(begin: &NewEpoch, now: u64) -> Self {
        Self {
            base: begin.resume.is_none().then_some(begin.above),
            epoch: name_of(begin, now),
            top: begin.above,
            payers: None,
            events: VecDeque::new(),
            bytes: 0,
            booked: 0,
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

    /// The bytes of its events.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The user and address that began the room, if somebody pays for it.
    pub(super) fn payers(&self) -> Option<&Payers> {
        self.payers.as_ref()
    }

    fn push(&mut self, kept: Kept) {
        self.bytes += cost(&kept.event);
        self.events.push_back(kept);
    }

    /// Drops the oldest event, if there is one.
    pub(super) fn drop_oldest(&mut self) {
        if let Some(oldest) = self.events.pop_front() {
            self.bytes -= cost(&oldest.event);
        }
    }

    /// Returns the drafts whose nonces are not known here.
    pub(super) fn unknown<'a>(
        &'a self,
        drafts: &'a [Draft],
        key: &'a DigestKey,
    ) -> impl Iterator<Item = &'a Draft> {
        drafts
            .iter()
            .filter(|draft| self.known(&key.digest(draft)).is_none())
    }

    /// Adds a nonce that was used before this process began.
    pub(super) fn learn(&mut self, digest: Digest, offset: u64) {
        self.nonces.entry(digest).or_insert(offset);
    }

    pub(super) fn plan(&self, drafts: &[Draft], key: &DigestKey, ts: u64) -> Plan {
        let mut plan = Plan {
            outcomes: Vec::with_capacity(drafts.len()),
            events: Vec::new(),
            payers: drafts.first().and_then(|draft| {
                let (user, address) = (draft.from.clone(), draft.address?);
                Some(Payers { user, address })
            }),
            kept: Vec::new(),
            nonces: Vec::new(),
            rewrites: Vec::new(),
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
        let event = Envelope {
            position: position.clone(),
            message: draft.message.clone(),
            previous: previous.map(|last| last.message.clone()),
            frame: seal(&draft.open, ts, &position),
        };
        let mut kept = Kept {
            event,
            target: draft.change.as_ref().map(|change| change.target),
            tombstone: None,
        };
        let offset = position.offset;
        let rewrite = |target: &u64, instead: Frame, is_deletion| Rewrite {
            target: *target,
            offset,
            instead,
            is_deletion,
        };
        if let Some(Change { target, kind, .. }) = &draft.change {
            match kind {
                ChangeKind::Edit {
                    open_tombstone,
                    replacement,
                } => {
                    kept.tombstone = Some(seal(open_tombstone, ts, &position));
                    let instead = replacement.seal(ts, offset);
                    plan.rewrites.push(rewrite(target, instead, false));
                }
                ChangeKind::Delete { tombstone } => {
                    plan.rewrites.push(rewrite(target, tombstone.clone(), true));
                }
                ChangeKind::React | ChangeKind::TooLate => {}
            }
        }
        plan.nonces.push((digest, position.offset));
        plan.events.push(kept.event.clone());
        plan.kept.push(kept);
        Published::Stored { position, ts }
    }

    /// Does what was planned. Nothing else may have been applied since. Returns what the new events
    /// cost.
    pub(super) fn apply(&mut self, plan: Plan, history: &HistorySection) -> usize {
        self.turn_generation();
        self.nonces.extend(plan.nonces);
        if self.top == 0 {
            self.payers = plan.payers;
        }
        let before = self.bytes;
        for kept in plan.kept {
            self.top = kept.event.position.offset;
            self.push(kept);
        }
        let added = self.bytes - before;
        for rewrite in plan.rewrites {
            self.rewrite(&rewrite);
        }
        while self.deleted.len() > history.stream_len {
            self.deleted.pop_first();
        }
        let most = usize::try_from(history.stream_bytes.as_u64()).unwrap_or(usize::MAX);
        while self.events.len() > history.stream_len || (self.bytes > most && self.len() > 1) {
            self.drop_oldest();
        }
        added
    }

    /// Gives a message its new form and removes the bodies of its earlier edits.
    fn rewrite(&mut self, rewrite: &Rewrite) {
        if rewrite.is_deletion {
            self.deleted.insert(rewrite.target);
        }
        for kept in &mut self.events {
            let place = kept.event.position.offset;
            let is_edit = kept.target == Some(rewrite.target) && place < rewrite.offset;
            let frame = if place == rewrite.target && is_of(&rewrite.instead, &kept.event) {
                rewrite.instead.clone()
            } else if let Some(tombstone) = kept.tombstone.take_if(|_| is_edit) {
                tombstone
            } else {
                continue;
            };
            self.bytes -= cost(&kept.event);
            kept.event.frame = frame;
            self.bytes += cost(&kept.event);
        }
    }

    fn is_target_deleted(&self, draft: &Draft, plan: &Plan) -> bool {
        let Some(change) = &draft.change else {
            return false;
        };
        let is_buried = |event: &Envelope| event.read().is_ok_and(|event| event.deleted);
        matches!(change.kind, ChangeKind::TooLate)
            || self.is_foreign(change)
            || self.deleted.contains(&change.target)
            || plan
                .rewrites
                .iter()
                .any(|rewrite| rewrite.is_deletion && rewrite.target == change.target)
            || self
                .index_of(change.target)
                .is_some_and(|index| is_buried(&self.events[index].event))
    }

    /// Whether the target belongs to another epoch and is not in this room.
    fn is_foreign(&self, change: &Change) -> bool {
        let Some(epoch) = change.epoch.as_ref().filter(|epoch| **epoch != self.epoch) else {
            return false;
        };
        match self.index_of(change.target) {
            Some(index) => self.events[index].event.position.epoch != *epoch,
            // A target that has left the stream with everything before it may be in the archive.
            None => self.keeps(change.target) || self.base.is_some_and(|base| change.target > base),
        }
    }

    fn known(&self, digest: &Digest) -> Option<u64> {
        let known = self.nonces.get(digest);
        known.or_else(|| self.older_nonces.get(digest)).copied()
    }

    fn duplicate(&self, offset: u64, plan: &Plan) -> Published {
        let here = self.index_of(offset).map(|index| &self.events[index].event);
        let planned = || plan.events.iter().find(|e| e.position.offset == offset);
        let original = here.or_else(planned);
        // The event may be of an epoch that has ended, so its own position counts.
        let position = original.map_or_else(
            || Position {
                epoch: self.epoch.clone(),
                offset,
            },
            |event| event.position.clone(),
        );
        Published::Duplicate {
            position,
            original: original.map(|event| event.frame.clone()),
        }
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

    /// Returns the changes of these messages above `above`, in order: the edits and deletions that
    /// are in force, and at most `most` reactions, those of the newest messages first.
    pub(super) fn changes(
        &self,
        messages: &[RangeInclusive<u64>],
        above: u64,
        most: usize,
    ) -> Vec<Envelope> {
        let is_one = |target| messages.iter().any(|part| part.contains(&target));
        let newer = self.events.iter().rev();
        let newer = newer.take_while(|kept| kept.event.position.offset > above);
        let (mut found, mut reactions) = (Vec::new(), Vec::new());
        for kept in newer {
            let Some(target) = kept.target.filter(|target| is_one(*target)) else {
                continue;
            };
            match kept.event.kind() {
                EventKind::Reacted => reactions.push((target, kept)),
                // An edit that was followed by another edit has no body.
                EventKind::Edited if kept.tombstone.is_none() => {}
                EventKind::Edited | EventKind::Message | EventKind::Deleted => found.push(kept),
            }
        }
        // Stable: the newest reaction to a message comes first.
        reactions.sort_by_key(|(target, _)| std::cmp::Reverse(*target));
        found.extend(reactions.into_iter().take(most).map(|(_, kept)| kept));
        found.sort_unstable_by_key(|kept| kept.event.position.offset);
        found.into_iter().map(|kept| kept.event.clone()).collect()
    }

    /// Drops the oldest events that were stored before `cutoff`.
    pub(super) fn expire(&mut self, cutoff: u64) {
        while let Some(oldest) = self.events.front() {
            // An event that cannot be read has no time that would keep it.
            if oldest.event.read().is_ok_and(|event| event.ts >= cutoff) {
                break;
            }
            self.drop_oldest();
        }
    }

    /// Returns where the stream stands. Its data is lost only with the process, so every stream is
    /// reconciled.
    pub(super) fn state(&self) -> StreamState {
        let last = self.events.back().map(|kept| &kept.event);
        StreamState {
            head: self.head(),
            base: self.base.unwrap_or(0),
            last: last.map(|event| Place {
                position: event.position.clone(),
                message: Some(event.message.clone()),
            }),
            archived: None,
            is_private: false,
            reconciled: Some(self.top),
            lost: Vec::new(),
        }
    }

    /// Begins a new epoch. Older events stay where they are, but for those that move into it.
    pub(super) fn begin_again(&mut self, begin: &NewEpoch, now: u64) {
        let base = self.top.max(begin.above);
        let begin = &NewEpoch {
            floor: begin.floor.max(self.epoch.number()),
            ..begin.clone()
        };
        self.epoch = name_of(begin, now);
        self.base = Some(base);
        self.top = base;
        let first = begin.carry_from.unwrap_or(u64::MAX);
        let first = self
            .events
            .partition_point(|kept| kept.event.position.offset < first);
        let moving = self.events.split_off(first);
        let Some(from) = moving.front().map(|kept| kept.event.position.offset) else {
            return;
        };
        self.bytes -= moving.iter().map(|kept| cost(&kept.event)).sum::<usize>();
        let shift = base + 1 - from;
        for kept in moving {
            let kept = kept.renumbered(&self.epoch, from, shift);
            self.top = kept.event.position.offset;
            self.push(kept);
        }
        for offset in self
            .nonces
            .values_mut()
            .chain(self.older_nonces.values_mut())
        {
            *offset += if *offset >= from { shift } else { 0 };
        }
    }

    /// Drops all events.
    pub(super) fn clear(&mut self) {
        self.events.clear();
        self.bytes = 0;
    }

    /// Whether the event is still in the stream.
    pub(super) fn keeps(&self, offset: u64) -> bool {
        let first = self.events.front();
        first.is_some_and(|first| first.event.position.offset <= offset)
    }

    /// Drops the event if it is the oldest.
    pub(super) fn forget(&mut self, offset: u64) {
        let first = self.events.front();
        if first.is_some_and(|first| first.event.position.offset == offset) {
            self.drop_oldest();
        }
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
            address: None,
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
        let mut stream = MemoryStream::begin(&NewEpoch::first(), 0);
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
    fn the_oldest_events_leave_a_stream_with_too_many_bytes() {
        let history = HistorySection {
            stream_bytes: bytesize::ByteSize::b(1_000),
            ..HistorySection::default()
        };
        let mut room = filled(50, &history);
        assert!(room.len() > 1 && room.bytes() <= 1_000, "{}", room.bytes());
        let counted: usize = room.events.iter().map(|kept| cost(&kept.event)).sum();
        assert_eq!(room.bytes(), counted);
        let large = Draft {
            open: Bytes::from(vec![b'x'; 5_000]),
            ..draft("large")
        };
        append(&mut room, &[large], &history);
        assert_eq!(room.len(), 1, "the newest stays, however large it is");
        room.clear();
        assert_eq!(room.bytes(), 0);
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
    fn a_new_epoch_begins_above_what_was_seen() {
        let begin = NewEpoch {
            above: 41,
            ..NewEpoch::first()
        };
        let mut room = MemoryStream::begin(&begin, 0);
        let outcomes = append(&mut room, &[draft("a")], &HistorySection::default());
        assert_eq!(outcomes[0].position().unwrap().offset, 42);
    }
}
