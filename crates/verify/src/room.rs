//! The events of one room. Each place is stored once, for all clients.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hasher};

use serde::Deserialize;

use crate::anomaly::Place;
use crate::client::ClientId;
use crate::trail::Trail;

/// One event, as its first client received it.
#[derive(Debug)]
pub(crate) struct Event {
    digest: u64,
    pub(crate) by: ClientId,
    pub(crate) message: Option<Box<str>>,
    pub(crate) nonce: Option<Box<str>>,
    is_rewritten: bool,
}

/// One epoch of the room's stream.
#[derive(Debug)]
struct EpochEvents {
    epoch: String,
    /// The lowest offset that occurs in it.
    first: u64,
    events: HashMap<u64, Event>,
}

/// A send that was refused.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The sender, if known. Nonces belong to their sender.
    pub(crate) user: Option<String>,
    pub(crate) nonce: String,
}

/// The sender's nonce and ID of an acked send, as far as known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Acked {
    pub(crate) nonce: Option<String>,
    pub(crate) message: Option<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Room {
    name: String,
    lives: Vec<EpochEvents>,
    /// Message ID → every place of the event: its epoch and its offset. The server numbers an event
    /// again in a new epoch, so an event may have one place in each.
    places: HashMap<Box<str>, Vec<(usize, u64)>>,
    /// Epoch, user and nonce → offset.
    nonces: HashMap<(usize, Box<str>, Box<str>), u64>,
    pub(crate) trails: BTreeMap<ClientId, Trail>,
    /// The key is the epoch and the offset.
    pub(crate) acked: BTreeMap<(usize, u64), Vec<Acked>>,
    pub(crate) refused: Vec<Refused>,
    pub(crate) unknown: usize,
    /// Client and epoch → offset of its last ack.
    pub(crate) last_acks: HashMap<(ClientId, usize), u64>,
}

/// The result of comparing a frame with its place.
pub(crate) enum Comparison {
    /// The first frame there. `again` is set if its epoch has the same event at another offset.
    First {
        again: Option<Again>,
    },
    Same,
    Different,
}

/// An event that an epoch has twice, with the other offset.
pub(crate) enum Again {
    /// The same event, by its ID.
    Event { message: String, other: u64 },
    /// Another event of the same send, by its sender's nonce.
    Send { nonce: String, other: u64 },
}

#[derive(Deserialize)]
struct Details {
    message: Option<Box<str>>,
    nonce: Option<Box<str>>,
    from: Option<From>,
    #[serde(default)]
    deleted: bool,
    /// Present on a message that was edited.
    edited: Option<serde::de::IgnoredAny>,
}

impl Details {
    /// Whether the frame no longer has the body that was sent.
    fn is_rewritten(&self) -> bool {
        self.deleted || self.edited.is_some()
    }
}

#[derive(Deserialize)]
struct From {
    id: Box<str>,
}

/// The ID of an event that has only its place left. Many events have it.
const UNKNOWN: &str = "-";

pub(crate) fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

impl Room {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// Returns the index of this epoch and notes that `offset` occurs in it.
    pub(crate) fn life(&mut self, epoch: &str, offset: u64) -> usize {
        if let Some(index) = self.lives.iter().rposition(|life| life.epoch == epoch) {
            let first = &mut self.lives[index].first;
            *first = offset.min(*first);
            return index;
        }
        self.lives.push(EpochEvents {
            epoch: epoch.to_owned(),
            first: offset,
            events: HashMap::new(),
        });
        self.lives.len() - 1
    }

    /// Whether one epoch began before the other, in whatever order the logs were read.
    pub(crate) fn is_older(&self, one: usize, other: usize) -> bool {
        let began = |life: usize| (self.lives[life].first, life);
        began(one) < began(other)
    }

    pub(crate) fn place(&self, life: usize, offset: u64) -> Place {
        Place {
            room: self.name.clone(),
            epoch: self.lives[life].epoch.clone(),
            offset,
        }
    }

    pub(crate) fn lives(&self) -> usize {
        self.lives.len()
    }

