//! All members of a process, on one thread: tens of thousands of connections in little memory.

use std::net::SocketAddr;
use std::time::Duration;

use super::member::{Member, Stage};
use super::poller::Poller;
use super::protocol::{Said, Since};
use super::wire::{self, Kind};
use crate::access::Access;
use crate::clock;
use crate::message;
use crate::plan::Plan;
use crate::tally::Tally;

/// The size of the read buffer. One frame must fit.
const BUFFER_BYTES: usize = 1 << 20;

/// The time between two checks for the next order.
pub(super) const IDLE: Duration = Duration::from_millis(20);

/// Something that has happened to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Welcome(usize),
    Joined {
        key: usize,
        recovered: bool,
    },
    /// The connection has ended, or could not be opened.
    Gone(usize),
}

pub(super) struct Crowd {
    pub(super) plan: Plan,
    pub(super) members: Vec<Member>,
    /// The counts, while a load runs.
    pub(super) tally: Option<Tally>,
    /// Events that were not handled yet.
    pub(super) events: Vec<Event>,
    /// The last error that a server reported.
    pub(super) complaint: Option<String>,
    /// Reads that returned bytes.
    pub(super) reads: u64,
    /// Each room's epoch.
    epochs: Vec<String>,
    poller: Poller,
    ready: Vec<usize>,
    buffer: Vec<u8>,
}

impl Crowd {
    pub(super) fn new(plan: Plan) -> std::io::Result<Self> {
        let member = |number| Member::new(number, plan.node(number));
        Ok(Self {
            members: plan.members().map(member).collect(),
            tally: None,
            events: Vec::new(),
            complaint: None,
            reads: 0,
            epochs: vec![String::new(); plan.rooms],
            poller: Poller::new()?,
            ready: Vec::new(),
            buffer: vec![0; BUFFER_BYTES],
            plan,
        })
    }

    /// Begins to connect to the member's own node, or to another one.
    pub(super) fn connect(&mut self, key: usize, to: Option<SocketAddr>) {
        let member = &mut self.members[key];
        let to = to.unwrap_or(self.plan.nodes[self.plan.node(member.number)]);
        if let Err(error) = member.connect(to, self.plan.source(key), &self.poller, key) {
            self.lose(key, format!("connecting to {to}: {error}"));
        }
    }

    /// Joins the member's room, from its last position if it was there before.
    pub(super) fn join(&mut self, key: usize) {
        let member = &mut self.members[key];
        let room = self.plan.room_name(member.number);
        let since = Since {
            epoch: &self.epochs[self.plan.room(member.number)],
            offset: member.heard.offset,
        };
        let Access {
            protocol,
            credentials,
        } = &self.plan.access;
        match protocol.join(&room, since, &member.socket, credentials) {
            Ok(Some(frame)) => {
                let said = member.say(&frame, &self.poller, key);
                self.check(key, said);
            }
            Ok(None) => self.joined(key, None, 0, false),
            Err(reason) => self.lose(key, reason),
        }
    }

    /// Sends message `number`, if the member whose turn it is belongs to this process.
    pub(super) fn send(&mut self, number: u64) {
        let Some(load) = self.tally.as_ref().map(|tally| tally.load) else {
            return;
        };
        let (rooms, room) = (self.plan.rooms, number as usize % self.plan.rooms);
        let member = load.sender(number, rooms) * rooms + room;
        let Some(key) = self.key_of(member) else {
            return;
        };
        let mut body = String::new();
        message::write_body(&mut body, number, load.payload);
        let protocol = self.plan.access.protocol;
        let frame = protocol.send(&self.plan.room_name(room), number, &body);
        let said = self.members[key].say(&frame, &self.poller, key);
        if let Some(tally) = &mut self.tally {
            tally.seen.sent += 1;
            tally.seen.refused += u64::from(said.is_err());
            if !protocol.has_acks() {
                tally.seen.acked += u64::from(said.is_ok());
            }
            if !protocol.has_echo() {
                tally.seen.expected = tally.seen.expected.saturating_sub(1);
            }
        }
        self.check(key, said);
    }

    fn key_of(&self, member: usize) -> Option<usize> {
        let past = member.checked_sub(self.plan.first)?;
        (past % self.plan.step == 0 && member < self.plan.end).then(|| past / self.plan.step)
    }

    /// Serves the sockets that become ready within `wait`.
    pub(super) fn turn(&mut self, wait: Duration) -> std::io::Result<()> {
        let mut ready = std::mem::take(&mut self.ready);
        self.poller.wait(wait, &mut ready)?;
        for &key in &ready {
            if let Err(reason) = self.serve(key) {
                self.lose(key, reason);
            }
        }
        self.ready = ready;
        Ok(())
    }

    fn check(&mut self, key: usize, done: std::io::Result<()>) {
        if let Err(error) = done {
            self.lose(key, error.to_string());
        }
    }

    fn lose(&mut self, key: usize, reason: String) {
        if let Some(tally) = &mut self.tally {
            tally.seen.ended += 1;
        }
        self.complaint = Some(reason);
        self.members[key].leave(false);
        self.events.push(Event::Gone(key));
    }

