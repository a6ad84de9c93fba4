//! The clients that send during faults. They connect through each balancer, or to a gateway's own
//! port like a page from there.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use hubbub_client::RequestError;
use hubbub_protocol::RoomId;
use hubbub_tests::load::Outcome;
use hubbub_tests::oracle::{Acked, assert_kept};
use hubbub_tests::recorder::text_body;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::member::Member;
use crate::stack::{Door, Stack};

const ROOM: &str = "crowd";
/// The pause between two sends of every third member. It stays within one node's share of a user's
/// send limit, which applies while Redis is away.
const SEND_EVERY: Duration = Duration::from_millis(350);
/// The time for all clients to be at the head after a fault is over: five times the goal of 3 s.
const TO_HEAD: Duration = Duration::from_secs(15);

/// The clients, and the outcomes of all their sends.
#[derive(Debug)]
pub(crate) struct Crowd {
    pub(crate) members: Vec<Member>,
    outcome: Mutex<Outcome>,
    numbers: AtomicUsize,
}

impl Crowd {
    pub(crate) async fn start(stack: &Stack) -> Self {
        let balancer = stack.url(Door::Balancer);
        let mut members = Vec::new();
        for number in 1..=6 {
            let name = format!("balancer-{number}");
            members.push(Member::join(&name, vec![balancer.clone()], ROOM).await);
        }
        for (name, door) in [
            ("round-robin-1", Door::RoundRobin),
            ("round-robin-2", Door::RoundRobin),
            ("nginx-1", Door::Nginx),
        ] {
            members.push(Member::join(name, vec![stack.url(door)], ROOM).await);
        }
        for (number, door) in (1..).zip(Door::GATEWAYS) {
            let urls = vec![stack.url(door), balancer.clone()];
            members.push(Member::join(&format!("direct-{number}"), urls, ROOM).await);
        }
        Self {
            members,
            outcome: Mutex::default(),
            numbers: AtomicUsize::new(0),
        }
    }

    /// The members on this node.
    pub(crate) fn on(&self, node: &str) -> Vec<&Member> {
        let is_there = |member: &&Member| member.node() == node;
        self.members.iter().filter(is_there).collect()
    }

    /// The number of lost connections of each member so far.
    pub(crate) fn losses(&self) -> Vec<usize> {
        let count = |member: &Member| member.diary().losses.len();
        self.members.iter().map(count).collect()
    }

    /// The highest acked offset.
    pub(crate) fn head(&self) -> u64 {
        let outcome = self
            .outcome
            .lock()
            .expect("no thread panicked with the lock");
        outcome
            .acked
            .iter()
            .map(|acked| acked.offset)
            .max()
            .unwrap_or(0)
    }

    /// Waits until a member has received `count` more messages.
    pub(crate) async fn more(&self, member: &Member, count: u64, deadline: Duration) {
        let top = member.diary().top + count;
        member
            .wait("more messages", deadline, |diary| diary.top >= top)
            .await;
    }

    /// Sends from every third member until `harm` is done, then waits for all answers, and until
    /// all members are at the head. Returns the result of `harm` and how long the last part took.
    pub(crate) async fn talk_during<T>(&self, harm: impl Future<Output = T>) -> (T, Duration) {
        let done = CancellationToken::new();
        let senders = self.members.iter().step_by(3);
        let senders = senders.map(|member| self.send_until(&done, member));
        let harm = async {
            let value = harm.await;
            done.cancel();
            value
        };
        let (_, value) = tokio::join!(join_all(senders), harm);
        let start = std::time::Instant::now();
        let head = self.head();
        for member in &self.members {
            member
                .wait("the head", TO_HEAD, |diary| diary.top >= head)
                .await;
        }
        (value, start.elapsed())
    }

    async fn send_until(&self, done: &CancellationToken, member: &Member) {
        let room = RoomId::new(ROOM).expect("the room ID is valid");
        let mut open = JoinSet::new();
        let mut clock = interval(SEND_EVERY);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while done.run_until_cancelled(clock.tick()).await.is_some() {
            let number = self.numbers.fetch_add(1, Ordering::Relaxed);
            let nonce = format!("{}-{number}", member.name);
            let body = text_body("hello");
            match member.client.begin_send(&room, &body, Some(&nonce)).await {
                Ok(receipt) => open.spawn(async move { (nonce, receipt.wait().await) }),
                Err(error) => panic!("{nonce} could not begin: {error}"),
            };
        }
        while let Some(answer) = open.join_next().await {
            let (nonce, result) = answer.expect("waiting does not panic");
            let mut outcome = self
                .outcome
                .lock()
                .expect("no thread panicked with the lock");
            match result {
                Ok(sent) => outcome.acked.push(Acked {
                    nonce,
                    epoch: sent.epoch.as_str().to_owned(),
                    offset: sent.offset,
                }),
                Err(RequestError::Refused(_)) => outcome.refused.push(nonce),
                Err(RequestError::TimedOut | RequestError::Closed) => outcome.unknown.push(nonce),
            }
        }
    }

    /// Checks that all logs are equal and contain every acked message once and at its place, that
    /// no member saw a gap, and that every send was answered.
    pub(crate) fn assert_kept(&self) {
        let outcome = self
            .outcome
            .lock()
            .expect("no thread panicked with the lock");
        let (refused, unknown) = (&outcome.refused, &outcome.unknown);
        assert!(
            refused.is_empty() && unknown.is_empty(),
            "{refused:?} {unknown:?}"
        );
        for member in &self.members {
            assert_eq!(
                member.diary().flaws,
                Vec::<String>::new(),
                "{}",
                member.name
            );
        }
        let logs: Vec<_> = self.members.iter().map(Member::heard).collect();
        let summary = assert_kept(&logs, &outcome.acked, &[]);
        println!(
            "the crowd: {} messages, all acked, identical in {} logs",
            summary.events, summary.clients
        );
    }
}
