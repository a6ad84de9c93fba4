//! Collects what clients received and what senders were told, and judges it at the end.

use std::collections::BTreeMap;

use crate::anomaly::Anomaly;
use crate::client::ClientId;
use crate::report::{Anomalies, Report, RoomReport};
use crate::room::{Acked, Again, Comparison, Event, Refused, Room};
use crate::trail::{Fate, Step};

/// A durable frame as a client received it.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// The room.
    pub room: &'a str,
    /// The epoch.
    pub epoch: &'a str,
    /// The offset, from 1.
    pub offset: u64,
    /// The frame, byte for byte.
    pub frame: &'a str,
}

/// Where a client's log begins, or continues after a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Strictly after the join's offset. In a log that has begun, this is a resume that changes
    /// nothing.
    After,
    /// At the first event that comes, because older ones came with the join or the join could not
    /// resume.
    Anywhere,
}

/// A send that was acked.
#[derive(Debug, Clone, Default)]
pub struct Ack<'a> {
    /// The room.
    pub room: &'a str,
    /// The epoch.
    pub epoch: &'a str,
    /// The offset.
    pub offset: u64,
    /// The nonce, if known.
    pub nonce: Option<&'a str>,
    /// The event's ID, if known.
    pub message: Option<&'a str>,
    /// Whether it was stored after all earlier acked sends of its sender. A duplicate need not be.
    pub in_turn: bool,
}

#[derive(Debug)]
struct Client {
    name: String,
    user: Option<String>,
}

/// Judges the logs of many clients.
#[derive(Debug, Default)]
pub struct Verifier {
    clients: Vec<Client>,
    rooms: BTreeMap<String, Room>,
    found: BTreeMap<String, Anomalies>,
}

impl Verifier {
    /// A verifier without any logs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a client. The name is only for display.
    ///
    /// # Panics
    /// If there are more than 2^32 clients.
    pub fn client(&mut self, name: &str) -> ClientId {
        let id = ClientId::at(self.clients.len());
        self.clients.push(Client {
            name: name.to_owned(),
            user: None,
        });
        id
    }

    /// Sets the user of a client. Without it, refused nonces are searched for under any sender.
    pub fn identify(&mut self, client: ClientId, user: &str) {
        self.clients[client.index()].user = Some(user.to_owned());
    }

    /// The client has joined the room.
    pub fn joined(&mut self, client: ClientId, room: &str, epoch: &str, offset: u64, start: Start) {
        let room = self.room(room);
        let life = room.life(epoch, offset);
        let trail = room.trails.entry(client).or_default();
        match start {
            Start::After => trail.joined(life, offset),
            Start::Anywhere => trail.joined_anywhere(life, offset),
        }
    }

    pub(crate) fn has_joined(&self, client: ClientId, room: &str) -> bool {
        let room = self.rooms.get(room);
        room.is_some_and(|room| room.trails.contains_key(&client))
    }

    /// The client received an event.
    ///
    /// # Errors
    /// The frame is not a durable event.
    pub fn event(
        &mut self,
        client: ClientId,
        received: &Received<'_>,
    ) -> Result<(), serde_json::Error> {
        let room = self.room(received.room);
        let offset = received.offset.max(1);
        let life = room.life(received.epoch, offset - 1);
        let comparison = room.compare(client, life, offset, received.frame)?;
        let trail = room.trails.entry(client).or_default();
        let before = trail.last().copied();
        let step = trail.step(life, offset);
        let at = room.place(life, offset);
        let mut found = Vec::new();
        match step {
            Step::Next => {}
            Step::Duplicate => found.push(Anomaly::Duplicate {
                client: self.name(client),
                at: at.clone(),
            }),
            Step::Hole { expected } => found.push(Anomaly::Hole {
                client: self.name(client),
                at: at.clone(),
                expected,
            }),
            Step::Disorder => {
                let before = before.expect("disorder needs something before");
                let before = self.room(received.room).place(before.life, before.upto);
                found.push(Anomaly::OutOfOrder {
                    client: self.name(client),
                    at: at.clone(),
                    before,
                });
            }
        }
        match comparison {
            Comparison::Same | Comparison::First { again: None } => {}
            Comparison::First {
                again: Some(Again::Send { nonce, other }),
            } => found.push(Anomaly::StoredTwice {
                nonce,
                at,
                again: other,
            }),
            Comparison::First {
                again: Some(Again::Event { message, other }),
            } => found.push(Anomaly::NumberedTwice {
                message,
                at,
                again: other,
            }),
            Comparison::Different => {
                let known = self.room(received.room).event(life, offset);
                let known = known.expect("what differs is known");
                let (first, by) = (known.message.as_deref().unwrap_or("?").to_owned(), known.by);
                found.push(Anomaly::Difference {
                    clients: (self.name(by), self.name(client)),
                    at,
                    first,
                    second: received.frame.to_owned(),
                });
            }
        }
        for anomaly in found {
            self.note(received.room, anomaly);
        }
        Ok(())
    }

