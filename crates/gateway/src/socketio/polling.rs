//! A connection over HTTP: a GET waits for messages to the client, a POST carries messages from it.

use std::future::pending;
use std::sync::atomic::Ordering;

use hubbub_protocol::CloseCode;
use hubbub_protocol::socketio::{EnginePacket, Message, decode_payload, encode_payload};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::clock::{Clock, Signs, Tick};
use super::handler::{ClientMessage, Ended, Inbound, Outbound};
use super::probe::Probe;
use super::sessions::{Inbox, Poll, PollAnswer, Post};
use crate::ws::socket::Socket;

/// The packet that ends a GET of a client that goes.
const NOOP: &str = "6";
/// The packet that tells a client to go.
const CLOSE: &str = "1";
/// Packets of one answer: python-engineio refuses a longer one and ends the connection.
const MAX_PACKETS: usize = 16;

/// Why the polling stopped.
pub(super) enum Stop<H> {
    /// The client goes on here.
    Upgraded(Box<Socket>, H),
    Ended(Ended, Farewell),
}

/// The answers that are due when the session can no longer be found.
#[derive(Debug, Default)]
pub(super) struct Farewell {
    /// The last packet for the waiting GET, after the batch; `None`: the batch alone.
    last: Option<&'static str>,
    refused: Option<oneshot::Sender<PollAnswer>>,
    /// The POST that ended it, and whether it was well-formed.
    post: Option<(oneshot::Sender<bool>, bool)>,
}

/// A polling client as its session sees it.
#[derive(Debug, Default)]
pub(super) struct PollState {
    /// The GET that waits.
    waiting: Option<oneshot::Sender<PollAnswer>>,
    /// Packets that no GET has fetched yet.
    pub(super) batch: Vec<Message>,
}

/// The surroundings of the polling.
pub(super) struct Around<'a> {
    pub(super) clock: &'a mut Clock,
    pub(super) closing: &'a CancellationToken,
    pub(super) tasks: &'a TaskTracker,
}

impl PollState {
    /// Runs until the client goes, is sent away, or goes on over a WebSocket.
    pub(super) async fn serve<E: Inbound, M: Outbound>(
        &mut self,
        (inbound, outbound): (&mut E, &mut M),
        inbox: Inbox<E::Permits>,
        around: Around<'_>,
    ) -> Stop<E::Permits> {
        let signs = Signs::default();
        let Inbox { posts, polls } = inbox;
        tokio::select! {
            biased;
            stop = read_posts(inbound, posts, &signs) => stop,
            stop = self.answer_polls(outbound, polls, around, &signs) => stop,
        }
    }

    async fn answer_polls<M: Outbound, H: Send + 'static>(
        &mut self,
        outbound: &mut M,
        mut polls: mpsc::Receiver<Poll<H>>,
        around: Around<'_>,
        signs: &Signs,
    ) -> Stop<H> {
        let mut probe = Probe::new(around.tasks.clone());
        loop {
            if probe.is_answered() {
                self.answer(NOOP);
            } else if !self.batch.is_empty() {
                self.flush(MAX_PACKETS);
            }
            // A client that does not fetch its packets is asked nothing new: the outbox is bounded.
            let has_reader = self.waiting.is_some() && !probe.is_answered();
            tokio::select! {
                biased;
                poll = polls.recv() => match poll {
                    Some(Poll::Get(_)) if around.clock.is_over(signs) => {
                        return sent_away(CloseCode::NoPong);
                    }
                    Some(Poll::Get(get)) if self.waiting.is_some() => return overlap(get),
                    Some(Poll::Get(get)) => self.waiting = Some(get),
                    Some(Poll::Overlap(post)) => return overlap(post),
                    Some(Poll::Socket(socket, permits)) => probe.offer(socket, permits),
                    None => return ended(Ended::Gone),
                },
                () = aborted(&mut self.waiting) => return ended(Ended::Gone),
                said = listen(outbound, &mut self.batch, has_reader) => if let Err(code) = said {
                    return self.last_words(code);
                },
                () = around.clock.due() => match around.clock.tick(signs, outbound.has_joined()) {
                    Tick::Nothing => {}
                    Tick::Ping => self.batch.push(Message::bare("2")),
                    Tick::NoPong => return sent_away(CloseCode::NoPong),
                    Tick::NoConnect => return sent_away(CloseCode::NoHello),
                },
                gone_on = probe.next() => match gone_on {
                    // A client stops polling first: what it has posted has been answered.
                    Some(_) if signs.busy.load(Ordering::Relaxed) => {
                        return sent_away(CloseCode::BadFrames);
                    }
                    Some((socket, permits)) => return Stop::Upgraded(socket, permits),
                    None => {}
                },
                () = around.closing.cancelled() => return sent_away(CloseCode::Restart),
            }
        }
    }

    /// A client that is told the reason and shall not come back gets no packet after that: the library
    /// would learn of the end first and begin to reconnect. Its next GET finds no session.
    fn last_words<H>(&self, code: CloseCode) -> Stop<H> {
        if CloseCode::is_resumable(code.as_u16()) || self.batch.is_empty() {
            sent_away(code)
        } else {
            ended(Ended::ByUs(code))
        }
    }

    /// Gives the waiting GET up to `most` packets.
    fn flush(&mut self, most: usize) {
        let Some(waiting) = self.waiting.take() else {
            return;
        };
        let delay = self.batch.split_off(most.min(self.batch.len()));
        let body = encode_payload(&std::mem::replace(&mut self.batch, delay));
        // A client that has gone meanwhile is noticed by its session, and resumes.
        drop(waiting.send(PollAnswer::Body(body)));
    }

    /// Gives the waiting GET one packet and nothing else.
    pub(super) fn answer(&mut self, packet: &str) {
        if let Some(waiting) = self.waiting.take() {
            drop(waiting.send(PollAnswer::Body(packet.to_owned())));
        }
    }

    /// The last answers; the session cannot be found any more.
    pub(super) fn bid(&mut self, farewell: Farewell) {
        match farewell.last {
            Some(CLOSE) => {
                self.batch.push(Message::bare(CLOSE));
                // There is no further answer for what does not fit.
                self.flush(usize::MAX);
            }
            Some(packet) => self.answer(packet),
            None if self.batch.is_empty() => {}
            None => self.flush(usize::MAX),
        }
        if let Some(refused) = farewell.refused {
            drop(refused.send(PollAnswer::Refused));
        }
        if let Some((post, is_good)) = farewell.post {
            let _ = post.send(is_good);
        }
    }
}

