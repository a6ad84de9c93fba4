//! The floor: the lowest possible cost of a delivery. It has one epoll thread, one prebuilt frame
//! per message and one `send` per subscriber; no Redis, no history, no answers. It makes its
//! messages itself and speaks just enough of the protocol for the bench's own members. Several
//! floors with a Redis between them are the relay, the floor of a cluster.

mod relay;

use std::collections::VecDeque;
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};

use self::relay::Relay;
use crate::clock;
use crate::error::BenchError;
use crate::message;
use crate::plan::Load;
use crate::worker::Poller;

/// Arguments of `hubbub bench floor`.
#[derive(Debug, Clone, Args)]
pub(crate) struct FloorArgs {
    /// The Redis where every message is published; the floor delivers the messages that it receives
    /// from there
    #[arg(long)]
    redis: Option<SocketAddr>,
}

/// A load for the floor, as a JSON line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FloorOrder {
    pub(crate) load: Load,
    pub(crate) rooms: usize,
    /// The prefix of room names.
    pub(crate) name: String,
    /// Microseconds that a frame waits for others of its room to share one write.
    pub(crate) join_us: u64,
    /// The first room of this floor. It makes the messages of every `room_step`-th room from here.
    pub(crate) first_room: usize,
    pub(crate) room_step: usize,
}

const IDLE: Duration = Duration::from_millis(20);
const LISTENER: usize = usize::MAX >> 1;
const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
    upgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const WELCOME: &str = r#"{"type":"welcome","node":"floor"}"#;
const JOINED: &str = r#"{"type":"joined","id":1,"epoch":"floor","offset":0,"recovered":true}"#;

/// Serves until the parent closes the pipe. Its first line of output is its address.
pub(crate) fn run(args: &FloorArgs) -> Result<(), BenchError> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    answer(&listener.local_addr()?.to_string())?;
    let mut floor = Floor::new(listener, args.redis)?;
    let orders = orders();
    loop {
        match orders.try_recv() {
            Ok(order) => {
                floor.run_load(&order)?;
                answer("done")?;
            }
            Err(TryRecvError::Disconnected) => return Ok(()),
            Err(TryRecvError::Empty) => floor.turn(IDLE)?,
        }
    }
}

fn answer(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// The orders of the parent. The thread ends with the pipe.
fn orders() -> Receiver<FloorOrder> {
    let (sender, orders) = sync_channel(1);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            let Ok(order) = serde_json::from_str(&line) else {
                return;
            };
            if sender.send(order).is_err() {
                return;
            }
        }
    });
    orders
}

struct Floor {
    listener: TcpListener,
    poller: Poller,
    ready: Vec<usize>,
    streams: Vec<Option<TcpStream>>,
    rooms: Vec<Vec<u32>>,
    relay: Option<Relay>,
}

impl Floor {
    fn new(listener: TcpListener, redis: Option<SocketAddr>) -> io::Result<Self> {
        let poller = Poller::new()?;
        poller.add(&listener, LISTENER, false)?;
        let relay = redis.map(|redis| Relay::connect(redis, &poller));
        Ok(Self {
            listener,
            relay: relay.transpose()?,
            poller,
            ready: Vec::new(),
            streams: Vec::new(),
            rooms: Vec::new(),
        })
    }

