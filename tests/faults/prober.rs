//! A bare client that sends several times a second and follows every answer: it never repeats an
//! `unavailable` send, and repeats an `unknown` one with its nonce.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hubbub_tests::ledger::{Ledger, Page};
use hubbub_tests::oracle::Ack;
use hubbub_tests::raw::{Heard, Raw};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

pub(crate) const PROBE_ROOM: &str = "probe";
const EVERY: Duration = Duration::from_millis(200);
/// Longer than any limit of the node.
const SILENCE: Duration = Duration::from_secs(90);
/// How often an unknown send is repeated.
const TRIES: u32 = 100;

/// One answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) asked: Instant,
    pub(crate) took: Duration,
    /// The value is `sent`, an error code, or `end`.
    pub(crate) code: String,
}

/// The answers to one prober. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answers(Arc<Mutex<Vec<Answer>>>);

impl Answers {
    fn add(&self, asked: Instant, code: &str) {
        let answer = Answer {
            asked,
            took: asked.elapsed(),
            code: code.to_owned(),
        };
        self.0
            .lock()
            .expect("no thread panicked with the lock")
            .push(answer);
    }

    pub(crate) fn all(&self) -> Vec<Answer> {
        self.0
            .lock()
            .expect("no thread panicked with the lock")
            .clone()
    }

    /// The answers to sends that began at or after `moment`.
    pub(crate) fn since(&self, moment: Instant) -> Vec<Answer> {
        let mut all = self.all();
        all.retain(|answer| answer.asked >= moment);
        all
    }
}

/// Sends to one node until `stop`, and reconnects when the connection ends.
pub(crate) async fn probe(
    name: String,
    address: SocketAddr,
    ledger: Ledger,
    answers: Answers,
    stop: CancellationToken,
) {
    let mut number = 0;
    while !stop.is_cancelled() {
        // This check comes first, so that a dead node causes no panic.
        if TcpStream::connect(address).await.is_ok() {
            let name = format!("{name}.{number}");
            let life = live(&name, address, &ledger, &answers, &stop);
            // After a node dies meanwhile, the loop connects again.
            let _ = timeout(SILENCE, life).await;
            number += 1;
        }
        sleep(EVERY).await;
    }
}

async fn live(
    name: &str,
    address: SocketAddr,
    ledger: &Ledger,
    answers: &Answers,
    stop: &CancellationToken,
) -> Option<()> {
    let request = hubbub_tests::raw::upgrade_request(address);
    let mut raw = Raw::try_open(request).await.ok()?;
    let page = ledger.client(name);
    raw.write(json!({"type": "join", "id": "join", "room": PROBE_ROOM}).to_string())
        .await;
    loop {
        let frame = next(&mut raw).await?;
        match frame["type"].as_str() {
            Some("welcome") => page.line(&frame.to_string()),
            Some("joined") => break,
            Some("error") => return None,
            _ => {}
        }
    }
    for number in 0.. {
        if stop.is_cancelled() {
            return Some(());
        }
        let nonce = format!("{name}-{number}");
        let begun = Instant::now();
        ask_until_known(&mut raw, &nonce, &page, answers).await?;
        listen_until(&mut raw, begun + EVERY).await?;
    }
    None
}

async fn ask_until_known(raw: &mut Raw, nonce: &str, page: &Page, answers: &Answers) -> Option<()> {
    for attempt in 0..TRIES {
        let id = format!("{nonce}/{attempt}");
        let send =
            json!({"type": "send", "id": id, "room": PROBE_ROOM, "nonce": nonce, "body": nonce});
        let asked = Instant::now();
        raw.write(send.to_string()).await;
        let Some(reply) = reply_to(raw, &id).await else {
            answers.add(asked, "end");
            page.write(|ledger, _| ledger.unknown(PROBE_ROOM));
            return None;
        };
        if reply["type"] == "sent" {
            answers.add(asked, "sent");
            acked(page, nonce, &reply);
            return Some(());
        }
        let code = reply["code"].as_str().unwrap_or_default();
        answers.add(asked, code);
        if code == "unavailable" && attempt == 0 {
            page.write(|ledger, me| ledger.refused(me, PROBE_ROOM, nonce));
            return Some(());
        }
        assert!(
            ["unavailable", "unknown"].contains(&code),
            "an unexpected answer: {reply}"
        );
        listen_until(raw, asked + EVERY).await?;
    }
    page.write(|ledger, _| ledger.unknown(PROBE_ROOM));
    Some(())
}

fn acked(page: &Page, nonce: &str, reply: &Value) {
    page.write(|ledger, me| {
        let ack = Ack {
            room: PROBE_ROOM,
            epoch: reply["epoch"].as_str().unwrap_or_default(),
            offset: reply["offset"].as_u64().unwrap_or_default(),
            nonce: Some(nonce),
            message: reply["message"].as_str(),
            // Each send waited for the answer to the one before.
            in_turn: true,
        };
        ledger.sent(me, &ack);
    });
}

async fn reply_to(raw: &mut Raw, id: &str) -> Option<Value> {
    loop {
        let frame = next(raw).await?;
        if frame["id"] == id {
            return Some(frame);
        }
    }
}

/// Returns the next frame; `None` at the end of the connection.
async fn next(raw: &mut Raw) -> Option<Value> {
    match raw.hear_patiently().await {
        Heard::Text(text) => serde_json::from_str(&text).ok(),
        Heard::End(_) => None,
    }
}

async fn listen_until(raw: &mut Raw, moment: Instant) -> Option<()> {
    loop {
        match timeout_at(moment, next(raw)).await {
            Ok(frame) => drop(frame?),
            Err(_) => return Some(()),
        }
    }
}