    fn serve(&mut self, key: usize) -> Result<(), String> {
        let member = &mut self.members[key];
        let text = |error: std::io::Error| error.to_string();
        match member.stage {
            Stage::Away => return Ok(()),
            Stage::Connecting => {
                member.has_connected().map_err(text)?;
                member.stage = Stage::Shaking;
                let request = request(&self.plan, member.number)?;
                return member
                    .write(request.as_bytes(), &self.poller, key)
                    .map_err(text);
            }
            Stage::Shaking | Stage::Upgraded | Stage::Welcome | Stage::Joined => {}
        }
        member.flush(&self.poller, key).map_err(text)?;
        let mut buffer = std::mem::take(&mut self.buffer);
        let filled = self.members[key].fill(&mut buffer).map_err(text);
        let heard = filled.and_then(|length| self.hear(key, &buffer[..length]));
        self.buffer = buffer;
        heard
    }

    fn hear(&mut self, key: usize, mut bytes: &[u8]) -> Result<(), String> {
        self.reads += 1;
        let now = clock::now();
        if self.members[key].stage == Stage::Shaking {
            let Some(begin) = wire::upgraded(bytes)? else {
                self.members[key].keep(bytes);
                return Ok(());
            };
            bytes = &bytes[begin..];
            self.upgraded(key, now)?;
        }
        while let Some((kind, payload, length)) = wire::split(bytes) {
            match kind {
                Kind::Text => {
                    let said = self.plan.access.protocol.hear(payload)?;
                    self.take(key, said, now)?;
                }
                Kind::Ping => {
                    let answered = self.members[key].pong(payload, &self.poller, key);
                    answered.map_err(|error| error.to_string())?;
                }
                Kind::Close => return Err(closed(payload)),
                Kind::Other => {}
            }
            bytes = &bytes[length..];
        }
        self.members[key].keep(bytes);
        Ok(())
    }

    fn upgraded(&mut self, key: usize, now: u64) -> Result<(), String> {
        let member = &mut self.members[key];
        member.stage = Stage::Upgraded;
        let user = self.plan.user_name(member.number);
        let Access {
            protocol,
            credentials,
        } = &self.plan.access;
        let said = protocol.upgraded(&user, credentials)?;
        self.take(key, said, now)
    }

    fn take(&mut self, key: usize, said: Said<'_>, now: u64) -> Result<(), String> {
        let member = &mut self.members[key];
        match (said, &mut self.tally) {
            (Said::Message { number, offset }, Some(tally)) => {
                tally.hear(&mut member.heard, number, offset, now);
            }
            (Said::Message { offset, .. }, None) => member.heard.offset = offset.unwrap_or(0),
            (Said::Sent(number), Some(tally)) => tally.ack(number, now),
            (Said::Lagged, Some(tally)) => tally.seen.lagged += 1,
            (Said::Refused(reason), tally) => {
                let reason = String::from_utf8_lossy(reason).into_owned();
                match tally {
                    Some(tally) => tally.seen.refused += 1,
                    None => return Err(reason),
                }
                self.complaint = Some(reason);
            }
            (Said::Welcome(socket), _) => {
                member.stage = Stage::Welcome;
                member.socket = socket.unwrap_or_default().into();
                self.events.push(Event::Welcome(key));
            }
            (
                Said::Joined {
                    epoch,
                    offset,
                    recovered,
                },
                _,
            ) => self.joined(key, epoch, offset, recovered),
            (Said::Wants(frame), _) => {
                let said = member.say(&frame, &self.poller, key);
                said.map_err(|error| error.to_string())?;
            }
            (Said::Nothing | Said::Sent(_) | Said::Lagged, _) => {}
        }
        Ok(())
    }

    fn joined(&mut self, key: usize, epoch: Option<&str>, offset: u64, recovered: bool) {
        let member = &mut self.members[key];
        member.stage = Stage::Joined;
        member.heard.offset = offset;
        if let Some(epoch) = epoch {
            epoch.clone_into(&mut self.epochs[self.plan.room(member.number)]);
        }
        self.events.push(Event::Joined { key, recovered });
    }
}

/// Serves the sockets that become ready within `wait`.
///
/// # Errors
/// The text of the operating system's error.
pub(super) fn turn(crowd: &mut Crowd, wait: Duration) -> Result<(), String> {
    crowd.turn(wait).map_err(|error| error.to_string())
}

fn request(plan: &Plan, number: usize) -> Result<String, String> {
    let host = plan.nodes[plan.node(number)].to_string();
    let (room, user) = (plan.room_name(number), plan.user_name(number));
    let Access {
        protocol,
        credentials,
    } = &plan.access;
    protocol.request(&host, &room, &user, credentials)
}

fn closed(payload: &[u8]) -> String {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return "closed without a code".to_owned();
    };
    let (code, reason) = (u16::from_be_bytes(*code), String::from_utf8_lossy(reason));
    format!("closed with {code} {reason}")
}
