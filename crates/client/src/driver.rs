//! The one task of a client: owns the line, the books of what is open, and the event queue.

use std::time::Duration;

use hubbub_protocol::RoomId;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::backoff::Backoff;
use crate::config::{ClientConfig, Credentials, Start};
use crate::event::ClientEvent;
use crate::frame::{Answer, Incoming, Welcome, read};
use crate::line::{Line, Progress};
use crate::outbox::{Entry, Outbox};
use crate::outgoing::Outgoing;
use crate::patience::{Patience, Step};
use crate::requests::{Asked, Question, Requests};
use crate::rooms::{Ready, Rooms, Waiter};
use crate::socket::{Ending, Opened, Socket, open};
use crate::stream::Trust;
use crate::url::NodeUrl;

/// The requests of the user's handle to the task.
#[derive(Debug)]
pub(crate) enum Command {
    Join(RoomId, Start, Waiter),
    Ask(Asked),
    Send(Entry),
    /// Said once, and of no use later.
    Remark(String),
}

/// Close codes of a token that was good before: a guest then asks for a new one.
const EXPIRED: [u16; 2] = [
    hubbub_protocol::CloseCode::TokenExpired as u16,
    hubbub_protocol::CloseCode::BadToken as u16,
];

#[derive(Debug)]
pub(crate) struct Driver {
    config: ClientConfig,
    trust: Trust,
    urls: Vec<NodeUrl>,
    /// Index of the node in use or to be tried next.
    url: usize,
    /// A guest's token, once it has been good.
    guest: Option<String>,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<ClientEvent>,
    closing: CancellationToken,
    /// Events of the last frame that wait for a place in the queue; the socket is not read while
    /// there are any, so this holds at most one frame's events.
    ready: Ready,
    rooms: Rooms,
    outbox: Outbox,
    requests: Requests,
    last_id: u64,
    backoff: Backoff,
    line: Line,
    patience: Patience,
    opened_at: Option<Instant>,
    /// The server has asked us to be on another node from this time.
    move_at: Option<Instant>,
    /// Says goodbye on the connection before.
    farewell: Option<AbortOnDropHandle<()>>,
}

impl Driver {
    pub(crate) fn new(
        config: ClientConfig,
        trust: Trust,
        urls: Vec<NodeUrl>,
        commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<ClientEvent>,
        closing: CancellationToken,
    ) -> Self {
        Self {
            backoff: Backoff::new(config.backoff_base, config.backoff_cap),
            patience: Patience::new(config.probe_after, config.move_after),
            config,
            trust,
            urls,
            url: 0,
            guest: None,
            commands,
            events,
            closing,
            ready: Ready::new(),
            rooms: Rooms::default(),
            outbox: Outbox::default(),
            requests: Requests::default(),
            last_id: 0,
            line: Line::Waiting(Instant::now()),
            opened_at: None,
            move_at: None,
            farewell: None,
        }
    }

    pub(crate) async fn run(mut self) {
        let ending = loop {
            self.tick();
            let wake = self.next_wake();
            let reading = self.ready.is_empty();
            tokio::select! {
                () = self.closing.cancelled() => break None,
                command = self.commands.recv() => match command {
                    Some(command) => self.accept(command),
                    None => break None,
                },
                () = hand_on(&self.events, &mut self.ready), if !reading => {}
                progress = self.line.progress(reading) => {
                    if let Err(ending) = self.advance(progress) {
                        break Some(ending);
                    }
                }
                () = sleep_until(wake) => {}
            }
        };
        self.close(ending).await;
    }

    /// When `tick` has something to do, at the latest.
    fn next_wake(&self) -> Instant {
        let wakes = [
            self.rooms.next_wake(),
            self.outbox.next_wake(),
            self.requests.next_wake(),
            self.patience.next_wake(),
            self.move_at,
        ];
        let horizon = Instant::now() + Duration::from_secs(60);
        wakes.into_iter().flatten().fold(horizon, Instant::min)
    }

    /// Ends what has waited for too long and writes what is due.
    fn tick(&mut self) {
        let now = Instant::now();
        self.outbox.expire(now);
        self.requests.expire(now);
        self.rooms.expire(now);
        if self.move_at.is_some_and(|at| at <= now) {
            self.move_on();
        }
        self.look_at_the_node(now);
        let Line::Open(socket) = &mut self.line else {
            return;
        };
        let rooms = &self.rooms;
        let sends = self.outbox.take_due(now, |room| rooms.may_send(room));
        let joins = self.rooms.take_due(now, &mut self.last_id);
        let questions = self.requests.take_due();
        for frame in joins.into_iter().chain(questions).chain(sends) {
            socket.queue(frame);
        }
        // The answers to the frames that were just written are awaited from now on.
        self.look_at_the_node(now);
    }

