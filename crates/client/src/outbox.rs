//! Sends without a reply yet. They are kept in order, retried with the same nonce and answered once.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use hubbub_protocol::RoomId;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::error::{Refusal, RequestError};
use crate::outgoing::Outgoing;
use crate::pace::{Pace, SendLimits};
use crate::reply::Sent;

const RETRY_BASE: Duration = Duration::from_millis(200);
const RETRY_CAP: Duration = Duration::from_secs(2);

/// An event that the server shall store.
#[derive(Debug)]
pub(crate) enum Change {
    Send(Box<RawValue>),
    Edit { target: u64, body: Box<RawValue> },
    Delete { target: u64 },
    React { target: u64, key: String, on: bool },
}

/// One change that waits for its reply. Here every change is called a send.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) room: RoomId,
    pub(crate) nonce: String,
    pub(crate) change: Change,
    pub(crate) deadline: Instant,
    pub(crate) reply: oneshot::Sender<Result<Sent, RequestError>>,
    /// The permit is released with the entry, which bounds the outbox.
    pub(crate) permit: OwnedSemaphorePermit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SendState {
    /// The send is written at this time at the earliest.
    Waiting(Option<Instant>),
    /// The send is written and its reply is awaited.
    InFlight,
}

#[derive(Debug)]
struct Slot {
    entry: Entry,
    state: SendState,
    backoff: Backoff,
}

/// The sends in order. The semaphore behind the permits bounds them.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    slots: VecDeque<Slot>,
    pace: Pace,
    /// The time at which a due send may go by the rate limit.
    paced_until: Option<Instant>,
}

impl Outbox {
    pub(crate) fn push(&mut self, entry: Entry) {
        self.slots.push_back(Slot {
            entry,
            state: SendState::Waiting(None),
            backoff: Backoff::new(RETRY_BASE, RETRY_CAP),
        });
    }

    /// A new connection has these limits.
    pub(crate) fn connected(&mut self, limits: SendLimits) {
        self.pace.restart(limits);
    }

    /// The frames to write now, in order and no faster than the server allows. A send that waits for its
    /// retry holds back the later ones of its room, so that they do not overtake it.
    pub(crate) fn take_due(
        &mut self,
        now: Instant,
        ready: impl Fn(&RoomId) -> bool,
    ) -> Vec<String> {
        let mut held = HashSet::new();
        let mut frames = Vec::new();
        self.paced_until = None;
        for Slot { entry, state, .. } in &mut self.slots {
            let SendState::Waiting(until) = *state else {
                continue;
            };
            let is_due = until.is_none_or(|until| until <= now);
            if held.contains(&entry.room) || !is_due || !ready(&entry.room) {
                held.insert(entry.room.clone());
                continue;
            }
            let turn = self.pace.next(now);
            if turn > now {
                self.paced_until = Some(turn);
                break;
            }
            self.pace.take(now);
            *state = SendState::InFlight;
            frames.push(entry.encode());
        }
        frames
    }

    /// Answers send `id`. Returns `false` if no send has this ID.
    pub(crate) fn settle(&mut self, id: u64, answer: Result<Sent, Refusal>, now: Instant) -> bool {
        let Some(index) = self.slots.iter().position(|slot| slot.entry.id == id) else {
            return false;
        };
        if let Err(refusal) = &answer
            && refusal.is_passing()
        {
            let slot = &mut self.slots[index];
            let delay = slot.backoff.next_delay();
            let delay = delay.max(refusal.retry_after.unwrap_or_default());
            slot.state = SendState::Waiting(Some(now + delay));
            return true;
        }
        if let Some(slot) = self.slots.remove(index) {
            slot.answer(answer.map_err(RequestError::Refused));
        }
        true
    }

    /// Whether a reply is awaited.
    pub(crate) fn is_open(&self) -> bool {
        self.slots
            .iter()
            .any(|slot| slot.state == SendState::InFlight)
    }

    /// The connection is lost. All open sends are written again on the next one.
    pub(crate) fn disconnected(&mut self) {
        for slot in &mut self.slots {
            slot.state = SendState::Waiting(None);
        }
        self.paced_until = None;
    }

    /// Ends the sends that have timed out.
    pub(crate) fn expire(&mut self, now: Instant) {
        let mut index = 0;
        while let Some(slot) = self.slots.get(index) {
            if slot.entry.deadline > now {
                index += 1;
            } else if let Some(slot) = self.slots.remove(index) {
                slot.answer(Err(RequestError::TimedOut));
            }
        }
    }

    /// The time at which `take_due` or `expire` must run.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.slots
            .iter()
            .map(|slot| match slot.state {
                SendState::Waiting(Some(until)) => until.min(slot.entry.deadline),
                SendState::Waiting(None) | SendState::InFlight => slot.entry.deadline,
            })
            .chain(self.paced_until)
            .min()
    }

    /// Ends all sends, because the client is closed.
    pub(crate) fn close(&mut self) {
        for slot in self.slots.drain(..) {
            slot.answer(Err(RequestError::Closed));
        }
    }
}

impl Entry {
    fn encode(&self) -> String {
        let Self {
            id, room, nonce, ..
        } = self;
        let id = *id;
        match &self.change {
            Change::Send(body) => Outgoing::Send {
                id,
                room,
                nonce,
                body,
            },
            &Change::Edit { target, ref body } => Outgoing::Edit {
                id,
                room,
                target,
                nonce,
                body,
            },
            &Change::Delete { target } => Outgoing::Delete {
                id,
                room,
                target,
                nonce,
            },
            &Change::React {
                target,
                ref key,
                on,
            } => Outgoing::React {
                id,
                room,
                target,
                nonce,
                key,
                on,
            },
        }
        .encode()
    }
}