    /// The client was told that the room's stream continues from here.
    pub fn reset(&mut self, client: ClientId, room: &str, epoch: &str, offset: u64) {
        let name = room;
        let room = self.room(name);
        let life = room.life(epoch, offset);
        let trail = room.trails.entry(client).or_default();
        let before = trail.last().copied();
        if trail.reset(life, offset) {
            return;
        }
        let before = before.expect("a step back needs an earlier event");
        let (at, before) = (
            room.place(life, offset),
            room.place(before.life, before.upto),
        );
        let client = self.name(client);
        self.note(name, Anomaly::OutOfOrder { client, at, before });
    }

    /// The client has left the room. Nothing more is expected there.
    pub fn left(&mut self, client: ClientId, room: &str) {
        if let Some(trail) = self.room(room).trails.get_mut(&client) {
            trail.end();
        }
    }

    /// The client has ended. Nothing more is expected in any room.
    pub fn ended(&mut self, client: ClientId) {
        for room in self.rooms.values_mut() {
            if let Some(trail) = room.trails.get_mut(&client) {
                trail.end();
            }
        }
    }

    /// A send of the client was acked.
    pub fn sent(&mut self, client: ClientId, ack: &Ack<'_>) {
        let room = self.room(ack.room);
        let life = room.life(ack.epoch, ack.offset.saturating_sub(1));
        let acked = Acked {
            nonce: ack.nonce.map(str::to_owned),
            message: ack.message.map(str::to_owned),
        };
        let here = room.acked.entry((life, ack.offset)).or_default();
        // A retry is acked again. Two different sends at one place cannot both be there.
        if !here.contains(&acked) {
            here.push(acked);
        }
        let last = room.last_acks.entry((client, life)).or_default();
        let before = *last;
        if !ack.in_turn {
            return;
        }
        *last = before.max(ack.offset);
        if ack.offset <= before {
            let at = room.place(life, ack.offset);
            let client = self.name(client);
            self.note(ack.room, Anomaly::SenderOrder { client, at, before });
        }
    }

    /// A send of the client was refused for good. No client may receive it.
    pub fn refused(&mut self, client: ClientId, room: &str, nonce: &str) {
        let user = self.clients[client.index()].user.clone();
        let nonce = nonce.to_owned();
        self.room(room).refused.push(Refused { user, nonce });
    }

    /// The outcome of a send is unknown. It may be received once.
    pub fn unknown(&mut self, room: &str) {
        self.room(room).unknown += 1;
    }

    /// The begin of the newest epoch in which a client received something: the epoch, and the
    /// offset before its first received event.
    #[must_use]
    pub fn newest_life(&self, room: &str) -> Option<(String, u64)> {
        let room = self.rooms.get(room)?;
        let (life, _) = room.head()?;
        let offsets = room.received().filter(|(of, ..)| *of == life);
        let first = offsets.map(|(_, offset, _)| offset).min()?;
        Some((room.place(life, first).epoch, first - 1))
    }