    /// Probes or leaves a node that answers nothing. While the user's queue is full nothing is read,
    /// so that nothing can be said about the node.
    fn look_at_the_node(&mut self, now: Instant) {
        let is_awaited = self.outbox.is_open() || self.requests.is_open() || self.rooms.is_open();
        let is_open = is_awaited && self.ready.is_empty();
        let Line::Open(socket) = &mut self.line else {
            return;
        };
        match self.patience.look(now, is_open) {
            None => {}
            Some(Step::Probe) => {
                self.last_id += 1;
                socket.queue_if_idle(Outgoing::Ping { id: self.last_id }.encode());
            }
            Some(Step::Move) => self.lost(Ending::abrupt("the node does not answer")),
        }
    }

    fn accept(&mut self, command: Command) {
        match command {
            Command::Join(room, start, waiter) => self.rooms.join(room, start, waiter),
            Command::Ask(asked) => self.ask(asked),
            Command::Send(mut entry) => {
                self.last_id += 1;
                entry.id = self.last_id;
                self.outbox.push(entry);
            }
            Command::Remark(frame) => {
                if let Line::Open(socket) = &mut self.line {
                    socket.queue_if_idle(frame);
                }
            }
        }
    }

    fn ask(&mut self, asked: Asked) {
        if let Question::Leave { room } = &asked.question {
            let is_told = self.rooms.leave(room);
            if !is_told || !matches!(self.line, Line::Open(_)) {
                asked.answer(Ok(Answer::Left));
                return;
            }
        }
        if let Question::Refresh { token } = &asked.question {
            // The next connection begins with it.
            self.config.credentials = Credentials::Token(token.clone());
        }
        self.last_id += 1;
        self.requests.push(self.last_id, asked);
    }

    /// # Errors
    /// An ending that is final.
    fn advance(&mut self, progress: Progress) -> Result<(), Ending> {
        match progress {
            Progress::Due => {
                self.open();
                Ok(())
            }
            Progress::Opened(opened) => {
                self.opened(*opened);
                Ok(())
            }
            Progress::Text(text) => {
                self.hear(&text);
                Ok(())
            }
            Progress::Ended(ending) => self.ended(ending),
        }
    }

    fn open(&mut self) {
        let credentials = match (&self.config.credentials, &self.guest) {
            (Credentials::Guest { .. }, Some(token)) => Credentials::Token(token.clone()),
            (credentials, _) => credentials.clone(),
        };
        let (url, trust) = (self.urls[self.url].clone(), self.trust.clone());
        let attempt = tokio::spawn(open(url, trust, credentials, self.config.connect_timeout));
        self.line = Line::Opening(AbortOnDropHandle::new(attempt));
    }

    fn opened(&mut self, opened: Opened) {
        let Opened {
            socket,
            welcome,
            token,
        } = opened;
        if matches!(self.config.credentials, Credentials::Guest { .. }) {
            self.guest = Some(token);
        }
        let Welcome {
            connection,
            node,
            user,
            ping_ms: _,
            limits,
        } = welcome;
        self.outbox.connected(limits);
        tracing::debug!(node, connection, "connected");
        self.opened_at = Some(Instant::now());
        self.move_at = None;
        self.line = Line::Open(Box::new(socket));
        self.ready.push_back(ClientEvent::Connected {
            node,
            connection,
            user,
        });
    }

    fn hear(&mut self, text: &str) {
        let now = Instant::now();
        match read(text) {
            Ok(Incoming::Answer(id, answer)) => self.settle(id, answer, now),
            Ok(Incoming::Event(event)) => self.rooms.event(event, now, &mut self.ready),
            Ok(Incoming::Push(push)) => {
                if let ClientEvent::Reset {
                    room,
                    epoch,
                    offset,
                } = &push
                {
                    self.rooms.reset(room, epoch, *offset);
                }
                self.ready.push_back(push);
            }
            Ok(Incoming::PutOut(room)) => self.rooms.put_out(&room),
            Ok(Incoming::Reconnect { after }) => self.move_at = Some(now + after),
            Ok(Incoming::Welcome(_) | Incoming::Unknown) => {}
            // Nothing we could do about it: an event lost by this shows as a gap.
            Err(error) => tracing::warn!(%error, "a frame is not understood"),
        }
    }

