//! Tests of resumes: the requests after a reconnect, and the events that are handed out.

use std::sync::Arc;

use tokio::sync::{Semaphore, oneshot};

use super::*;
use crate::frame::{Incoming, read};

struct Fixture {
    rooms: Rooms,
    ready: Ready,
    last_id: u64,
    now: Instant,
}

impl Fixture {
    fn new() -> Self {
        Self {
            rooms: Rooms::default(),
            ready: Ready::new(),
            last_id: 0,
            now: Instant::now(),
        }
    }

    fn join(&mut self, start: Start) -> oneshot::Receiver<Result<Answer, RequestError>> {
        let (reply, receiver) = oneshot::channel();
        let waiter = Waiter {
            deadline: self.now + Duration::from_secs(10),
            reply,
            permit: Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap(),
        };
        self.rooms.join(RoomId::new("r").unwrap(), start, waiter);
        receiver
    }

    fn due(&mut self) -> Vec<String> {
        self.rooms.take_due(self.now, &mut self.last_id)
    }

    fn answer(&mut self, text: &str) {
        let Ok(Incoming::Answer(id, answer)) = read(text) else {
            panic!("{text}")
        };
        let unused = self.rooms.settle(id, answer, self.now, &mut self.ready);
        assert!(unused.is_none(), "{unused:?}");
    }

    fn joined(&mut self, epoch: &str, top: u64, recovered: bool, offsets: &[u64]) {
        let events: Vec<String> = offsets.iter().map(|offset| text(epoch, *offset)).collect();
        let (id, events) = (self.last_id, events.join(","));
        self.answer(&format!(
            r#"{{"type":"joined","id":{id},"room":"r","epoch":"{epoch}","offset":{top},"recovered":{recovered},"members":1,"rights":"rw","events":[{events}]}}"#
        ));
    }

    fn event(&mut self, epoch: &str, offset: u64) {
        self.event_text(&text(epoch, offset));
    }

    fn event_text(&mut self, text: &str) {
        let Ok(Incoming::Event(event)) = read(text) else {
            panic!("no event")
        };
        self.rooms.event(event, self.now, &mut self.ready);
    }

    /// The events handed out since the last call, in short form.
    fn heard(&mut self) -> Vec<String> {
        let short = |event| match event {
            ClientEvent::Event(event) => format!("{}/{}", event.epoch, event.offset),
            ClientEvent::Repeated { event, before } => {
                let (from, to) = (before.offset, event.offset);
                format!("{}/{from} again at {}/{to}", before.epoch, event.epoch)
            }
            ClientEvent::Joined(joined) => format!("joined {}", joined.recovered),
            ClientEvent::Gap { expected, got, .. } => format!("gap {expected} {got}"),
            ClientEvent::RoomLost { .. } => "lost".to_owned(),
            other => panic!("{other:?}"),
        };
        self.ready.drain(..).map(short).collect()
    }
}

fn text(epoch: &str, offset: u64) -> String {
    format!(
        r#"{{"type":"message","room":"r","message":"M{offset}","from":{{"id":"a","name":"A"}},"ts":1,"body":1,"epoch":"{epoch}","offset":{offset}}}"#
    )
}