impl Slot {
    fn answer(self, result: Result<Sent, RequestError>) {
        drop(self.entry.permit);
        // A caller that no longer waits has dropped its receiver.
        let _ = self.entry.reply.send(result);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    type Outcome = oneshot::Receiver<Result<Sent, RequestError>>;

    fn push(outbox: &mut Outbox, id: u64, room: &str, now: Instant) -> Outcome {
        let (reply, receiver) = oneshot::channel();
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        outbox.push(Entry {
            id,
            room: RoomId::new(room).unwrap(),
            nonce: format!("n{id}"),
            change: Change::Send(RawValue::from_string("1".to_owned()).unwrap()),
            deadline: now + Duration::from_secs(10),
            reply,
            permit,
        });
        receiver
    }

    fn sent() -> Sent {
        serde_json::from_str(
            r#"{"room":"r","epoch":"e","offset":1,"duplicate":false,"ack":"stream"}"#,
        )
        .unwrap()
    }

    fn refused(code: &str) -> Refusal {
        Refusal {
            code: code.to_owned(),
            message: String::new(),
            retry_after: None,
        }
    }

    /// The IDs of the frames to write.
    fn due(outbox: &mut Outbox, now: Instant) -> Vec<u64> {
        ids(&outbox.take_due(now, |_| true))
    }

    fn ids(frames: &[String]) -> Vec<u64> {
        let id = |frame: &String| {
            let value: serde_json::Value = serde_json::from_str(frame).unwrap();
            assert_eq!(value["nonce"], format!("n{}", value["id"]));
            value["id"].as_u64().unwrap()
        };
        frames.iter().map(id).collect()
    }

    #[test]
    fn each_send_is_written_once_and_answered_once() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        let mut reply = push(&mut outbox, 1, "r", now);
        assert_eq!(due(&mut outbox, now), [1]);
        assert_eq!(due(&mut outbox, now), [] as [u64; 0]);
        assert!(outbox.settle(1, Ok(sent()), now));
        assert_eq!(reply.try_recv().unwrap(), Ok(sent()));
        assert!(!outbox.settle(1, Ok(sent()), now));
    }

    #[test]
    fn after_a_reconnect_open_sends_are_written_again_in_order_with_their_nonces() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        let _replies: Vec<Outcome> = (1..=4).map(|id| push(&mut outbox, id, "r", now)).collect();
        assert_eq!(due(&mut outbox, now), [1, 2, 3, 4]);
        outbox.settle(2, Ok(sent()), now);
        outbox.disconnected();
        assert_eq!(due(&mut outbox, now), [1, 3, 4]);
    }

    #[test]
    fn a_room_that_is_not_joined_yet_holds_back_its_own_sends_only() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        let _a = push(&mut outbox, 1, "a", now);
        let _b = push(&mut outbox, 2, "b", now);
        let frames = outbox.take_due(now, |room| room.as_str() == "b");
        assert_eq!(ids(&frames), [2]);
        assert_eq!(due(&mut outbox, now), [1]);
    }

    #[test]
    fn unavailable_and_unknown_are_retried_and_hold_their_room() {
        for code in ["unavailable", "unknown"] {
            let (mut outbox, now) = (Outbox::default(), Instant::now());
            let mut first = push(&mut outbox, 1, "r", now);
            assert_eq!(due(&mut outbox, now), [1]);
            outbox.settle(1, Err(refused(code)), now);
            let _second = push(&mut outbox, 2, "r", now);
            let _other = push(&mut outbox, 3, "other", now);
            assert_eq!(due(&mut outbox, now - Duration::from_millis(1)), [3]);
            assert!(first.try_recv().is_err(), "not answered yet");
            let wake = outbox.next_wake().unwrap();
            assert!(wake <= now + RETRY_BASE);
            assert_eq!(due(&mut outbox, wake), [1, 2]);
        }
    }

    #[test]
    fn any_other_error_is_returned_to_the_caller() {
        for code in ["conflict", "too_large", "rate_limited", "forbidden"] {
            let (mut outbox, now) = (Outbox::default(), Instant::now());
            let mut reply = push(&mut outbox, 1, "r", now);
            due(&mut outbox, now);
            outbox.settle(1, Err(refused(code)), now);
            assert_eq!(
                reply.try_recv().unwrap(),
                Err(RequestError::Refused(refused(code)))
            );
        }
    }

    #[test]
    fn the_servers_limit_holds_sends_back() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        let limits = r#"{"sends_per_second":10,"sends_burst":3}"#;
        outbox.connected(serde_json::from_str(limits).unwrap());
        let _replies: Vec<Outcome> = (1..=4).map(|id| push(&mut outbox, id, "r", now)).collect();
        assert_eq!(due(&mut outbox, now), [1, 2]);
        let wake = outbox.next_wake().unwrap();
        assert_eq!(wake - now, Duration::from_millis(100));
        assert_eq!(due(&mut outbox, wake), [3]);
        outbox.disconnected();
        let next = outbox.next_wake().unwrap();
        assert!(
            next > wake + Duration::from_secs(1),
            "nothing to do without a connection"
        );
    }

    #[test]
    fn the_deadline_ends_the_tries() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        let mut reply = push(&mut outbox, 1, "r", now);
        due(&mut outbox, now);
        outbox.settle(1, Err(refused("unavailable")), now);
        outbox.expire(now + Duration::from_secs(9));
        assert!(reply.try_recv().is_err());
        outbox.expire(now + Duration::from_secs(10));
        assert_eq!(reply.try_recv().unwrap(), Err(RequestError::TimedOut));
        assert_eq!(outbox.next_wake(), None);
    }
}
