//! Clients that send at a steady rate and record the outcome of each message.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hubbub_client::{RequestError, Sent};
use hubbub_protocol::RoomId;
use hubbub_tests::oracle::Ack;
use hubbub_tests::recorder::{Recorder, text_body};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// A room of the load.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) id: RoomId,
    /// The highest acked offset.
    head: AtomicU64,
}

impl Room {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            id: RoomId::new(name).expect("the room ID is valid"),
            head: AtomicU64::new(0),
        }
    }

    pub(crate) fn head(&self) -> u64 {
        self.head.load(Ordering::Relaxed)
    }
}

/// The outcomes of sends.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) sends: usize,
    pub(crate) acked: usize,
    pub(crate) refused: usize,
    pub(crate) unknown: usize,
    /// How long each ack took.
    pub(crate) times: Vec<Duration>,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.sends += other.sends;
        self.acked += other.acked;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.times.extend(other.times);
    }

    /// The time that this percentage of the acks did not exceed.
    pub(crate) fn percentile(&self, hundredths: usize) -> Duration {
        let mut times = self.times.clone();
        times.sort();
        let index = times.len() * hundredths / 100;
        let last = times.len().saturating_sub(1);
        times.get(index.min(last)).copied().unwrap_or_default()
    }
}

/// One sender.
#[derive(Debug, Clone)]
pub(crate) struct Publisher {
    pub(crate) name: String,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) room: Arc<Room>,
    pub(crate) every: Duration,
    pub(crate) body: usize,
    /// Whether it waits for each answer before the next send. Otherwise many sends are in progress.
    pub(crate) waits: bool,
}

type Answer = (String, Result<Sent, RequestError>, Duration);

impl Publisher {
    pub(crate) async fn run(self, stop: CancellationToken) -> Tally {
        let mut clock = interval(self.every);
        clock.set_missed_tick_behavior(if self.waits {
            MissedTickBehavior::Delay
        } else {
            MissedTickBehavior::Burst
        });
        let body = text_body(&"x".repeat(self.body));
        let (mut tally, mut open) = (Tally::default(), JoinSet::new());
        let mut number = 0;
        while stop.run_until_cancelled(clock.tick()).await.is_some() {
            let nonce = format!("{}-{number}", self.name);
            number += 1;
            tally.sends += 1;
            self.begin(nonce, &body, &mut open, &mut tally).await;
            while let Some(answer) = self.answer(&mut open).await {
                self.settle(answer, &mut tally);
            }
        }
        while let Some(answer) = open.join_next().await {
            self.settle(answer.expect("waiting does not panic"), &mut tally);
        }
        tally
    }

    async fn begin(
        &self,
        nonce: String,
        body: &Value,
        open: &mut JoinSet<Answer>,
        tally: &mut Tally,
    ) {
        let begun = Instant::now();
        let client = self.recorder.client();
        match client.begin_send(&self.room.id, body, Some(&nonce)).await {
            Ok(receipt) => {
                open.spawn(async move { (nonce, receipt.wait().await, begun.elapsed()) });
            }
            // The outbox stayed full, so the send never began.
            Err(_) => self.refused(&nonce, tally),
        }
    }

    /// Returns the next answer. It waits for one only if this sender waits for answers.
    async fn answer(&self, open: &mut JoinSet<Answer>) -> Option<Answer> {
        let answer = if self.waits {
            open.join_next().await
        } else {
            open.try_join_next()
        };
        answer.map(|answer| answer.expect("waiting does not panic"))
    }

    fn settle(&self, (nonce, result, took): Answer, tally: &mut Tally) {
        match result {
            Ok(sent) => {
                tally.acked += 1;
                tally.times.push(took);
                self.acked(&nonce, &sent);
            }
            Err(RequestError::Refused(_)) => self.refused(&nonce, tally),
            Err(RequestError::TimedOut | RequestError::Closed) => {
                tally.unknown += 1;
                let page = self.recorder.page();
                page.write(|ledger, _| ledger.unknown(self.room.id.as_str()));
            }
        }
    }

    fn acked(&self, nonce: &str, sent: &Sent) {
        let ack = Ack {
            room: self.room.id.as_str(),
            epoch: sent.epoch.as_str(),
            offset: sent.offset,
            nonce: Some(nonce),
            message: sent.message.as_deref(),
            in_turn: self.waits,
        };
        let page = self.recorder.page();
        page.write(|ledger, me| ledger.sent(me, &ack));
        self.room.head.fetch_max(sent.offset, Ordering::Relaxed);
    }

    fn refused(&self, nonce: &str, tally: &mut Tally) {
        tally.refused += 1;
        let page = self.recorder.page();
        page.write(|ledger, me| ledger.refused(me, self.room.id.as_str(), nonce));
    }
}
