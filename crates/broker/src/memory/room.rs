//! One room of the embedded broker: its stream, its nonces, its subscribers and its users.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use hubbub_protocol::event::seal;
use hubbub_protocol::{Draft, Envelope, Epoch, Position, PresenceDelta, User, UserId};

use crate::digest::{Digest, DigestKey};
use crate::{Attendance, Fork, Head, HistorySection, Page, Presence, Published, Span};

/// A nonce is kept for one to two generations.
const NONCE_GENERATION: Duration = Duration::from_secs(15 * 60);
/// What an event costs beside its frame.
const EVENT_OVERHEAD: usize = 160;

#[derive(Debug)]
pub(super) struct MemoryRoom {
    epoch: Epoch,
    top: u64,
    stream: VecDeque<Envelope>,
    nonces: HashMap<Digest, u64>,
    older_nonces: HashMap<Digest, u64>,
    generation: Instant,
    subscribers: BTreeSet<u64>,
    users: HashMap<UserId, Present>,
    presence_version: u64,
    /// The newest event or presence change; `None`: there was none yet.
    changed: Option<Instant>,
    used: Instant,
}

#[derive(Debug)]
struct Present {
    user: User,
    nodes: HashSet<u64>,
}

/// What an append did.
pub(super) struct Appended {
    pub(super) outcomes: Vec<Published>,
    pub(super) events: Vec<Envelope>,
    pub(super) added_bytes: usize,
    pub(super) removed_bytes: usize,
}

fn cost(event: &Envelope) -> usize {
    event.frame.len() + EVENT_OVERHEAD
}

impl MemoryRoom {
    pub(super) fn begin(seen: u64) -> Self {
        Self {
            epoch: Epoch::generate(),
            top: seen,
            stream: VecDeque::new(),
            nonces: HashMap::new(),
            older_nonces: HashMap::new(),
            generation: Instant::now(),
            subscribers: BTreeSet::new(),
            users: HashMap::new(),
            presence_version: 0,
            changed: None,
            used: Instant::now(),
        }
    }

