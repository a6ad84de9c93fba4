//! Senders that record the outcome of each message.

use std::time::Duration;

use hubbub_client::{Client, RequestError, Sent};
use hubbub_protocol::RoomId;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::oracle::Acked;
use crate::recorder::text_body;

/// The outcomes of sends.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Acked sends.
    pub acked: Vec<Acked>,
    /// Nonces of refused sends. No client may receive them.
    pub refused: Vec<String>,
    /// Nonces of sends without an answer in time. Clients may receive each of them once.
    pub unknown: Vec<String>,
    /// The longest time that one send took.
    pub slowest: Duration,
}

impl Outcome {
    fn add(&mut self, nonce: String, result: Result<Sent, RequestError>, took: Duration) {
        self.slowest = self.slowest.max(took);
        match result {
            Ok(sent) => self.acked.push(Acked {
                nonce,
                epoch: sent.epoch.as_str().to_owned(),
                offset: sent.offset,
            }),
            Err(RequestError::Refused(_)) => self.refused.push(nonce),
            Err(RequestError::TimedOut | RequestError::Closed) => self.unknown.push(nonce),
        }
    }

    /// Joins the outcomes of several senders.
    #[must_use]
    pub fn of_all(outcomes: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::default();
        for outcome in outcomes {
            all.acked.extend(outcome.acked);
            all.refused.extend(outcome.refused);
            all.unknown.extend(outcome.unknown);
            all.slowest = all.slowest.max(outcome.slowest);
        }
        all
    }
}

/// Sends `count` messages as fast as the outbox accepts them.
///
/// # Panics
/// Panics if the client is closed.
pub async fn flood(client: &Client, room: &str, sender: &str, count: usize) -> Outcome {
    flood_with(client, room, sender, count, &text_body("hello")).await
}

/// The same with this body.
///
/// # Panics
/// Panics if the client is closed.
pub async fn flood_with(
    client: &Client,
    room: &str,
    sender: &str,
    count: usize,
    body: &Value,
) -> Outcome {
    let room = RoomId::new(room).expect("the room ID is valid");
    let mut open = JoinSet::new();
    for number in 0..count {
        begin(client, &room, sender, number, body, &mut open).await;
    }
    settle(open).await
}

/// Sends at a steady rate for the time `during`.
///
/// # Panics
/// Panics if the client is closed.
pub async fn pace(
    client: &Client,
    room: &str,
    sender: &str,
    per_second: u32,
    during: Duration,
) -> Outcome {
    let room = RoomId::new(room).expect("the room ID is valid");
    let mut open = JoinSet::new();
    let mut clock = interval(Duration::from_secs(1) / per_second);
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let end = Instant::now() + during;
    let (mut number, body) = (0, text_body("hello"));
    while Instant::now() < end {
        clock.tick().await;
        begin(client, &room, sender, number, &body, &mut open).await;
        number += 1;
    }
    settle(open).await
}

type Open = JoinSet<(String, Result<Sent, RequestError>, Duration)>;

async fn begin(
    client: &Client,
    room: &RoomId,
    sender: &str,
    number: usize,
    body: &Value,
    open: &mut Open,
) {
    let nonce = format!("{sender}-{number}");
    let start = Instant::now();
    match client.begin_send(room, body, Some(&nonce)).await {
        Ok(receipt) => {
            open.spawn(async move { (nonce, receipt.wait().await, start.elapsed()) });
        }
        Err(error) => panic!("{nonce} could not begin: {error}"),
    }
}

async fn settle(mut open: Open) -> Outcome {
    let mut outcome = Outcome::default();
    while let Some(sent) = open.join_next().await {
        let (nonce, result, took) = sent.expect("waiting does not panic");
        outcome.add(nonce, result, took);
    }
    outcome
}