    /// Finds whose answer this is; nobody's when its asker has given up.
    fn settle(&mut self, id: u64, answer: Answer, now: Instant) {
        if self.is_settled(id, answer, now) {
            self.patience.restart();
        }
    }

    /// `false`: nobody waits for it, or it answers a probe.
    fn is_settled(&mut self, id: u64, answer: Answer, now: Instant) -> bool {
        let Some(answer) = self.rooms.settle(id, answer, now, &mut self.ready) else {
            return true;
        };
        let Some(answer) = self.requests.settle(id, answer) else {
            return true;
        };
        match answer {
            Answer::Sent(sent) => self.outbox.settle(id, Ok(sent), now),
            Answer::Error(refusal) => self.outbox.settle(id, Err(refusal), now),
            _ => false,
        }
    }

    /// # Errors
    /// The ending itself when it is final.
    fn ended(&mut self, mut ending: Ending) -> Result<(), Ending> {
        let is_expired = ending.code.is_some_and(|code| EXPIRED.contains(&code));
        if is_expired && self.guest.take().is_some() {
            ending.is_final = false;
        }
        if ending.is_final {
            return Err(ending);
        }
        self.lost(ending);
        Ok(())
    }

    /// Gives the connection up and plans the next one.
    fn lost(&mut self, ending: Ending) {
        let now = Instant::now();
        let lived = self.opened_at.take().map(|opened| now - opened);
        if lived.is_some_and(|lived| lived >= self.config.stable_after) {
            self.backoff.reset();
        }
        let delay = match self.move_at.take() {
            Some(at) => at.saturating_duration_since(now),
            None => self.backoff.next_delay(),
        };
        let retry_in = delay.max(ending.retry_after.unwrap_or_default());
        self.disconnect(now + retry_in);
        tracing::debug!(
            code = ending.code,
            reason = ending.reason,
            ?retry_in,
            "disconnected"
        );
        self.ready.push_back(ClientEvent::Disconnected {
            code: ending.code,
            reason: ending.reason,
            retry_in,
        });
    }

    /// The server wants us elsewhere and has not closed: go now.
    fn move_on(&mut self) {
        self.move_at = None;
        if let Line::Open(_) = self.line {
            self.disconnect(Instant::now());
            self.ready.push_back(ClientEvent::Disconnected {
                code: None,
                reason: "moving to another node, as asked".to_owned(),
                retry_in: Duration::ZERO,
            });
        }
    }

    /// Gives up the line; the next attempt goes to the next node.
    fn disconnect(&mut self, until: Instant) {
        let line = std::mem::replace(&mut self.line, Line::Waiting(until));
        if let Line::Open(socket) = line {
            let farewell = tokio::spawn(Socket::close(*socket));
            self.farewell = Some(AbortOnDropHandle::new(farewell));
        }
        self.url = (self.url + 1) % self.urls.len();
        self.patience.restart();
        self.rooms.disconnected();
        self.outbox.disconnected();
        self.requests.disconnected();
    }

    /// Answers everything open and tells the user; `None`: the user asked for it.
    async fn close(mut self, ending: Option<Ending>) {
        self.rooms.close();
        self.outbox.close();
        self.requests.close();
        self.commands.close();
        let (code, reason) = match ending {
            Some(ending) => (ending.code, ending.reason),
            None => (None, "closed by its user".to_owned()),
        };
        let last = ClientEvent::Closed { code, reason };
        let tell = async {
            for event in self.ready.drain(..).chain([last]) {
                if self.events.send(event).await.is_err() {
                    return;
                }
            }
        };
        let goodbye = async {
            if let Line::Open(socket) = self.line {
                socket.close().await;
            }
        };
        // A reader that has stopped reading must not keep a closed client alive.
        let tell = async {
            tokio::select! {
                biased;
                () = tell => {}
                () = self.closing.cancelled() => {}
            }
        };
        tokio::join!(goodbye, tell);
    }
}

/// Moves events into the user's queue, waiting for a place for the first. Cancel safe.
async fn hand_on(events: &mpsc::Sender<ClientEvent>, ready: &mut Ready) {
    let mut permit = events.reserve().await.map_err(|_| ());
    while let Ok(place) = permit {
        let Some(event) = ready.pop_front() else {
            return;
        };
        place.send(event);
        permit = match events.try_reserve() {
            Ok(permit) => Ok(permit),
            Err(TrySendError::Full(())) => return,
            Err(TrySendError::Closed(())) => Err(()),
        };
    }
    // Nobody listens: what is not heard is not kept.
    ready.clear();
}