    pub(super) fn head(&self) -> Head {
        Head {
            epoch: self.epoch.clone(),
            offset: self.top,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.stream.len()
    }

    pub(super) fn changed(&self) -> Option<Instant> {
        self.changed
    }

    pub(super) fn append(
        &mut self,
        drafts: &[Draft],
        key: &DigestKey,
        ts: u64,
        history: &HistorySection,
    ) -> Appended {
        let mut appended = Appended {
            outcomes: Vec::with_capacity(drafts.len()),
            events: Vec::new(),
            added_bytes: 0,
            removed_bytes: 0,
        };
        self.turn_generation();
        for draft in drafts {
            let digest = key.digest(draft);
            let outcome = match self.known(&digest) {
                Some(position) => self.duplicate(position),
                None => {
                    let event = self.store(draft, digest, ts);
                    appended.added_bytes += cost(&event);
                    let position = event.position.clone();
                    appended.events.push(event);
                    Published::Stored { position, ts }
                }
            };
            appended.outcomes.push(outcome);
        }
        while self.stream.len() > history.stream_len {
            appended.removed_bytes += self.stream.pop_front().as_ref().map_or(0, cost);
        }
        appended
    }

    fn store(&mut self, draft: &Draft, digest: Digest, ts: u64) -> Envelope {
        self.top += 1;
        let position = Position {
            epoch: self.epoch.clone(),
            offset: self.top,
        };
        let frame = seal(&draft.open, ts, &position);
        let previous = self.stream.back().map(|last| last.message.clone());
        let event = Envelope {
            position,
            message: draft.message.clone(),
            previous,
            frame,
        };
        self.nonces.insert(digest, self.top);
        self.stream.push_back(event.clone());
        self.used = Instant::now();
        self.changed = Some(self.used);
        event
    }

    fn known(&self, digest: &Digest) -> Option<Position> {
        let offset = *self
            .nonces
            .get(digest)
            .or_else(|| self.older_nonces.get(digest))?;
        Some(Position {
            epoch: self.epoch.clone(),
            offset,
        })
    }

    fn duplicate(&self, position: Position) -> Published {
        let original = self
            .index_of(position.offset)
            .map(|index| self.stream[index].frame.clone());
        Published::Duplicate { position, original }
    }

    fn index_of(&self, offset: u64) -> Option<usize> {
        self.stream
            .binary_search_by_key(&offset, |event| event.position.offset)
            .ok()
    }

    fn turn_generation(&mut self) {
        if self.generation.elapsed() >= NONCE_GENERATION {
            self.older_nonces = std::mem::take(&mut self.nonces);
            self.generation = Instant::now();
        }
    }

    pub(super) fn read(&mut self, span: Span, limit: usize) -> Page {
        self.used = Instant::now();
        let from = |offset: u64| self.stream.partition_point(|e| e.position.offset < offset);
        let range = match span {
            Span::After(offset) => {
                let start = from(offset.saturating_add(1));
                start..self.stream.len().min(start.saturating_add(limit))
            }
            Span::Before(offset) => from(offset).saturating_sub(limit)..from(offset),
            Span::Newest => self.stream.len().saturating_sub(limit)..self.stream.len(),
        };
        Page {
            head: self.head(),
            events: self.stream.range(range).cloned().collect(),
        }
    }

    /// Whether what was seen of this life is not what is here.
    pub(super) fn is_forked(&self, fork: &Fork) -> bool {
        let is_other = fork.event.as_ref().is_some_and(|(offset, message)| {
            let here = self
                .index_of(*offset)
                .map(|index| &self.stream[index].message);
            here.is_some_and(|here| here != message)
        });
        let is_kept = fork.only_empty && !self.stream.is_empty();
        self.epoch == fork.epoch && !is_kept && (self.top < fork.seen || is_other)
    }

    /// Begins a new life above `seen`; returns the bytes freed.
    pub(super) fn begin_again(&mut self, seen: u64) -> usize {
        self.epoch = Epoch::generate();
        self.top = self.top.max(seen);
        self.nonces.clear();
        self.older_nonces.clear();
        self.stream.drain(..).map(|event| cost(&event)).sum()
    }

    /// Whether the event is still there.
    pub(super) fn keeps(&self, offset: u64) -> bool {
        self.stream
            .front()
            .is_some_and(|first| first.position.offset <= offset)
    }

    /// Drops the event if it is the oldest; returns the bytes freed.
    pub(super) fn forget(&mut self, offset: u64) -> usize {
        if self
            .stream
            .front()
            .is_some_and(|first| first.position.offset == offset)
        {
            return self.stream.pop_front().as_ref().map_or(0, cost);
        }
        0
    }

    /// Drops a stream that has been quiet for its life; returns the bytes freed.
    pub(super) fn expire(&mut self, history: &HistorySection) -> usize {
        if self.used.elapsed() < history.stream_ttl {
            return 0;
        }
        self.stream.drain(..).map(|event| cost(&event)).sum()
    }

    /// Whether nothing would be missed if the room were dropped.
    pub(super) fn is_forgotten(&self, history: &HistorySection) -> bool {
        let unused = self.subscribers.is_empty() && self.users.is_empty();
        let never_used = self.top == 0 && self.used.elapsed() > NONCE_GENERATION;
        unused && (never_used || self.used.elapsed() >= history.meta_ttl)
    }

    pub(super) fn subscribers(&self) -> impl Iterator<Item = &u64> {
        self.subscribers.iter()
    }

    pub(super) fn subscribe(&mut self, node: u64) -> bool {
        self.subscribers.insert(node)
    }

    pub(super) fn unsubscribe(&mut self, node: u64) -> bool {
        self.subscribers.remove(&node)
    }

    pub(super) fn register(&mut self, node: u64, users: &[Attendance]) -> Option<PresenceDelta> {
        let (mut joined, mut left) = (Vec::new(), Vec::new());
        for user in users {
            match user {
                Attendance::Enter(user) => joined.extend(self.enter(node, user)),
                Attendance::Exit(id) => left.extend(self.exit(node, id)),
            }
        }
        (!joined.is_empty() || !left.is_empty()).then(|| self.delta(joined, left))
    }

    fn enter(&mut self, node: u64, user: &User) -> Option<User> {
        let present = self
            .users
            .entry(user.id.clone())
            .or_insert_with(|| Present {
                user: user.clone(),
                nodes: HashSet::new(),
            });
        let is_first = present.nodes.is_empty();
        present.nodes.insert(node);
        is_first.then(|| user.clone())
    }

    fn exit(&mut self, node: u64, user: &UserId) -> Option<User> {
        let present = self.users.get_mut(user)?;
        if !present.nodes.remove(&node) || !present.nodes.is_empty() {
            return None;
        }
        Some(self.users.remove(user)?.user)
    }

    pub(super) fn exit_all(&mut self, node: u64) -> Option<PresenceDelta> {
        let users: Vec<_> = self.users.keys().cloned().map(Attendance::Exit).collect();
        self.register(node, &users)
    }

    fn delta(&mut self, joined: Vec<User>, left: Vec<User>) -> PresenceDelta {
        self.presence_version += 1;
        self.used = Instant::now();
        self.changed = Some(self.used);
        PresenceDelta {
            version: self.presence_version,
            count: self.users.len() as u64,
            joined,
            left,
        }
    }

    pub(super) fn presence(&self, limit: usize) -> Presence {
        let members = if self.users.len() > limit {
            Vec::new()
        } else {
            self.users
                .values()
                .map(|present| present.user.clone())
                .collect()
        };
        Presence {
            version: self.presence_version,
            count: self.users.len() as u64,
            members,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hubbub_protocol::{MessageId, Nonce};

    use super::*;

    fn draft(nonce: &str) -> Draft {
        Draft {
            message: MessageId::generate(),
            from: UserId::new("alice").unwrap(),
            nonce: Nonce::new(nonce).unwrap(),
            open: Bytes::from_static(b"{\"type\":\"message\""),
        }
    }

    fn filled(events: u64, history: &HistorySection) -> MemoryRoom {
        let mut room = MemoryRoom::begin(0);
        let drafts: Vec<_> = (0..events).map(|n| draft(&format!("n{n}"))).collect();
        room.append(&drafts, &DigestKey::derive(&[1; 32]), 1, history);
        room
    }

    #[test]
    fn the_oldest_events_leave_a_full_stream() {
        let history = HistorySection {
            stream_len: 3,
            ..HistorySection::default()
        };
        let mut room = filled(5, &history);
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
        let key = DigestKey::derive(&[1; 32]);
        let again = room.append(&[draft("n0"), draft("n1")], &key, 2, &history);
        assert!(again.events.is_empty());
        let [
            Published::Duplicate {
                position: first,
                original: None,
            },
            Published::Duplicate {
                position: second,
                original: Some(_),
            },
        ] = &again.outcomes[..]
        else {
            panic!("{:?}", again.outcomes)
        };
        assert_eq!((first.offset, second.offset), (1, 2));
    }

    #[test]
    fn a_user_on_two_nodes_counts_once() {
        let mut room = MemoryRoom::begin(0);
        let user = User {
            id: UserId::new("a").unwrap(),
            name: "A".to_owned(),
        };
        let enter = [Attendance::Enter(user.clone())];
        let exit = [Attendance::Exit(user.id.clone())];
        assert_eq!(room.register(1, &enter).unwrap().count, 1);
        assert_eq!(room.register(2, &enter), None);
        assert_eq!(room.register(1, &exit), None);
        let gone = room.register(2, &exit).unwrap();
        assert_eq!((gone.count, gone.version, gone.left), (0, 2, vec![user]));
    }

    #[test]
    fn a_new_life_begins_above_what_was_seen() {
        let mut room = MemoryRoom::begin(41);
        let key = DigestKey::derive(&[1; 32]);
        let appended = room.append(&[draft("a")], &key, 1, &HistorySection::default());
        assert_eq!(appended.events[0].position.offset, 42);
    }
}
