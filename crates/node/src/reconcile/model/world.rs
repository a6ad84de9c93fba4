//! The model's world: carries out every step as nodes, scripts and the archive would.

use std::collections::{BTreeMap, BTreeSet};

use hubbub_protocol::Position;

use super::parties::{Client, Event, Log, Node, Redis, Stream, key};
use super::{Happening, Rules};

pub(super) const NODES: usize = 2;
/// Comparisons after which a node that is still blocked counts as stuck.
const ROUNDS: usize = 8;

pub(super) struct World {
    pub(super) rules: Rules,
    pub(super) redis: Redis,
    pub(super) copy: Redis,
    pub(super) nodes: Vec<Node>,
    pub(super) archive: BTreeMap<(String, u64), u64>,
    pub(super) archive_copy: BTreeMap<(String, u64), u64>,
    pub(super) fence: u64,
    /// The newest run that the archive knows.
    pub(super) archive_run: u64,
    pub(super) read: Option<(u64, Vec<Event>)>,
    pub(super) client: Option<Client>,
    pub(super) next_id: u64,
    pub(super) next_run: u64,
    pub(super) clock: u64,
    pub(super) acked: BTreeMap<(String, u64), u64>,
    /// Acked events that must be in some store.
    pub(super) kept: BTreeSet<u64>,
    /// The faults found so far.
    pub(super) faults: Vec<String>,
}