#[test]
fn a_reconnect_resumes_after_the_last_event_seen() {
    let mut f = Fixture::new();
    let mut reply = f.join(Start::Recent(2));
    assert_eq!(f.due(), [r#"{"type":"join","id":1,"room":"r","recent":2}"#]);
    f.joined("e", 5, true, &[4, 5]);
    assert!(matches!(reply.try_recv(), Ok(Ok(Answer::Joined(..)))));
    f.event("e", 6);
    assert_eq!(f.heard(), ["joined true", "e/4", "e/5", "e/6"]);
    f.rooms.disconnected();
    assert!(!f.rooms.may_send(&RoomId::new("r").unwrap()));
    assert_eq!(
        f.due(),
        [r#"{"type":"join","id":2,"room":"r","since":{"epoch":"e","offset":6,"message":"M6"}}"#]
    );
    f.joined("e", 9, true, &[7, 8]);
    f.event("e", 8);
    f.event("e", 9);
    assert_eq!(f.heard(), ["joined true", "e/7", "e/8", "e/9"]);
    assert!(f.rooms.may_send(&RoomId::new("r").unwrap()));
}

#[test]
fn a_room_without_events_resumes_from_the_offset_of_its_join() {
    let mut f = Fixture::new();
    f.join(Start::Now);
    f.due();
    f.joined("e", 41, true, &[]);
    f.rooms.disconnected();
    assert!(f.due()[0].contains(r#""since":{"epoch":"e","offset":41}"#));
}

#[test]
fn a_room_that_cannot_be_resumed_starts_over_and_says_so() {
    let mut f = Fixture::new();
    f.join(Start::Now);
    f.due();
    f.joined("e", 5, true, &[]);
    f.rooms.disconnected();
    f.due();
    f.joined("f", 90, false, &[89, 90]);
    f.event("f", 91);
    assert_eq!(
        f.heard(),
        ["joined true", "joined false", "f/89", "f/90", "f/91"]
    );
}

#[test]
fn a_live_gap_is_reported_and_requested_again() {
    let mut f = Fixture::new();
    f.join(Start::Now);
    f.due();
    f.joined("e", 5, true, &[]);
    f.event("e", 8);
    f.event("e", 9);
    assert_eq!(f.heard(), ["joined true", "gap 6 8"]);
    f.now += RETRY_BASE;
    assert!(f.due()[0].contains(r#""since":{"epoch":"e","offset":5}"#));
    f.joined("e", 9, true, &[6, 7, 8, 9]);
    f.event("e", 9);
    f.event("e", 10);
    assert_eq!(
        f.heard(),
        ["joined true", "e/6", "e/7", "e/8", "e/9", "e/10"]
    );
}

#[test]
fn a_gap_inside_a_resume_is_reported_once_and_passed() {
    let mut f = Fixture::new();
    f.join(Start::Now);
    f.due();
    f.joined("e", 5, true, &[]);
    f.rooms.disconnected();
    f.due();
    f.joined("e", 8, true, &[7, 8]);
    f.event("e", 9);
    assert_eq!(
        f.heard(),
        ["joined true", "joined true", "gap 6 7", "e/7", "e/8", "e/9"]
    );
}

#[test]
fn after_a_reset_offsets_continue_in_the_new_epoch() {
    let mut f = Fixture::new();
    f.join(Start::Now);
    f.due();
    f.joined("e", 5, true, &[]);
    let (room, epoch) = (RoomId::new("r").unwrap(), Epoch::new("f").unwrap());
    f.rooms.reset(&room, &epoch, 12);
    f.event("f", 13);
    assert_eq!(f.heard(), ["joined true", "f/13"]);
}

#[test]
fn a_temporary_refusal_is_retried_and_a_permanent_one_loses_the_room() {
    let mut f = Fixture::new();
    let mut reply = f.join(Start::Now);
    f.due();
    f.answer(r#"{"type":"error","id":1,"code":"unavailable","message":"m"}"#);
    assert!(reply.try_recv().is_err(), "not answered yet");
    f.now += RETRY_BASE;
    assert_eq!(f.due().len(), 1);
    f.joined("e", 0, true, &[]);
    assert!(reply.try_recv().unwrap().is_ok());
    f.rooms.disconnected();
    f.due();
    f.answer(r#"{"type":"error","id":3,"code":"forbidden","message":"m"}"#);
    assert_eq!(f.heard(), ["joined true", "lost"]);
    assert_eq!(f.due(), [] as [String; 0]);
}

#[test]
fn a_join_without_a_reply_ends_at_its_deadline() {
    let mut f = Fixture::new();
    let mut reply = f.join(Start::Now);
    f.due();
    assert_eq!(f.rooms.next_wake(), Some(f.now + Duration::from_secs(10)));
    f.rooms.expire(f.now + Duration::from_secs(10));
    assert!(matches!(reply.try_recv(), Ok(Err(RequestError::TimedOut))));
    assert_eq!(f.rooms.next_wake(), None);
}

/// The event with this ID at another position, of any kind.
fn moved(kind: &str, message: &str, epoch: &str, offset: u64) -> String {
    format!(
        r#"{{"type":"{kind}","room":"r","message":"{message}","target":1,"by":{{"id":"a","name":"A"}},"key":"x","on":true,"ts":1,"body":1,"epoch":"{epoch}","offset":{offset}}}"#
    )
}

#[test]
fn an_event_that_is_numbered_again_after_a_reset_is_not_new() {
    let mut f = Fixture::new();
    f.join(Start::Now);
    f.due();
    f.joined("e", 5, true, &[]);
    f.event("e", 6);
    f.event_text(&moved("edited", "M7", "e", 7));
    f.event_text(&moved("reacted", "M8", "e", 8));
    f.heard();
    let (room, epoch) = (RoomId::new("r").unwrap(), Epoch::new("f").unwrap());
    f.rooms.reset(&room, &epoch, 20);
    for (kind, message, offset) in [
        ("message", "M6", 21),
        ("message", "new", 22),
        ("edited", "M7", 23),
        ("reacted", "M8", 24),
    ] {
        f.event_text(&moved(kind, message, "f", offset));
    }
    assert_eq!(
        f.heard(),
        [
            "e/6 again at f/21",
            "f/22",
            "e/7 again at f/23",
            "e/8 again at f/24"
        ]
    );
    f.rooms.disconnected();
    let position = r#""since":{"epoch":"f","offset":24,"message":"M8"}"#;
    assert!(f.due()[0].contains(position), "its position counts");
}

#[test]
fn a_page_after_a_failed_resume_hands_out_only_new_events() {
    let mut f = Fixture::new();
    f.join(Start::Now);
    f.due();
    f.joined("e", 5, true, &[]);
    f.event("e", 6);
    f.heard();
    f.rooms.disconnected();
    f.due();
    let (id, events) = (
        f.last_id,
        [
            moved("message", "M6", "f", 9),
            moved("message", "M9", "f", 10),
        ]
        .join(","),
    );
    f.answer(&format!(
        r#"{{"type":"joined","id":{id},"room":"r","epoch":"f","offset":10,"recovered":false,"members":1,"rights":"rw","events":[{events}]}}"#
    ));
    assert_eq!(f.heard(), ["joined false", "e/6 again at f/9", "f/10"]);
}

#[test]
fn a_room_that_is_left_and_joined_again_remembers_nothing() {
    let mut f = Fixture::new();
    let room = RoomId::new("r").unwrap();
    f.join(Start::Recent(2));
    f.due();
    f.joined("e", 5, true, &[4, 5]);
    f.rooms.leave(&room);
    f.join(Start::Recent(2));
    f.due();
    f.joined("e", 5, true, &[4, 5]);
    let twice = ["joined true", "e/4", "e/5"].repeat(2);
    assert_eq!(f.heard(), twice);
}