    /// The verdict on everything so far.
    #[must_use]
    pub fn report(&self) -> Report {
        let rooms = self.rooms.iter().map(|(name, room)| {
            let mut report = RoomReport {
                room: name.clone(),
                lives: room.lives(),
                events: room.events(),
                clients: room.trails.len(),
                acked: room.acked.len(),
                refused: room.refused.len(),
                unknown: room.unknown,
                ..RoomReport::default()
            };
            let mut anomalies = self.found.get(name).cloned().unwrap_or_default();
            self.judge_acks(room, &mut report, &mut anomalies);
            self.judge_ends(room, &mut anomalies);
            self.judge_refused(room, &mut anomalies);
            report.counts = anomalies.counts;
            (report, anomalies.first)
        });
        Report::of(rooms.collect())
    }

    fn judge_acks(&self, room: &Room, report: &mut RoomReport, anomalies: &mut Anomalies) {
        for (&(life, offset), here) in &room.acked {
            if let Some(event) = room.event(life, offset) {
                for (acked, found) in here.iter().filter_map(|acked| mismatch(acked, event)) {
                    let at = room.place(life, offset);
                    anomalies.add(Anomaly::Misplaced { at, acked, found });
                }
            }
            for (client, trail) in &room.trails {
                let fate = trail.fate(life, offset, |one, other| room.is_older(one, other));
                match fate {
                    Fate::Skipped { .. } | Fate::Lost
                        if room.is_received_elsewhere(trail, here) => {}
                    Fate::Received | Fate::NotExpected => {}
                    Fate::Skipped { known_life: false } => report.skipped += 1,
                    Fate::Skipped { known_life: true } => report.skipped_in_known_life += 1,
                    Fate::Lost => anomalies.add(Anomaly::LostWrite {
                        client: self.name(*client),
                        at: room.place(life, offset),
                    }),
                }
            }
        }
    }

    fn judge_ends(&self, room: &Room, anomalies: &mut Anomalies) {
        let Some((life, head)) = room.head() else {
            return;
        };
        for (client, trail) in &room.trails {
            let heard = trail.last().map_or(0, |run| run.upto);
            if !trail.is_over() && heard < head {
                anomalies.add(Anomaly::Behind {
                    client: self.name(*client),
                    head: room.place(life, head),
                    heard,
                });
            }
        }
    }

    fn judge_refused(&self, room: &Room, anomalies: &mut Anomalies) {
        for refused in &room.refused {
            if let Some((life, offset)) = room.find(refused) {
                let by = room.event(life, offset).map(|event| self.name(event.by));
                anomalies.add(Anomaly::Phantom {
                    client: by.unwrap_or_default(),
                    at: room.place(life, offset),
                    nonce: refused.nonce.clone(),
                });
            }
        }
    }

    fn room(&mut self, name: &str) -> &mut Room {
        if !self.rooms.contains_key(name) {
            self.rooms.insert(name.to_owned(), Room::new(name));
        }
        self.rooms.get_mut(name).expect("inserted above")
    }

    fn name(&self, client: ClientId) -> String {
        self.clients[client.index()].name.clone()
    }

    fn note(&mut self, room: &str, anomaly: Anomaly) {
        self.found.entry(room.to_owned()).or_default().add(anomaly);
    }
}

/// The sender's name of its message, and the name of the event at its place, if they differ.
fn mismatch(acked: &Acked, event: &Event) -> Option<(String, String)> {
    let pairs = [
        (acked.nonce.as_deref(), event.nonce.as_deref()),
        (acked.message.as_deref(), event.message.as_deref()),
    ];
    let differs = |(acked, found): (Option<&str>, Option<&str>)| match (acked, found) {
        (Some(acked), Some(found)) if acked != found => Some((acked.to_owned(), found.to_owned())),
        _ => None,
    };
    pairs.into_iter().find_map(differs)
}

#[cfg(test)]
mod tests;
