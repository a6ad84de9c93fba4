//! All members of a process, on one thread: tens of thousands of connections in little memory.

use std::net::SocketAddr;
use std::time::Duration;

use super::member::{Member, Stage};
use super::poller::Poller;
use super::protocol::{ServerFrame, Since};
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
    Disconnected(usize),
}

pub(super) struct Members {
    pub(super) plan: Plan,
    pub(super) list: Vec<Member>,
    /// The counts, while a load runs.
    pub(super) tally: Option<Tally>,
    /// Events that were not handled yet.
    pub(super) events: Vec<Event>,
    /// The last error that a server reported.
    pub(super) last_error: Option<String>,
    /// Reads that returned bytes.
    pub(super) reads: u64,
    /// Each room's epoch.
    epochs: Vec<String>,
    poller: Poller,
    ready: Vec<usize>,
    buffer: Vec<u8>,
}

impl Members {
    pub(super) fn new(plan: Plan) -> std::io::Result<Self> {
        let member = |number| Member::new(number, plan.node(number));
        Ok(Self {
            list: plan.members().map(member).collect(),
            tally: None,
            events: Vec::new(),
            last_error: None,
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
        let member = &mut self.list[key];
        let to = to.unwrap_or(self.plan.nodes[self.plan.node(member.number)]);
        if let Err(error) = member.connect(to, self.plan.source(key), &self.poller, key) {
            self.fail(key, format!("connecting to {to}: {error}"));
        }
    }

    /// Joins the member's room, from its last position if it was there before.
    pub(super) fn join(&mut self, key: usize) {
        let member = &mut self.list[key];
        let room = self.plan.room_name(member.number);
        let since = Since {
            epoch: &self.epochs[self.plan.room(member.number)],
            offset: member.progress.offset,
        };
        let Access {
            protocol,
            credentials,
        } = &self.plan.access;
        match protocol.join(&room, since, &member.socket, credentials) {
            Ok(Some(frame)) => {
                let result = member.send_text(&frame, &self.poller, key);
                self.check(key, result);
            }
            Ok(None) => self.joined(key, None, 0, false),
            Err(reason) => self.fail(key, reason),
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
        let result = self.list[key].send_text(&frame, &self.poller, key);
        if let Some(tally) = &mut self.tally {
            tally.seen.sent += 1;
            tally.seen.refused += u64::from(result.is_err());
            if !protocol.has_acks() {
                tally.seen.acked += u64::from(result.is_ok());
            }
            if !protocol.has_echo() {
                tally.seen.expected = tally.seen.expected.saturating_sub(1);
            }
        }
        self.check(key, result);
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
                self.fail(key, reason);
            }
        }
        self.ready = ready;
        Ok(())
    }

    fn check(&mut self, key: usize, done: std::io::Result<()>) {
        if let Err(error) = done {
            self.fail(key, error.to_string());
        }
    }

    fn fail(&mut self, key: usize, reason: String) {
        if let Some(tally) = &mut self.tally {
            tally.seen.ended += 1;
        }
        self.last_error = Some(reason);
        self.list[key].disconnect(false);
        self.events.push(Event::Disconnected(key));
    }

    fn serve(&mut self, key: usize) -> Result<(), String> {
        let member = &mut self.list[key];
        let text = |error: std::io::Error| error.to_string();
        match member.stage {
            Stage::Disconnected => return Ok(()),
            Stage::Connecting => {
                member.has_connected().map_err(text)?;
                member.stage = Stage::Upgrading;
                let request = request(&self.plan, member.number)?;
                return member
                    .write(request.as_bytes(), &self.poller, key)
                    .map_err(text);
            }
            Stage::Upgrading | Stage::Upgraded | Stage::Welcome | Stage::Joined => {}
        }
        member.flush(&self.poller, key).map_err(text)?;
        let mut buffer = std::mem::take(&mut self.buffer);
        let filled = self.list[key].fill(&mut buffer).map_err(text);
        let received = filled.and_then(|length| self.receive(key, &buffer[..length]));
        self.buffer = buffer;
        received
    }

    fn receive(&mut self, key: usize, mut bytes: &[u8]) -> Result<(), String> {
        self.reads += 1;
        let now = clock::now();
        if self.list[key].stage == Stage::Upgrading {
            let Some(begin) = wire::upgraded(bytes)? else {
                self.list[key].keep(bytes);
                return Ok(());
            };
            bytes = &bytes[begin..];
            self.upgraded(key, now)?;
        }
        while let Some((kind, payload, length)) = wire::split(bytes) {
            match kind {
                Kind::Text => {
                    let frame = self.plan.access.protocol.parse(payload)?;
                    self.handle(key, frame, now)?;
                }
                Kind::Ping => {
                    let answered = self.list[key].pong(payload, &self.poller, key);
                    answered.map_err(|error| error.to_string())?;
                }
                Kind::Close => return Err(closed(payload)),
                Kind::Other => {}
            }
            bytes = &bytes[length..];
        }
        self.list[key].keep(bytes);
        Ok(())
    }

    fn upgraded(&mut self, key: usize, now: u64) -> Result<(), String> {
        let member = &mut self.list[key];
        member.stage = Stage::Upgraded;
        let user = self.plan.user_name(member.number);
        let Access {
            protocol,
            credentials,
        } = &self.plan.access;
        let frame = protocol.upgraded(&user, credentials)?;
        self.handle(key, frame, now)
    }

    fn handle(&mut self, key: usize, frame: ServerFrame<'_>, now: u64) -> Result<(), String> {
        let member = &mut self.list[key];
        match (frame, &mut self.tally) {
            (ServerFrame::Message { number, offset }, Some(tally)) => {
                tally.receive(&mut member.progress, number, offset, now);
            }
            (ServerFrame::Message { offset, .. }, None) => {
                member.progress.offset = offset.unwrap_or(0)
            }
            (ServerFrame::Sent(number), Some(tally)) => tally.ack(number, now),
            (ServerFrame::Lagged, Some(tally)) => tally.seen.lagged += 1,
            (ServerFrame::Refused(reason), tally) => {
                let reason = String::from_utf8_lossy(reason).into_owned();
                match tally {
                    Some(tally) => tally.seen.refused += 1,
                    None => return Err(reason),
                }
                self.last_error = Some(reason);
            }
            (ServerFrame::Welcome(socket), _) => {
                member.stage = Stage::Welcome;
                member.socket = socket.unwrap_or_default().into();
                self.events.push(Event::Welcome(key));
            }
            (
                ServerFrame::Joined {
                    epoch,
                    offset,
                    recovered,
                },
                _,
            ) => self.joined(key, epoch, offset, recovered),
            (ServerFrame::Reply(frame), _) => {
                let result = member.send_text(&frame, &self.poller, key);
                result.map_err(|error| error.to_string())?;
            }
            (ServerFrame::Ignored | ServerFrame::Sent(_) | ServerFrame::Lagged, _) => {}
        }
        Ok(())
    }

    fn joined(&mut self, key: usize, epoch: Option<&str>, offset: u64, recovered: bool) {
        let member = &mut self.list[key];
        member.stage = Stage::Joined;
        member.progress.offset = offset;
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
pub(super) fn turn(members: &mut Members, wait: Duration) -> Result<(), String> {
    members.turn(wait).map_err(|error| error.to_string())
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
