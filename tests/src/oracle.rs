//! The verifier of `hubbub verify`, for tests that keep whole logs of one room.

use hubbub_client::Client;
use hubbub_protocol::RoomId;
pub use hubbub_verify::{Ack, Anomaly, Report, Verifier};
use hubbub_verify::{ClientId, Start};
use serde::Deserialize;

/// Everything one client received, in order: durable frames, byte for byte.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// The client's name, for display.
    pub client: String,
    /// The text of each frame.
    pub frames: Vec<String>,
}

impl Heard {
    /// Reads a room's whole history, page by page, from the newest back.
    pub async fn in_pages(reader: &Client, room: &str) -> Self {
        let room = RoomId::new(room).expect("a room id");
        let (mut frames, mut before) = (Vec::new(), None);
        loop {
            let page = reader.history(&room, before, 50).await.expect("a page");
            let offsets: Vec<u64> = page.events.iter().map(|event| event.offset).collect();
            assert!(offsets.is_sorted(), "oldest first: {offsets:?}");
            before = offsets.first().copied();
            let texts = page.events.into_iter().map(|event| event.raw);
            frames.splice(0..0, texts);
            if !page.more {
                break;
            }
        }
        Self {
            client: "pages".to_owned(),
            frames,
        }
    }
}

/// An acked send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acked {
    /// The nonce.
    pub nonce: String,
    /// The epoch in which it was stored.
    pub epoch: String,
    /// Its offset.
    pub offset: u64,
}

/// The size of a log without anomalies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The number of clients compared.
    pub clients: usize,
    /// The number of events in each log.
    pub events: usize,
    /// The number of acked sends.
    pub acked: usize,
}

#[derive(Deserialize)]
struct Head {
    room: String,
    epoch: String,
    offset: u64,
}

/// Checks that all logs begin at the same place and are equal byte for byte, without gaps and in
/// order. Checks also that they contain every acked send once, at its place, and no send that was
/// refused (by nonce).
///
/// # Panics
/// Panics if a promise was broken. The text says which.
#[track_caller]
pub fn assert_kept(logs: &[Heard], acked: &[Acked], refused: &[String]) -> Summary {
    let report = judge(logs, acked, refused);
    let lengths: Vec<(&str, usize)> = logs
        .iter()
        .map(|log| (log.client.as_str(), log.frames.len()))
        .collect();
    assert!(report.is_kept(), "{report}logs: {lengths:?}");
    Summary {
        clients: logs.len(),
        events: report.total.events,
        acked: acked.len(),
    }
}

fn judge(logs: &[Heard], acked: &[Acked], refused: &[String]) -> Report {
    let mut verifier = Verifier::new();
    let heads = logs.iter().filter_map(|log| log.frames.first());
    let heads = heads.map(|frame| -> Head {
        serde_json::from_str(frame).unwrap_or_else(|error| panic!("not an event: {error}: {frame}"))
    });
    let Some(first) = heads.min_by_key(|head| head.offset) else {
        assert!(
            acked.is_empty(),
            "no client received any of the acked sends"
        );
        return verifier.report();
    };
    let mut clients = Vec::new();
    for log in logs {
        let client = verifier.client(&log.client);
        verifier.joined(
            client,
            &first.room,
            &first.epoch,
            first.offset - 1,
            Start::After,
        );
        hear(&mut verifier, client, &log.frames);
        clients.push(client);
    }
    for acked in acked {
        let ack = Ack {
            room: &first.room,
            epoch: &acked.epoch,
            offset: acked.offset,
            nonce: Some(&acked.nonce),
            ..Ack::default()
        };
        verifier.sent(clients[0], &ack);
    }
    for nonce in refused {
        verifier.refused(clients[0], &first.room, nonce);
    }
    verifier.report()
}

fn hear(verifier: &mut Verifier, client: ClientId, frames: &[String]) {
    for frame in frames {
        if let Err(error) = verifier.line(client, frame) {
            panic!("not an event: {error}: {frame}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(client: &str, offsets: &[u64]) -> Heard {
        let frame = |offset: &u64| {
            format!(
                r#"{{"type":"message","room":"r","nonce":"n{offset}","from":{{"id":"u"}},"body":1,"epoch":"e","offset":{offset}}}"#
            )
        };
        Heard {
            client: client.to_owned(),
            frames: offsets.iter().map(frame).collect(),
        }
    }

    fn acked(offset: u64) -> Acked {
        Acked {
            nonce: format!("n{offset}"),
            epoch: "e".to_owned(),
            offset,
        }
    }

    #[test]
    fn the_same_logs_pass() {
        let logs = [heard("a", &[4, 5, 6]), heard("b", &[4, 5, 6])];
        let summary = assert_kept(&logs, &[acked(4), acked(6)], &["x".to_owned()]);
        assert_eq!((summary.clients, summary.events, summary.acked), (2, 3, 2));
    }

    #[test]
    fn logs_that_differ_at_either_end_do_not() {
        for other in [heard("b", &[5, 6]), heard("b", &[4, 5])] {
            let report = judge(&[heard("a", &[4, 5, 6]), other], &[], &[]);
            assert!(!report.is_kept(), "{report}");
        }
        let report = judge(&[heard("a", &[4, 5])], &[acked(6)], &["n4".to_owned()]);
        assert_eq!(
            (report.total.counts.lost, report.total.counts.phantoms),
            (1, 1)
        );
    }
}