    fn turn(&mut self, wait: Duration) -> io::Result<()> {
        let mut ready = std::mem::take(&mut self.ready);
        self.poller.wait(wait, &mut ready)?;
        for &key in &ready {
            if key == LISTENER {
                self.accept()?;
            } else if key >= Relay::COMMANDS {
                self.receive_pushes(key)?;
            } else if self.receive(key).is_err() {
                self.streams[key] = None;
            }
        }
        self.ready = ready;
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    self.poller.add(&stream, self.streams.len(), false)?;
                    self.streams.push(Some(stream));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn receive_pushes(&mut self, key: usize) -> io::Result<()> {
        let Some(mut relay) = self.relay.take() else {
            return Ok(());
        };
        if key == Relay::PUSHES {
            relay.receive(|channel, payload| {
                if let Some(room) = std::str::from_utf8(channel).ok().and_then(number_of) {
                    self.deliver(room, payload);
                }
            })?;
        } else {
            relay.read_answers()?;
        }
        self.relay = Some(relay);
        Ok(())
    }

    /// Reads a request for an upgrade, or a `join`. Members write each of them in one piece.
    fn receive(&mut self, key: usize) -> io::Result<()> {
        let Some(mut stream) = self.streams[key].as_ref() else {
            return Ok(());
        };
        let mut buffer = [0; 4096];
        let length = match stream.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let received = &buffer[..length];
        if received.starts_with(b"GET ") {
            let mut bytes = ANSWER.to_vec();
            write_frame(&mut bytes, WELCOME.as_bytes());
            return stream.write_all(&bytes);
        }
        // The members' mask is zero.
        let Some(name) = message::text(received, "room") else {
            return Ok(());
        };
        let Some(room) = number_of(name) else {
            return Ok(());
        };
        if self.rooms.len() <= room {
            self.rooms.resize(room + 1, Vec::new());
        }
        if let Some(relay) = self.relay.as_mut().filter(|_| self.rooms[room].is_empty()) {
            relay.subscribe(name)?;
        }
        self.rooms[room].push(key as u32);
        let mut bytes = Vec::new();
        write_frame(&mut bytes, JOINED.as_bytes());
        stream.write_all(&bytes)
    }

    /// Sends every message to each member of its room when it is due.
    fn run_load(&mut self, order: &FloorOrder) -> io::Result<()> {
        let FloorOrder {
            load, rooms, name, ..
        } = order;
        let is_ours = |number: u64| {
            let room = number as usize % rooms;
            room % order.room_step == order.first_room
        };
        let mut joined: Vec<Vec<u8>> = vec![Vec::new(); *rooms];
        let mut due: VecDeque<(u64, usize)> = VecDeque::new();
        let mut next = load.base;
        while next < load.end() || !due.is_empty() {
            let now = clock::now();
            while next < load.end() && load.due(next) <= now {
                let room = next as usize % rooms;
                if !is_ours(next) {
                    next += 1;
                    continue;
                }
                if joined[room].is_empty() {
                    due.push_back((now + order.join_us * 1000, room));
                }
                write_message(&mut joined[room], order, next);
                next += 1;
                if order.join_us == 0 {
                    break;
                }
            }
            while let Some(&(_, room)) = due.front().filter(|(due, _)| *due <= now) {
                due.pop_front();
                match &mut self.relay {
                    Some(relay) => relay.publish(&format!("{name}-{room}"), &joined[room])?,
                    None => self.deliver(room, &joined[room]),
                }
                joined[room].clear();
            }
            let first = due.front().map_or(u64::MAX, |(due, _)| *due);
            let follows = if next < load.end() {
                load.due(next)
            } else {
                u64::MAX
            };
            if first.min(follows) != u64::MAX {
                self.turn(clock::until(first.min(follows)))?;
            }
        }
        Ok(())
    }

    /// Writes to the room's members. Bytes that a socket does not take are dropped: there is no
    /// queue, and the member counts the loss.
    fn deliver(&self, room: usize, bytes: &[u8]) {
        for &key in self.rooms.get(room).into_iter().flatten() {
            if let Some(mut stream) = self.streams[key as usize].as_ref() {
                drop(stream.write(bytes));
            }
        }
    }
}

/// The room's number, from the end of its name.
fn number_of(room: &str) -> Option<usize> {
    room.rsplit_once('-')?.1.parse().ok()
}

/// Writes a frame of the same length as the event of a chat message.
fn write_message(out: &mut Vec<u8>, order: &FloorOrder, number: u64) {
    let FloorOrder {
        load, rooms, name, ..
    } = order;
    let room = number as usize % rooms;
    let offset = 1 + (number / *rooms as u64);
    let mut text = format!(
        r#"{{"type":"message","room":"{name}-{room}","message":"01JDAAAAAAAAAAAAAAAAAAAAAA","from":{{"id":"{name}-{room}","name":"{name}-{room}"}},"nonce":"b-{number}","body":"#
    );
    message::write_body(&mut text, number, load.payload);
    text.push_str(&format!(
        r#","ts":1763800000000,"epoch":"k3f9k3f9k3f9","offset":{offset}}}"#
    ));
    write_frame(out, text.as_bytes());
}

fn write_frame(out: &mut Vec<u8>, payload: &[u8]) {
    out.push(0x81);
    match payload.len() {
        short @ 0..=125 => out.push(short as u8),
        long => {
            out.push(126);
            out.extend_from_slice(&(long as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}
