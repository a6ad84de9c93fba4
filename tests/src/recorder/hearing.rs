//! Records the events of a connection.

use std::sync::Arc;

use hubbub_client::{ClientEvent, Event};
use serde_json::Value;
use tokio::sync::mpsc;

use super::Log;
use crate::ledger::Page;
use crate::raw::{self, Raw};

pub(super) async fn record_client(mut events: mpsc::Receiver<ClientEvent>, log: Arc<Log>) {
    while let Some(event) = events.recv().await {
        match event {
            // The verifier sees everything that the server sends, also events that the client does
            // not count as new.
            ClientEvent::Event(event) | ClientEvent::Repeated { event, .. } => {
                log.page(|page| hear(page, &event));
                log.write(event.offset, event.ts, event.raw);
            }
            ClientEvent::Connected { user, .. } => {
                log.page(|page| page.write(|ledger, me| ledger.identify(me, user.id.as_str())));
            }
            ClientEvent::Disconnected { code, reason, .. } => {
                log.note(|notes| notes.disconnects.push(format!("{code:?} {reason}")));
            }
            ClientEvent::Closed { code, reason } => {
                log.note(|notes| notes.disconnects.push(format!("final: {code:?} {reason}")));
            }
            ClientEvent::Gap { .. } => log.note(|notes| notes.gaps += 1),
            ClientEvent::Reset {
                room,
                epoch,
                offset,
            } => {
                let (room, epoch) = (room.as_str(), epoch.as_str());
                log.page(|page| page.write(|ledger, me| ledger.reset(me, room, epoch, offset)));
                log.note(|notes| notes.resets += 1);
            }
            ClientEvent::Lagged { .. } => log.note(|notes| notes.lagged += 1),
            ClientEvent::Joined(joined) => {
                let (room, epoch) = (joined.room.as_str(), joined.epoch.as_str());
                let start = if joined.recovered {
                    hubbub_verify::Start::After
                } else {
                    log.note(|notes| notes.unrecovered += 1);
                    hubbub_verify::Start::Anywhere
                };
                log.page(|page| {
                    page.write(|ledger, me| {
                        ledger.joined(me, room, epoch, joined.offset, start);
                    });
                });
                log.joined();
            }
            ClientEvent::RoomLost { error, .. } => {
                log.note(|notes| notes.disconnects.push(format!("room lost: {error}")));
            }
            ClientEvent::Presence { .. }
            | ClientEvent::Typing { .. }
            | ClientEvent::Read { .. }
            | ClientEvent::Announcement { .. }
            | ClientEvent::Refused(_) => {}
        }
    }
}

fn hear(page: &Page, event: &Event) {
    let received = hubbub_verify::Received {
        room: event.room.as_str(),
        epoch: event.epoch.as_str(),
        offset: event.offset,
        frame: &event.raw,
    };
    page.write(|ledger, me| {
        ledger
            .event(me, &received)
            .expect("the client has read this event");
    });
}

pub(super) async fn record_raw(mut raw: Raw, log: Arc<Log>) {
    loop {
        match raw.hear_patiently().await {
            raw::Heard::Text(text) => record_frame(&log, text),
            raw::Heard::End(close) => {
                log.page(|page| page.write(|ledger, me| ledger.ended(me)));
                log.note(|notes| notes.disconnects.push(format!("{close:?}")));
                return;
            }
        }
    }
}

fn record_frame(log: &Log, text: String) {
    let frame: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    log.page(|page| page.line(&text));
    match frame["type"].as_str() {
        Some("message" | "edited" | "deleted" | "reacted") => {
            let number = |field: &str| frame[field].as_u64().unwrap_or(0);
            log.write(number("offset"), number("ts"), text);
        }
        Some("reset") => log.note(|notes| notes.resets += 1),
        Some("lagged") => log.note(|notes| notes.lagged += 1),
        _ => {}
    }
}