    pub(crate) fn events(&self) -> usize {
        self.lives.iter().map(|life| life.events.len()).sum()
    }

    pub(crate) fn event(&self, life: usize, offset: u64) -> Option<&Event> {
        self.lives[life].events.get(&offset)
    }

    /// Every event that a client received, with its epoch and its offset.
    pub(crate) fn received(&self) -> impl Iterator<Item = (usize, u64, &Event)> {
        let lives = self.lives.iter().enumerate();
        lives.flat_map(|(index, life)| {
            life.events
                .iter()
                .map(move |(at, event)| (index, *at, event))
        })
    }

    /// The highest offset that a client received, and its epoch.
    pub(crate) fn head(&self) -> Option<(usize, u64)> {
        let heads = self.lives.iter().enumerate().filter_map(|(index, life)| {
            let top = life.events.keys().max()?;
            Some((index, *top))
        });
        heads.max_by_key(|(_, top)| *top)
    }

    /// The place of a received event with the nonce of this send, in any epoch.
    pub(crate) fn find(&self, refused: &Refused) -> Option<(usize, u64)> {
        let mut places = self.nonces.iter().filter(|((_, user, nonce), _)| {
            **nonce == *refused.nonce && refused.user.as_ref().is_none_or(|known| **known == **user)
        });
        places.next().map(|((life, ..), offset)| (*life, *offset))
    }

    /// Whether a client received an acked event at another place than its ack names.
    pub(crate) fn is_received_elsewhere(&self, trail: &Trail, acked: &[Acked]) -> bool {
        let ids = acked.iter().filter_map(|acked| acked.message.as_deref());
        let mut places = ids.filter_map(|id| self.places.get(id)).flatten();
        places.any(|(life, offset)| trail.covers(*life, *offset))
    }

    /// Compares a frame with the known one at its place.
    ///
    /// # Errors
    /// The frame is not a durable event.
    pub(crate) fn compare(
        &mut self,
        client: ClientId,
        life: usize,
        offset: u64,
        frame: &str,
    ) -> Result<Comparison, serde_json::Error> {
        let digest = digest(frame);
        if let Some(known) = self.lives[life].events.get(&offset) {
            if known.digest == digest {
                return Ok(Comparison::Same);
            }
            // A deleted message is replayed without its body, an edited one with its newest body.
            let details: Details = serde_json::from_str(frame)?;
            let is_rewritten = details.is_rewritten() || known.is_rewritten;
            let is_same = is_rewritten && details.message == known.message;
            return Ok(if is_same {
                Comparison::Same
            } else {
                Comparison::Different
            });
        }
        let details: Details = serde_json::from_str(frame)?;
        let is_rewritten = details.is_rewritten();
        let same_send = self.note_nonce(life, offset, &details);
        let again = self.note_message(life, offset, &details).or(same_send);
        let event = Event {
            digest,
            by: client,
            is_rewritten,
            message: details.message,
            nonce: details.nonce,
        };
        self.lives[life].events.insert(offset, event);
        Ok(Comparison::First { again })
    }

    /// Records the place of the event. Returns its other place in the same epoch.
    fn note_message(&mut self, life: usize, offset: u64, details: &Details) -> Option<Again> {
        let message = details.message.as_ref().filter(|id| &***id != UNKNOWN)?;
        let places = self.places.entry(message.clone()).or_default();
        let other = places.iter().find(|(known, _)| *known == life);
        let other = other.map(|(_, offset)| *offset);
        places.push((life, offset));
        Some(Again::Event {
            message: message.to_string(),
            other: other?,
        })
    }

    /// Records the place of the send. Returns its other place in the same epoch.
    fn note_nonce(&mut self, life: usize, offset: u64, details: &Details) -> Option<Again> {
        let (nonce, from) = (details.nonce.as_ref()?, details.from.as_ref()?);
        let key = (life, from.id.clone(), nonce.clone());
        let other = self.nonces.insert(key, offset)?;
        Some(Again::Send {
            nonce: nonce.to_string(),
            other,
        })
    }
}