impl World {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            redis: Redis::default(),
            copy: Redis::default(),
            nodes: vec![Node::default(); NODES],
            archive: BTreeMap::new(),
            archive_copy: BTreeMap::new(),
            fence: 0,
            archive_run: 0,
            read: None,
            client: None,
            next_id: 0,
            next_run: 0,
            clock: 1_796_000_000_000,
            acked: BTreeMap::new(),
            kept: BTreeSet::new(),
            faults: Vec::new(),
        }
    }

    pub(super) fn happen(&mut self, happening: Happening) {
        self.clock += 1;
        match happening {
            Happening::Send { node, count } => (0..count).for_each(|_| self.send(node)),
            Happening::Follow { node } => self.follow(node),
            Happening::Close { node } => {
                self.nodes[node].log = None;
                self.nodes[node].known.clear();
                if node == 0 {
                    self.leave();
                }
            }
            Happening::Restart => {
                let fresh = Node {
                    newest_run: self.archive_run,
                    ..Node::default()
                };
                self.nodes.fill(fresh);
                self.read = None;
                self.leave();
                self.end_older_run();
            }
            Happening::Read => self.read(),
            Happening::Commit => self.commit(),
            Happening::Copy => self.copy = self.redis.clone(),
            Happening::Restore => {
                self.next_run += 1;
                self.redis = Redis {
                    run: self.next_run,
                    ..self.copy.clone()
                };
                self.excuse();
            }
            Happening::Swap => {
                if self.copy.run == self.redis.run {
                    self.next_run += 1;
                    self.copy.run = self.next_run;
                }
                std::mem::swap(&mut self.redis, &mut self.copy);
                self.end_older_run();
                self.excuse();
            }
            Happening::Empty => {
                self.next_run += 1;
                self.redis = Redis {
                    stream: None,
                    run: self.next_run,
                };
                self.excuse();
            }
            Happening::CopyArchive => {
                self.archive_copy = self.archive.clone();
            }
            Happening::RestoreArchive => {
                self.archive = self.archive_copy.clone();
                self.excuse();
            }
            Happening::Leave => self.leave(),
            Happening::Return => self.come_back(),
        }
        self.archive_run = self.archive_run.max(self.redis.run);
        for node in &mut self.nodes {
            node.newest_run = node.newest_run.max(self.redis.run);
        }
    }

    /// Replaces a run that is older than one that a living node or the archive knows.
    fn end_older_run(&mut self) {
        let known = self.nodes.iter().map(|node| node.newest_run);
        if known
            .chain([self.archive_run])
            .any(|known| self.redis.run < known)
        {
            self.next_run += 1;
            self.redis.run = self.next_run;
        }
    }

    fn leave(&mut self) {
        if let Some(client) = &mut self.client {
            client.is_away = true;
        }
    }

    /// Forgets the acked events that no store holds any more, because a store has lost them.
    fn excuse(&mut self) {
        let stream = self.redis.stream.as_ref();
        let here = stream.into_iter().flat_map(|stream| &stream.events);
        let mut there: BTreeSet<u64> = here.map(|event| event.id).collect();
        there.extend(self.archive.values());
        self.kept.retain(|id| there.contains(id));
    }

    fn send(&mut self, node: usize) {
        for _ in 0..ROUNDS {
            if !self.is_reliable(node) {
                self.reconcile(Some(node), true);
            }
        }
        if !self.is_reliable(node) {
            return self.faults.push("a send is never stored".to_owned());
        }
        let Some(stream) = &mut self.redis.stream else {
            return;
        };
        stream.top += 1;
        let event = Event {
            position: Position {
                epoch: stream.epoch.clone(),
                offset: stream.top,
            },
            id: self.next_id,
        };
        self.next_id += 1;
        stream.events.push(event.clone());
        self.kept.insert(event.id);
        let key = key(&event.position);
        let before = self.acked.insert(key.clone(), event.id);
        let is_stored = before.is_some_and(|before| self.kept.contains(&before));
        if is_stored || self.nodes.iter().any(|node| node.known.contains(&key)) {
            self.faults.push(format!("acked twice: {event:?}"));
        }
        self.nodes[node].known.insert(key);
        self.nodes[node].seen = Some(event.place());
    }

    /// Does the same as `Node::catch_up`. The client is connected to node 0.
    fn follow(&mut self, node: usize) {
        for _ in 0..ROUNDS {
            if self.redis.stream.is_none() {
                self.reconcile(Some(node), false);
            }
            let Some(stream) = self.redis.stream.clone() else {
                return;
            };
            let log = self.nodes[node].log.clone();
            let stands = log.as_ref().is_none_or(|log| {
                let seen = self.newest_seen(node);
                let last = log.events.last();
                let last = last.filter(|last| last.position.epoch == stream.epoch);
                let is_other = last
                    .is_some_and(|last| stream.at(&last.position).is_some_and(|id| id != last.id));
                !is_other && seen.is_none_or(|seen| self.stands(&stream, &seen))
            });
            if !stands {
                self.reconcile(Some(node), false);
                continue;
            }
            let before = log.filter(|log| log.head.epoch == stream.epoch);
            let mut log = before.unwrap_or(Log {
                head: Position {
                    epoch: stream.epoch.clone(),
                    offset: stream.base,
                },
                events: Vec::new(),
            });
            let fresh = stream.events.iter().filter(|event| {
                event.position.epoch == stream.epoch && event.position.offset > log.head.offset
            });
            let fresh: Vec<Event> = fresh.cloned().collect();
            if node == 0 {
                self.give(&stream, &fresh);
            }
            log.head.offset = stream.top;
            log.events.extend(fresh.iter().cloned());
            self.nodes[node].log = Some(log);
            let known = fresh.iter().map(|event| key(&event.position));
            self.nodes[node].known.extend(known);
            return;
        }
        self.faults
            .push("a room is compared again and again".to_owned());
    }

    /// Gives live events to the client, after a reset if a new epoch has begun.
    fn give(&mut self, stream: &Stream, fresh: &[Event]) {
        let Some(client) = &mut self.client else {
            // The first client begins at the room's present top.
            self.client = Some(Client {
                since: Position {
                    epoch: stream.epoch.clone(),
                    offset: stream.top,
                },
                given: Vec::new(),
                is_away: false,
            });
            return;
        };
        if client.is_away {
            return;
        }
        if client.since.epoch != stream.epoch {
            client.since = Position {
                epoch: stream.epoch.clone(),
                offset: stream.base,
            };
            client.given.clear();
        }
        let last = client
            .given
            .last()
            .map_or(client.since.offset, |last| last.position.offset);
        let later = fresh.iter().filter(|event| event.position.offset > last);
        client.given.extend(later.cloned());
    }

    fn come_back(&mut self) {
        self.follow(0);
        let Some(stream) = self.redis.stream.clone() else {
            return;
        };
        let rules = self.rules;
        let Some(client) = self.client.as_mut().filter(|client| client.is_away) else {
            return;
        };
        client.is_away = false;
        let last = client.given.last();
        let position = last.map_or(&client.since, |last| &last.position).clone();
        let is_same = position.epoch == stream.epoch && position.offset <= stream.top;
        let is_other = rules.ids
            && last.is_some_and(|last| stream.at(&last.position).is_some_and(|id| id != last.id));
        if is_same && !is_other {
            let missed = stream.events.iter().filter(|event| {
                event.position.epoch == stream.epoch && event.position.offset > position.offset
            });
            client.given.extend(missed.cloned());
            return;
        }
        client.since = Position {
            epoch: stream.epoch.clone(),
            offset: stream.top,
        };
        client.given.clear();
    }

    /// The archive's owner compares the stream and reads the events that the archive lacks.
    fn read(&mut self) {
        if self.redis.stream.is_none() {
            return;
        }
        self.reconcile(None, true);
        let Some(stream) = &self.redis.stream else {
            return;
        };
        let lacks = |event: &&Event| !self.archive.contains_key(&key(&event.position));
        let events = stream.events.iter().filter(lacks).cloned().collect();
        self.read = Some((self.redis.run, events));
    }

    fn commit(&mut self) {
        let Some((run, events)) = self.read.take() else {
            return;
        };
        if self.rules.first_ack && run != self.fence {
            return;
        }
        for event in events {
            let there = self.archive.entry(key(&event.position)).or_insert(event.id);
            if *there != event.id {
                self.faults
                    .push(format!("the place of {event:?} is taken by {there}"));
            }
        }
    }

    /// Lets everything come to rest. Returns the faults.
    pub(super) fn end(mut self) -> Vec<String> {
        for node in 0..NODES {
            self.happen(Happening::Follow { node });
        }
        self.happen(Happening::Return);
        for _ in 0..2 {
            self.happen(Happening::Read);
            self.happen(Happening::Commit);
        }
        for node in 0..NODES {
            self.happen(Happening::Follow { node });
        }
        let stream = self.redis.stream.as_ref();
        let mut there: BTreeSet<u64> = self.archive.values().copied().collect();
        there.extend(
            stream
                .into_iter()
                .flat_map(|stream| &stream.events)
                .map(|event| event.id),
        );
        for id in self.kept.difference(&there) {
            self.faults.push(format!("acked and in no store: {id}"));
        }
        if let (Some(stream), Some(client)) = (stream, &self.client) {
            let own = stream.events.iter().filter(|event| {
                let Position { epoch, offset } = &event.position;
                *epoch == client.since.epoch && *offset > client.since.offset
            });
            let own: Vec<&Event> = own.collect();
            let given: Vec<&Event> = client.given.iter().collect();
            if !client.is_away && own != given {
                self.faults
                    .push(format!("the client has {given:?} instead of {own:?}"));
            }
        }
        self.faults
    }
}
