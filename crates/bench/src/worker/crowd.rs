//! All members of a process, on one thread: tens of thousands of connections in little memory.

use std::net::SocketAddr;
use std::time::Duration;

use super::member::{Member, Stage};
use super::poller::Poller;
use super::token;
use super::wire::{self, Kind};
use crate::clock;
use crate::message;
use crate::plan::{Access, Plan};
use crate::tally::Tally;

/// One frame must fit.
const BUFFER_BYTES: usize = 1 << 20;

/// What has happened to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Welcome(usize),
    Joined {
        key: usize,
        recovered: bool,
    },
    /// It has ended, or could not be made.
    Gone(usize),
}

pub(super) struct Crowd {
    pub(super) plan: Plan,
    pub(super) members: Vec<Member>,
    /// While a load runs.
    pub(super) tally: Option<Tally>,
    /// What has happened and was not looked at yet.
    pub(super) events: Vec<Event>,
    /// What a server said last that was no good news.
    pub(super) complaint: Option<String>,
    /// Reads that brought something.
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

    /// Asks to be in the member's room, from where it is if it was there.
    pub(super) fn join(&mut self, key: usize) {
        let member = &mut self.members[key];
        let room = self.plan.room_name(member.number);
        let epoch = &self.epochs[self.plan.room(member.number)];
        let frame = match member.heard.offset {
            0 => format!(r#"{{"type":"join","id":1,"room":"{room}"}}"#),
            offset => format!(
                r#"{{"type":"join","id":1,"room":"{room}","since":{{"epoch":"{epoch}","offset":{offset}}}}}"#
            ),
        };
        let said = member.say(&frame, &self.poller, key);
        self.check(key, said);
    }

    /// Lets the member that has its turn send message `number`, if it is one of ours.
    pub(super) fn send(&mut self, number: u64) {
        let Some(load) = self.tally.as_ref().map(|tally| tally.load) else {
            return;
        };
        let (rooms, room) = (self.plan.rooms, number as usize % self.plan.rooms);
        let member = load.sender(number, rooms) * rooms + room;
        let Some(key) = self.key_of(member) else {
            return;
        };
        let mut frame = format!(
            r#"{{"type":"send","id":{number},"room":"{}-{room}","nonce":"b-{number}","body":"#,
            self.plan.name
        );
        message::write_body(&mut frame, number, load.payload);
        frame.push('}');
        let said = self.members[key].say(&frame, &self.poller, key);
        if let Some(tally) = &mut self.tally {
            tally.seen.sent += 1;
            tally.seen.refused += u64::from(said.is_err());
        }
        self.check(key, said);
    }

    fn key_of(&self, member: usize) -> Option<usize> {
        let past = member.checked_sub(self.plan.first)?;
        (past % self.plan.step == 0 && member < self.plan.end).then(|| past / self.plan.step)
    }

    /// Serves what is ready, within `wait`.
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
            self.upgraded(key)?;
        }
        while let Some((kind, payload, length)) = wire::split(bytes) {
            match kind {
                Kind::Text => self.take(key, payload, now)?,
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

    fn upgraded(&mut self, key: usize) -> Result<(), String> {
        let member = &mut self.members[key];
        member.stage = Stage::Upgraded;
        if matches!(self.plan.access, Access::Guest) {
            // Else a node would wait a little for a guest's first word.
            let said = member.say(r#"{"type":"hello"}"#, &self.poller, key);
            said.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn take(&mut self, key: usize, frame: &[u8], now: u64) -> Result<(), String> {
        let member = &mut self.members[key];
        let kind = frame.strip_prefix(br#"{"type":""#).unwrap_or_default();
        if kind.starts_with(b"message\"") {
            let Some((number, offset)) = message::read(frame) else {
                return Err("a message that is none of ours".to_owned());
            };
            match &mut self.tally {
                Some(tally) => tally.hear(&mut member.heard, number, offset, now),
                None => member.heard.offset = offset,
            }
        } else if kind.starts_with(b"sent\"") {
            let number = message::number(frame, "id");
            if let (Some(tally), Some(number)) = (&mut self.tally, number) {
                tally.ack(number, now);
            }
        } else if kind.starts_with(b"welcome\"") {
            member.stage = Stage::Welcome;
            self.events.push(Event::Welcome(key));
        } else if kind.starts_with(b"joined\"") {
            self.joined(key, frame);
        } else if kind.starts_with(b"lagged\"") {
            if let Some(tally) = &mut self.tally {
                tally.seen.lagged += 1;
            }
        } else if kind.starts_with(b"error\"") {
            let text = String::from_utf8_lossy(frame).into_owned();
            match &mut self.tally {
                Some(tally) => tally.seen.refused += 1,
                None => return Err(text),
            }
            self.complaint = Some(text);
        }
        Ok(())
    }

    fn joined(&mut self, key: usize, frame: &[u8]) {
        let member = &mut self.members[key];
        member.stage = Stage::Joined;
        let room = self.plan.room(member.number);
        if let Some(epoch) = message::text(frame, "epoch") {
            self.epochs[room] = epoch.to_owned();
        }
        // The newest of its events, or the room's head if there is none.
        let newest = memchr::memmem::rfind(frame, br#""offset":"#);
        let newest = newest.and_then(|at| message::number(&frame[at..], "offset"));
        member.heard.offset = newest.unwrap_or(0);
        let recovered = memchr::memmem::find(frame, br#""recovered":true"#).is_some();
        self.events.push(Event::Joined { key, recovered });
    }
}

fn request(plan: &Plan, number: usize) -> Result<String, String> {
    let host = plan.nodes[plan.node(number)].to_string();
    let token = match &plan.access {
        Access::Guest => None,
        Access::Token(token) => Some(token.clone()),
        Access::Secret(secret) => Some(token::mint(secret, &format!("{}-{number}", plan.name))?),
    };
    Ok(wire::handshake(&host, token.as_deref()))
}

fn closed(payload: &[u8]) -> String {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return "closed without a code".to_owned();
    };
    let (code, reason) = (u16::from_be_bytes(*code), String::from_utf8_lossy(reason));
    format!("closed with {code} {reason}")
}
