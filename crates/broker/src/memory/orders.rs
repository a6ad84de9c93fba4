//! Orders, questions and cluster-wide limits among the nodes of one process.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hubbub_protocol::order::Effect;
use hubbub_protocol::{Issued, Order, UserId};
use tokio::sync::mpsc;
use tokio::time::timeout_at;

use super::{MemoryBroker, now_ms};
use crate::control::{Control, ControlSender};
use crate::pace::{Claim, Grant, PaceKind};
use crate::{Answers, Broker, BrokerError, Question};

/// Users whose rate is remembered. Beyond it, users with nothing taken lately are forgotten.
const REMEMBERED: usize = 10_000;

/// The operators' rules, open questions, and what users have taken of the cluster's limits.
#[derive(Debug, Default)]
pub(super) struct Standing {
    sequence: u64,
    rules: HashMap<String, Issued>,
    questions: HashMap<String, Asking>,
    paces: HashMap<(PaceKind, UserId), Instant>,
}

/// Where the answers to an open question go.
#[derive(Debug)]
struct Asking(mpsc::Sender<(u64, String)>);

impl Standing {
    pub(super) fn rules(&self) -> Vec<Issued> {
        self.rules.values().cloned().collect()
    }

    fn issue(&mut self, order: &Order, life: Option<Duration>) -> Result<Issued, BrokerError> {
        let now = now_ms();
        self.rules.retain(|_, rule| !rule.is_over(now));
        let life = life.map(|life| u64::try_from(life.as_millis()).unwrap_or(u64::MAX));
        let issued = Issued {
            sequence: (now * 1_000).max(self.sequence + 1),
            until: life.map(|life| now.saturating_add(life)),
            order: order.clone(),
        };
        if let Some(key) = order.key() {
            if order.effect() != Effect::Lasting {
                self.rules.remove(&key);
            } else if self.rules.len() < Broker::MAX_RULES || self.rules.contains_key(&key) {
                self.rules.insert(key, issued.clone());
            } else {
                return Err(BrokerError::TooManyRules);
            }
        }
        self.sequence = issued.sequence;
        Ok(issued)
    }

    fn claim(&mut self, claim: &Claim, now: Instant) -> Grant {
        if self.paces.len() >= REMEMBERED {
            self.paces.retain(|_, free| *free > now);
        }
        let free = self.paces.entry((claim.kind, claim.user.clone()));
        let free = free.or_insert(now);
        *free = (*free).max(now) + claim.given;
        let is_allowed = *free + claim.cost <= now + claim.burst;
        if is_allowed {
            *free += claim.cost;
        }
        Grant {
            is_allowed,
            ahead: free.duration_since(now),
        }
    }
}

impl MemoryBroker {
    /// Sets rules that an earlier process has kept, and returns all rules that hold then. Nodes
    /// that joined before are not told; the caller has to tell them.
    #[must_use]
    pub fn restore(&self, rules: Vec<Issued>) -> Vec<Issued> {
        let standing = &mut self.cluster.lock().standing;
        for rule in rules {
            let Some(name) = rule.order.key() else {
                continue;
            };
            standing.sequence = standing.sequence.max(rule.sequence);
            standing.rules.entry(name).or_insert(rule);
        }
        standing.rules()
    }

    pub(crate) async fn issue(
        &self,
        order: &Order,
        life: Option<Duration>,
    ) -> Result<Issued, BrokerError> {
        // One order at a time, so that all nodes receive them in sequence.
        let _turn = self.cluster.0.issuing.lock().await;
        let (issued, nodes) = {
            let mut state = self.cluster.lock();
            (state.standing.issue(order, life)?, controls(&state))
        };
        for (_, control) in nodes {
            control.tell(Control::Order(issued.clone())).await;
        }
        Ok(issued)
    }

    pub(crate) async fn ask(&self, text: &str, patience: Duration) -> Result<Answers, BrokerError> {
        let deadline = tokio::time::Instant::now() + patience;
        let id = format!("{:016x}", fastrand::u64(..));
        let (sender, mut answers) = mpsc::channel(64);
        let mut waiting = {
            let mut state = self.cluster.lock();
            state.standing.questions.insert(id.clone(), Asking(sender));
            controls(&state)
        };
        for (_, control) in &waiting {
            let (id, text) = (id.clone(), text.to_owned());
            control.ask(Question { id, text });
        }
        let mut heard = Vec::new();
        while !waiting.is_empty()
            && let Ok(Some((from, answer))) = timeout_at(deadline, answers.recv()).await
        {
            waiting.retain(|(node, _)| *node != from);
            heard.push(answer);
        }
        self.cluster.lock().standing.questions.remove(&id);
        let silent = waiting.into_iter().map(|(node, _)| format!("node-{node}"));
        Ok(Answers {
            heard,
            silent: silent.collect(),
        })
    }

    #[expect(clippy::unused_async, reason = "the Redis broker waits here")]
    pub(crate) async fn answer(&self, question: &Question, text: &str) -> Result<(), BrokerError> {
        let state = self.cluster.lock();
        if let Some(Asking(sender)) = state.standing.questions.get(&question.id) {
            // The asking node has all the answers it needs, or is gone.
            drop(sender.try_send((self.node, text.to_owned())));
        }
        Ok(())
    }

    pub(crate) fn living_nodes(&self) -> usize {
        self.cluster.lock().nodes.len().max(1)
    }

    #[expect(clippy::unused_async, reason = "the Redis broker waits here")]
    pub(crate) async fn claim(
        &self,
        claim: &Claim,
        _deadline: Instant,
    ) -> Result<Grant, BrokerError> {
        Ok(self.cluster.lock().standing.claim(claim, Instant::now()))
    }
}

fn controls(state: &super::State) -> Vec<(u64, ControlSender)> {
    let control =
        |(node, sender): (&u64, &crate::inbox::InboxSender)| (*node, sender.control.clone());
    state.nodes.iter().map(control).collect()
}
