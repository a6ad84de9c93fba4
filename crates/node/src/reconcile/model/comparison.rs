//! The model's comparison. It does the same as the scripts and [`crate::node::Node`], and uses the
//! real rule.

use hubbub_broker::{Outcome, Place};
use hubbub_protocol::{Epoch, EpochOrder, Position};

use super::super::judge::{Known, Witness, judge};
use super::super::places::is_later;
use super::parties::{Event, Log, Stream, key, message};
use super::world::{NODES, World};

impl World {
    /// Does the same as `publish.lua`.
    pub(super) fn is_reliable(&self, node: usize) -> bool {
        let Some(stream) = &self.redis.stream else {
            return false;
        };
        let run = stream.reconciled.map(|(run, _)| run);
        let is_compared = !self.rules.first_ack || run == Some(self.redis.run);
        let seen = self.newest_seen(node);
        let stands = seen.is_none_or(|seen| self.stands(stream, &seen));
        is_compared && stands
    }

    pub(super) fn stands(&self, stream: &Stream, seen: &Position) -> bool {
        match stream.epoch.order(&seen.epoch) {
            EpochOrder::Same => stream.top >= seen.offset,
            EpochOrder::Newer => !self.rules.order || stream.top >= seen.offset,
            EpochOrder::Older | EpochOrder::Rival => !self.rules.order,
        }
    }

    /// The places that a node has seen: the last one that it got for a send, and the last one that
    /// it followed.
    fn places_of(&self, node: usize) -> Vec<Place> {
        let node = &self.nodes[node];
        let heard = node.log.as_ref().map(Log::place);
        node.seen.iter().cloned().chain(heard).collect()
    }

    pub(super) fn newest_seen(&self, node: usize) -> Option<Position> {
        let places = self.places_of(node).into_iter();
        let newest = places.reduce(|newest, place| {
            if is_later(&place, &newest) {
                place
            } else {
                newest
            }
        });
        newest.map(|place| place.position)
    }

    /// Does the same as `Node::reconcile`. `node` is `None` for the archive's owner.
    pub(super) fn reconcile(&mut self, node: Option<usize>, is_final: bool) {
        let run = self.redis.run;
        if is_final {
            self.fence = run;
        }
        let state = self.redis.stream.as_ref().map(|stream| stream.state(run));
        let mut places: Vec<Place> = (0..NODES).flat_map(|node| self.places_of(node)).collect();
        let newest = self.archive.iter().max_by_key(|((_, offset), _)| *offset);
        places.extend(newest.map(|((epoch, offset), id)| Place {
            position: Position {
                epoch: Epoch::new(epoch).unwrap(),
                offset: *offset,
            },
            message: Some(message(*id)),
        }));
        if !self.rules.order {
            let epoch = state.as_ref().map(|state| state.head.epoch.clone());
            places.retain(|place| Some(&place.position.epoch) == epoch.as_ref());
        }
        let stream = self.redis.stream.as_ref();
        let witness = |place: Place| Witness {
            here: stream
                .and_then(|stream| stream.at(&place.position))
                .map(message),
            place,
        };
        let witnesses: Vec<Witness> = places.into_iter().map(witness).collect();
        let (archived, mut foreign) = self.overlap();
        let known = |foreign_from| Known {
            foreign_from,
            archived,
            archive_end: None,
        };
        let verdict = judge(state.as_ref(), &witnesses, &known(foreign));
        if let (Some(_), Some(node)) = (verdict.flaw, node) {
            foreign = [foreign, self.foreign_to_log(node)]
                .into_iter()
                .flatten()
                .min();
        }
        match judge(state.as_ref(), &witnesses, &known(foreign)).outcome {
            Outcome::Keep { .. } => {}
            Outcome::Begin(begin) => {
                let before = self.redis.stream.take();
                self.redis.stream = Some(Stream::begin(before, &begin, self.clock));
            }
        }
        if let Some(stream) = self.redis.stream.as_mut().filter(|_| is_final) {
            stream.reconciled = Some((run, stream.top));
        }
    }

    /// Does the same as `Node::overlap`.
    fn overlap(&self) -> (Option<u64>, Option<u64>) {
        let Some(stream) = &self.redis.stream else {
            return (None, None);
        };
        let name = stream.epoch.to_string();
        let archived = self.archive.keys().filter(|(epoch, _)| *epoch == name);
        let archived = archived.map(|(_, offset)| *offset).max();
        let own = stream
            .events
            .iter()
            .filter(|event| event.position.epoch == stream.epoch);
        let differs = |event: &&Event| {
            let there = self.archive.get(&key(&event.position));
            there.is_some_and(|there| *there != event.id)
        };
        let foreign = own.filter(differs).map(|event| event.position.offset).min();
        (archived, foreign)
    }

    fn foreign_to_log(&self, node: usize) -> Option<u64> {
        let stream = self.redis.stream.as_ref()?;
        let log = self.nodes[node].log.as_ref()?;
        let differs = |event: &&Event| {
            let here = stream.at(&event.position);
            here.is_some_and(|here| here != event.id)
        };
        log.events
            .iter()
            .filter(differs)
            .map(|event| event.position.offset)
            .min()
    }
}