/// Waits for something to send, or only for a reason to end while no request could carry it.
async fn listen<M: Outbound>(
    outbound: &mut M,
    batch: &mut Vec<Message>,
    has_reader: bool,
) -> Result<(), CloseCode> {
    if has_reader {
        return outbound.say(batch).await;
    }
    outbound.is_shed().await;
    Err(CloseCode::Slow)
}

/// Waits until the client has given up the GET that waits.
async fn aborted(waiting: &mut Option<oneshot::Sender<PollAnswer>>) {
    match waiting {
        Some(waiting) => waiting.closed().await,
        None => pending().await,
    }
}

fn ended<H>(end: Ended) -> Stop<H> {
    Stop::Ended(end, Farewell::default())
}

fn sent_away<H>(code: CloseCode) -> Stop<H> {
    let farewell = Farewell {
        last: Some(CLOSE),
        ..Farewell::default()
    };
    Stop::Ended(Ended::ByUs(code), farewell)
}

fn overlap<H>(second: oneshot::Sender<PollAnswer>) -> Stop<H> {
    let farewell = Farewell {
        last: Some(CLOSE),
        refused: Some(second),
        post: None,
    };
    Stop::Ended(Ended::ByUs(CloseCode::BadFrames), farewell)
}

async fn read_posts<E: Inbound>(
    inbound: &mut E,
    mut posts: mpsc::Receiver<Post>,
    signs: &Signs,
) -> Stop<E::Permits> {
    loop {
        let Some(Post { body, done, paid }) = posts.recv().await else {
            return ended(Ended::Gone);
        };
        signs.busy.store(true, Ordering::Relaxed);
        let heard = Box::pin(hear_all(inbound, body.as_deref(), signs)).await;
        signs.busy.store(false, Ordering::Relaxed);
        drop((body, paid));
        let (end, last, is_good) = match heard {
            Ok(()) => {
                let _ = done.send(true);
                continue;
            }
            Err(Fault::Close) => (Ended::ByThem, NOOP, true),
            Err(Fault::Unreadable) => (Ended::ByUs(CloseCode::BadFrames), CLOSE, false),
            Err(Fault::Refused(code)) => (Ended::ByUs(code), CLOSE, true),
        };
        let farewell = Farewell {
            last: Some(last),
            refused: None,
            post: Some((done, is_good)),
        };
        return Stop::Ended(end, farewell);
    }
}

/// Why a body ends the session.
enum Fault {
    /// The client says goodbye.
    Close,
    /// It is no Engine.IO.
    Unreadable,
    /// It is, and what it says is not taken.
    Refused(CloseCode),
}

async fn hear_all<E: Inbound>(
    inbound: &mut E,
    body: Option<&str>,
    signs: &Signs,
) -> Result<(), Fault> {
    for packet in decode_payload(body.ok_or(Fault::Unreadable)?) {
        let message = match packet {
            Ok(EnginePacket::Text(text)) => ClientMessage::Text(text),
            Ok(EnginePacket::Binary(bytes)) => ClientMessage::Binary(bytes),
            Ok(EnginePacket::Pong) => {
                signs.pong.store(true, Ordering::Relaxed);
                inbound.count_packet().map_err(Fault::Refused)?;
                continue;
            }
            Ok(EnginePacket::Upgrade | EnginePacket::Idle) => {
                inbound.count_packet().map_err(Fault::Refused)?;
                continue;
            }
            Ok(EnginePacket::Close) => return Err(Fault::Close),
            Ok(EnginePacket::Probe) | Err(_) => return Err(Fault::Unreadable),
        };
        inbound.receive(message).await.map_err(Fault::Refused)?;
    }
    Ok(())
}
