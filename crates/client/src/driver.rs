//! The one task of a client. It owns the connection, the open requests and the event queue.

mod lifecycle;

use std::time::Duration;

use hubbub_protocol::RoomId;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::backoff::Backoff;
use crate::client_event::ClientEvent;
use crate::config::{ClientConfig, Credentials, Start};
use crate::connection::{Connection, Progress};
use crate::frame::{Answer, Incoming, read};
use crate::liveness::{Liveness, LivenessStep};
use crate::outbox::{Entry, Outbox};
use crate::outgoing::Outgoing;
use crate::requests::{PendingRequest, Request, Requests};
use crate::rooms::{Ready, Rooms, Waiter};
use crate::socket::Ending;
use crate::stream::Trust;
use crate::url::NodeUrl;

/// The commands of the application's handle to the task.
#[derive(Debug)]
pub(crate) enum Command {
    Join(RoomId, Start, Waiter),
    Request(PendingRequest),
    Send(Entry),
    /// A frame that is written once, if the client is connected.
    Signal(String),
}

#[derive(Debug)]
pub(crate) struct Driver {
    config: ClientConfig,
    trust: Trust,
    urls: Vec<NodeUrl>,
    /// The index of the node in use, or of the next one to try.
    url: usize,
    /// A guest's token, once the server has accepted it.
    guest: Option<String>,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<ClientEvent>,
    closing: CancellationToken,
    /// Events that wait for space in the queue. The socket is not read meanwhile, so these are at most
    /// one frame's events.
    ready: Ready,
    rooms: Rooms,
    outbox: Outbox,
    requests: Requests,
    last_id: u64,
    backoff: Backoff,
    connection: Connection,
    liveness: Liveness,
    opened_at: Option<Instant>,
    /// The time at which the client moves to another node, as the server asked.
    move_at: Option<Instant>,
    /// The task that closes the previous connection.
    closing_socket: Option<AbortOnDropHandle<()>>,
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
            liveness: Liveness::new(config.probe_after, config.move_after),
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
            connection: Connection::Waiting(Instant::now()),
            opened_at: None,
            move_at: None,
            closing_socket: None,
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
                () = hand_out(&self.events, &mut self.ready), if !reading => {}
                progress = self.connection.progress(reading) => {
                    if let Err(ending) = self.advance(progress) {
                        break Some(ending);
                    }
                }
                () = sleep_until(wake) => {}
            }
        };
        self.close(ending).await;
    }

    /// The latest time at which `tick` must run.
    fn next_wake(&self) -> Instant {
        let wakes = [
            self.rooms.next_wake(),
            self.outbox.next_wake(),
            self.requests.next_wake(),
            self.liveness.next_wake(),
            self.move_at,
        ];
        let horizon = Instant::now() + Duration::from_secs(60);
        wakes.into_iter().flatten().fold(horizon, Instant::min)
    }

    /// Ends the requests that have timed out and writes the frames that are due.
    fn tick(&mut self) {
        let now = Instant::now();
        self.outbox.expire(now);
        self.requests.expire(now);
        self.rooms.expire(now);
        if self.move_at.is_some_and(|at| at <= now) {
            self.move_on();
        }
        self.check_node(now);
        let Connection::Open(socket) = &mut self.connection else {
            return;
        };
        let rooms = &self.rooms;
        let sends = self.outbox.take_due(now, |room| rooms.may_send(room));
        let joins = self.rooms.take_due(now, &mut self.last_id);
        let requests = self.requests.take_due();
        for frame in joins.into_iter().chain(requests).chain(sends) {
            socket.queue(frame);
        }
        // The client waits for replies to the new frames from now on.
        self.check_node(now);
    }

    /// Probes or leaves a node that does not reply. While the event queue is full, the client reads
    /// nothing and so cannot judge the node.
    fn check_node(&mut self, now: Instant) {
        let is_awaited = self.outbox.is_open() || self.requests.is_open() || self.rooms.is_open();
        let is_open = is_awaited && self.ready.is_empty();
        let Connection::Open(socket) = &mut self.connection else {
            return;
        };
        match self.liveness.check(now, is_open) {
            None => {}
            Some(LivenessStep::Probe) => {
                self.last_id += 1;
                socket.queue_if_idle(Outgoing::Ping { id: self.last_id }.encode());
            }
            Some(LivenessStep::Move) => self.lost(Ending::abrupt("the node does not answer")),
        }
    }

    fn accept(&mut self, command: Command) {
        match command {
            Command::Join(room, start, waiter) => self.rooms.join(room, start, waiter),
            Command::Request(pending) => self.request(pending),
            Command::Send(mut entry) => {
                self.last_id += 1;
                entry.id = self.last_id;
                self.outbox.push(entry);
            }
            Command::Signal(frame) => {
                if let Connection::Open(socket) = &mut self.connection {
                    socket.queue_if_idle(frame);
                }
            }
        }
    }

    fn request(&mut self, pending: PendingRequest) {
        if let Request::Leave { room } = &pending.request {
            let is_told = self.rooms.leave(room);
            if !is_told || !matches!(self.connection, Connection::Open(_)) {
                pending.answer(Ok(Answer::Left));
                return;
            }
        }
        if let Request::Refresh { token } = &pending.request {
            // The next connection uses the new token.
            self.config.credentials = Credentials::Token(token.clone());
        }
        self.last_id += 1;
        self.requests.push(self.last_id, pending);
    }

    /// # Errors
    /// The ending, if it is final.
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
                self.receive(&text);
                Ok(())
            }
            Progress::Ended(ending) => self.ended(ending),
        }
    }

    fn receive(&mut self, text: &str) {
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
            Ok(Incoming::Removed(room)) => self.rooms.remove(&room),
            Ok(Incoming::Reconnect { after }) => self.move_at = Some(now + after),
            Ok(Incoming::Welcome(_) | Incoming::Unknown) => {}
            // The frame is skipped. If it was an event, its loss shows as a gap.
            Err(error) => tracing::warn!(%error, "unreadable frame skipped"),
        }
    }

    /// Hands a reply to its request. A reply to a request that has timed out is dropped.
    fn settle(&mut self, id: u64, answer: Answer, now: Instant) {
        if self.is_settled(id, answer, now) {
            self.liveness.restart();
        }
    }

    /// Returns `false` if no request waits for the reply, or if it answers a probe.
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

    /// Ends all open requests and hands out the last event. `ending` is `None` if the application closed
    /// the client.
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
        let close = async {
            if let Connection::Open(socket) = self.connection {
                socket.close().await;
            }
        };
        // An application that has stopped reading must not keep a closed client alive.
        let tell = async {
            tokio::select! {
                biased;
                () = tell => {}
                () = self.closing.cancelled() => {}
            }
        };
        tokio::join!(close, tell);
    }
}

/// Moves events into the application's queue. Waits for space for the first one. Cancel safe.
async fn hand_out(events: &mpsc::Sender<ClientEvent>, ready: &mut Ready) {
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
    // The application has dropped the queue, so the events are dropped too.
    ready.clear();
}
