//! Picks faults from a seed. The same seed makes the same plan.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::sleep;

use crate::arena::{Arena, NODES};
use crate::injectors::{
    link_held, link_refused, link_reset, link_stranded, link_swallows, node_frozen,
    node_redeployed, node_replaced, redis_crash, redis_demoted, redis_freeze, redis_full,
    redis_jitter, scripts_flushed, subscription_held, subscriptions_killed,
};

/// A fault that may not lose an acked message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    RedisCrash,
    RedisFreeze,
    RedisJitter,
    RedisFull,
    RedisDemoted,
    SubscriptionsKilled,
    ScriptsFlushed,
    LinkHeld,
    LinkSwallows,
    LinkReset,
    LinkRefused,
    LinkStranded,
    SubscriptionHeld,
    NodeReplaced,
    NodeRedeployed,
    NodeFrozen,
}

const KINDS: [Kind; 16] = [
    Kind::RedisCrash,
    Kind::RedisFreeze,
    Kind::RedisJitter,
    Kind::RedisFull,
    Kind::RedisDemoted,
    Kind::SubscriptionsKilled,
    Kind::ScriptsFlushed,
    Kind::LinkHeld,
    Kind::LinkSwallows,
    Kind::LinkReset,
    Kind::LinkRefused,
    Kind::LinkStranded,
    Kind::SubscriptionHeld,
    Kind::NodeReplaced,
    Kind::NodeRedeployed,
    Kind::NodeFrozen,
];

impl Kind {
    /// Whether the fault affects the node's process itself. One such fault at a time is enough.
    fn hits_node(self) -> bool {
        matches!(
            self,
            Self::NodeReplaced | Self::NodeRedeployed | Self::NodeFrozen
        )
    }

    fn ends_connections(self) -> bool {
        matches!(self, Self::NodeReplaced | Self::NodeRedeployed)
    }
}

/// One fault of the plan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Harm {
    kind: Kind,
    node: usize,
    /// The delay since the beginning of its round.
    after: Duration,
    during: Duration,
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            node,
            after,
            during,
        } = self;
        write!(f, "{kind:?} gw-{node} after {after:.1?} for {during:.1?}")
    }
}

/// Faults of one round, and the pause after them.
#[derive(Debug, Clone)]
pub(crate) struct Round {
    pub(crate) harms: Vec<Harm>,
    pub(crate) calm: Duration,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let harms: Vec<String> = self.harms.iter().map(Harm::to_string).collect();
        write!(f, "{}, then calm for {:.1?}", harms.join(" + "), self.calm)
    }
}

/// More rounds than any run needs.
const ROUNDS: usize = 1000;

/// The plan of a seed. A run takes as many rounds of it as it has time for.
pub(crate) fn plan(seed: u64) -> Vec<Round> {
    let mut rng = Rng::with_seed(seed);
    (0..ROUNDS).map(|_| round(&mut rng)).collect()
}

fn round(rng: &mut Rng) -> Round {
    let mut harms: Vec<Harm> = Vec::new();
    let wanted = rng.usize(1..=3);
    while harms.len() < wanted {
        let harm = Harm {
            kind: KINDS[rng.usize(..KINDS.len())],
            node: rng.usize(..NODES),
            after: Duration::from_millis(rng.u64(0..1_500)),
            during: Duration::from_millis(rng.u64(500..8_000)),
        };
        let is_again = harms.iter().any(|other| {
            other.kind == harm.kind || (other.kind.hits_node() && harm.kind.hits_node())
        });
        if !is_again {
            harms.push(harm);
        }
    }
    Round {
        harms,
        calm: Duration::from_millis(rng.u64(500..3_000)),
    }
}

impl Harm {
    /// The node whose clients lose their connections by this fault.
    pub(crate) fn cuts(&self) -> Option<usize> {
        self.kind.ends_connections().then_some(self.node)
    }

    /// Injects the fault and ends it.
    pub(crate) async fn inflict(self, arena: &Arena) {
        let Self {
            kind,
            node,
            after,
            during,
        } = self;
        sleep(after).await;
        let often = Duration::from_millis(500);
        match kind {
            Kind::RedisCrash => drop(redis_crash(arena, during).await),
            Kind::RedisFreeze => drop(redis_freeze(arena, during).await),
            Kind::RedisJitter => redis_jitter(arena, during).await,
            Kind::RedisFull => drop(redis_full(arena, during).await),
            Kind::RedisDemoted => drop(redis_demoted(arena, during).await),
            Kind::SubscriptionsKilled => {
                subscriptions_killed(arena, often, during).await;
            }
            Kind::ScriptsFlushed => scripts_flushed(arena, often, during).await,
            Kind::LinkHeld => link_held(arena, node, during).await,
            Kind::LinkSwallows => link_swallows(arena, node, during).await,
            Kind::LinkReset => link_reset(arena, node, often, during).await,
            Kind::LinkRefused => link_refused(arena, node, during).await,
            Kind::LinkStranded => link_stranded(arena, node),
            Kind::SubscriptionHeld => subscription_held(arena, node, during).await,
            Kind::NodeReplaced => node_replaced(arena, node, during).await,
            Kind::NodeRedeployed => node_redeployed(arena, node).await,
            Kind::NodeFrozen => drop(node_frozen(arena, node, during).await),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_plan() {
        let lines = |seed| -> Vec<String> { plan(seed).iter().map(Round::to_string).collect() };
        assert_eq!(lines(7), lines(7));
        assert_ne!(lines(7), lines(8));
        let kinds = KINDS.iter().filter(|kind| {
            let mut harms = plan(7).into_iter().flat_map(|round| round.harms);
            harms.any(|harm| harm.kind == **kind)
        });
        assert_eq!(kinds.count(), KINDS.len(), "every kind occurs");
    }
}
